-- n
local found = {}
for _, lane in ipairs({'high', 'normal', 'low'}) do
  local over = redis.call('ZRANGEBYSCORE', P .. 'running:' .. lane, '-inf', now, 'LIMIT', 0, ARGV[1] - #found)
  for _, id in ipairs(over) do
    local f = get(id, 'k', 'n', 'c')
    found[#found + 1] = {id, tonumber(f[1]), f[2], tonumber(f[3] or 0), redis.call('GET', P .. 'spec:' .. id)}
  end
end
return found
