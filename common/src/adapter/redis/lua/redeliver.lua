-- id
local id = ARGV[1]
local f = get(id, 's', 'xp', 'cb')
if not f[1] then return {'unknown'} end
local told = f[1] == 'discarded' or f[1] == 'cancelled' or (f[1] == 'completed' and f[2])
if not told or not f[3] then return {'nothing'} end
redis.call('HDEL', job(id), 'wt')
redis.call('ZADD', P .. 'webhooks', now, id)
return {'due'}
