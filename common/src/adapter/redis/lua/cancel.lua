-- id
local id = ARGV[1]
local f = get(id, 's', 'l', 'w')
local state, lane = f[1], f[2]
if not state then return {'unknown'} end
if state == 'running' then
  redis.call('HSET', job(id), 'q', 1)
  local key = P .. 'cancels:' .. f[3]
  redis.call('RPUSH', key, id)
  redis.call('LTRIM', key, -10000, -1)
  redis.call('PEXPIRE', key, 3600000)
  return {'requested'}
end
if state == 'available' or state == 'scheduled' or state == 'retryable' then
  leave(id, state, lane)
  finish(id, 'cancelled')
  return {'done'}
end
return {'final', state}
