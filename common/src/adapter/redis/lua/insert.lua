-- id, lane, delay, spec, audio length or '', callback 0/1, idempotency, cache, content, force 0/1
local id, lane, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', job(id)) == 1 then return {'again', raw(id)} end
if ARGV[7] ~= '' then
  local same = redis.call('HGET', P .. 'idempotency', ARGV[7])
  if same and redis.call('EXISTS', job(same)) == 1 then return {'same', raw(same)} end
end
if ARGV[10] == '0' then
  local poison = redis.call('GET', P .. 'poison:' .. ARGV[9])
  if poison then return {'poison', poison} end
end
local source
if ARGV[8] ~= '' then
  source = redis.call('HGET', P .. 'cache', ARGV[8])
  if source and redis.call('HEXISTS', job(source), 'xp') == 0 then source = nil end
end

redis.call('HSET', job(id), 'l', lane, 'cr', int(now), 'k', 0)
redis.call('SET', P .. 'spec:' .. id, ARGV[4])
redis.call('ZADD', P .. 'all', 0, id)
if ARGV[5] ~= '' then redis.call('HSET', job(id), 'd', ARGV[5]) end
if ARGV[6] == '1' then redis.call('HSET', job(id), 'cb', 1) end
if ARGV[7] ~= '' then
  redis.call('HSET', job(id), 'ik', ARGV[7])
  redis.call('HSET', P .. 'idempotency', ARGV[7], id)
end
if source then
  redis.call('HSET', job(id), 'cf', source, 'av', int(now + delay))
  redis.call('SET', P .. 'result:' .. id, redis.call('GET', P .. 'result:' .. source))
  finish(id, 'completed')
  redis.call('ZADD', P .. 'exports', now, id)
  count(1, 1, 0)
  return {'cached', raw(id)}
end
if delay > 0 then
  wait(id, 'scheduled', lane, now + delay)
else
  wait(id, 'available', lane, now)
  arrived(ARGV[5])
end
count(1, 0, 0)
return {'accepted', now}
