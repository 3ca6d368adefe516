-- id, token, nonce, ending, payload (result or failure) or '', wait, attempts to count, audio length
local id, token, nonce, ending = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local f = get(id, 's', 'k', 'n', 'l', 'q')
local state, lane = f[1], f[4]
if f[2] ~= token or f[3] ~= nonce then return {'lost'} end
if state ~= 'running' then return {'already', state} end
if f[5] then ending = 'cancelled' end
leave(id, 'running', lane)
local became = ending
if ending == 'completed' then
  finish(id, 'completed')
  redis.call('DEL', P .. 'fail:' .. id)
  redis.call('SET', P .. 'result:' .. id, ARGV[5])
  count(0, 1, tonumber(ARGV[8]))
  moved('mean', ARGV[8], MEAN_WEIGHT)
else
  sweep(id, token, nonce)
  if ending == 'interrupted' then
    became = 'available'
    redis.call('HINCRBY', job(id), 'i', 1)
    wait(id, 'available', lane, now)
  elseif ending == 'cancelled' then
    finish(id, 'cancelled')
  else
    if ARGV[7] ~= '0' then redis.call('HINCRBY', job(id), 'a', ARGV[7]) end
    redis.call('SET', P .. 'fail:' .. id, ARGV[5])
    if ending == 'retryable' then wait(id, 'retryable', lane, now + ARGV[6]) else finish(id, 'discarded') end
  end
end
return {'applied', became}
