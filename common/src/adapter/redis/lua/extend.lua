-- id, token, nonce, lasts
local id, lasts = ARGV[1], tonumber(ARGV[4])
local f = get(id, 's', 'k', 'n', 'ex', 'l', 'q')
if f[1] ~= 'running' or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] or tonumber(f[4]) <= now then return {'lost'} end
redis.call('HSET', job(id), 'ex', int(now + lasts))
redis.call('ZADD', P .. 'running:' .. f[5], now + lasts, id)
return {'held', f[6] and 1 or 0}
