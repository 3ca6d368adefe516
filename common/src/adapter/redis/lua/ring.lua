-- owner, lane, n
if redis.call('GET', P .. 'turn') ~= ARGV[1] then return 0 end
local lane, key = ARGV[2], P .. 'bell:' .. ARGV[2]
local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do
  local bells = math.min(redis.call('HINCRBY', job(id), 'b', 1), 16)
  redis.call('ZADD', key, now + math.min(BELL_FIRST * 2 ^ bells, BELL_MAX), id)
  bell(id, lane)
end
return #due
