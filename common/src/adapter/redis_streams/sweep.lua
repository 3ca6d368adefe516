-- Makes ready again what consumers have held for too long: they are dead, or lost it with a connection.
-- KEYS: the stream. ARGV: group, idle time in ms, most notices, consumer ('' for any), idle time in ms after which a
-- consumer without notices is forgotten. Answers how many.
local ask = {'XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], '-', '+', ARGV[3]}
if ARGV[4] ~= '' then ask[#ask + 1] = ARGV[4] end
local moved = 0
for _, pending in ipairs(redis.call(unpack(ask))) do
  local id = pending[1]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  redis.call('XACK', KEYS[1], ARGV[1], id)
  if entry then
    redis.call('XDEL', KEYS[1], id)
    redis.call('XADD', KEYS[1], '*', 'n', entry[2][2], 'r', '1')
    moved = moved + 1
  end
end
if ARGV[5] ~= '' then
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for at = 1, #row, 2 do consumer[row[at]] = row[at + 1] end
    if consumer.pending == 0 and consumer.idle > tonumber(ARGV[5]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    end
  end
end
return moved
