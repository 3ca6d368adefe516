local found = {}
local all = redis.call('HGETALL', P .. 'keys')
for i = 1, #all, 2 do
  found[#found + 1] = {all[i], all[i + 1], redis.call('HGET', P .. 'revoked', all[i]) or ''}
end
return found
