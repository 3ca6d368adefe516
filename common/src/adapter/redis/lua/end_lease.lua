-- id, token, nonce, discard 0/1, content or ''
local id, token, nonce = ARGV[1], ARGV[2], ARGV[3]
local f = get(id, 's', 'k', 'n', 'ex', 'l', 'q', 'w', 'ic', 'p')
if f[1] ~= 'running' or f[2] ~= token or f[3] ~= nonce or tonumber(f[4]) > now then return {'not_expired'} end
local lane, worker = f[5], f[7]
leave(id, 'running', lane)
local others = redis.call('SMEMBERS', P .. 'held:' .. worker)
for _, other in ipairs(others) do redis.call('HSET', job(other), 'ic', 1) end
redis.call('HDEL', job(id), 'n')
redis.call('HSET', job(id), 'k', int(token + 1))
local crashes = redis.call('HINCRBY', job(id), 'c', 1)
local alone = tonumber(redis.call('HGET', job(id), 'o') or 0)
if #others == 0 and not f[8] then alone = redis.call('HINCRBY', job(id), 'o', 1) end
sweep(id, token, nonce)
if f[6] then
  finish(id, 'cancelled')
  return {'ended', 'cancelled'}
end
if ARGV[4] == '0' then
  wait(id, 'available', lane, now)
  return {'ended', 'available'}
end
redis.call('SET', P .. 'fail:' .. id, 'lost:' .. int(crashes) .. ':' .. (f[9] or ''))
finish(id, 'discarded')
if alone == crashes then redis.call('SET', P .. 'poison:' .. ARGV[5], id, 'PX', POISON) end
return {'ended', 'discarded'}
