-- id, worker, nonce, lasts
local id, worker, nonce, lasts = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local f = get(id, 's', 'l', 'av', 'k', 'n', 'ex', 'a', 'c', 'st')
local state, lane = f[1], f[2]
if not state then return {'unknown'} end
local token = tonumber(f[4])
if state == 'running' then
  if f[5] ~= nonce or tonumber(f[6]) <= now then return {'running'} end
elseif state == 'available' or state == 'scheduled' or state == 'retryable' then
  if state ~= 'available' and tonumber(f[3]) > now then return {'not_due', tonumber(f[3])} end
  leave(id, state, lane)
  token = token + 1
  redis.call('HSET', job(id), 's', 'running', 'k', int(token), 'n', nonce, 'w', worker, 'st', int(now),
    'ex', int(now + lasts))
  if state ~= 'available' then redis.call('HSET', job(id), 'av', int(now)) end
  redis.call('HDEL', job(id), 'ic', 'b', 'h')
  redis.call('ZADD', P .. 'running:' .. lane, now + lasts, id)
  redis.call('SADD', P .. 'held:' .. worker, id)
  audio(id, 'running', 1)
else
  return {'final', state}
end
-- An answer that is given again says the same.
local since = state == 'running' and f[9] or now
local waited = (state == 'available' or state == 'running') and math.max(0, since - f[3]) or 0
return {'granted', token, tonumber(f[7] or 0), tonumber(f[8] or 0), lane, redis.call('GET', P .. 'spec:' .. id),
  int(waited)}
