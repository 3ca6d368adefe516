-- id, token, nonce, progress
local id = ARGV[1]
local f = get(id, 's', 'k', 'n', 'q')
if f[1] ~= 'running' or f[2] ~= ARGV[2] or f[3] ~= ARGV[3] then return {'lost'} end
redis.call('HSET', job(id), 'p', ARGV[4])
return {'held', f[4] and 1 or 0}
