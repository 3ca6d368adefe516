-- id
local id = ARGV[1]
local f = get(id, 's', 'l')
local state, lane = f[1], f[2]
if not state then return {'unknown'} end
if state ~= 'discarded' and state ~= 'cancelled' then return {'not', state} end
for _, index in ipairs({'done', 'dead', 'webhooks'}) do redis.call('ZREM', P .. index, id) end
redis.call('HDEL', job(id), 'co', 'q', 'a', 'c', 'o', 'i', 'wt')
redis.call('DEL', P .. 'fail:' .. id)
wait(id, 'available', lane, now)
return {'done'}
