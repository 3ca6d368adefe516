-- id, how many revoked keys are remembered
if redis.call('HEXISTS', P .. 'keys', ARGV[1]) == 0 then return -1 end
local was_good = redis.call('HSETNX', P .. 'revoked', ARGV[1], int(now))
if redis.call('HLEN', P .. 'revoked') > tonumber(ARGV[2]) then
  local oldest, since
  local all = redis.call('HGETALL', P .. 'revoked')
  for i = 1, #all, 2 do
    if all[i] ~= ARGV[1] and (not since or tonumber(all[i + 1]) < since) then oldest, since = all[i], tonumber(all[i + 1]) end
  end
  redis.call('HDEL', P .. 'keys', oldest)
  redis.call('HDEL', P .. 'revoked', oldest)
end
return was_good
