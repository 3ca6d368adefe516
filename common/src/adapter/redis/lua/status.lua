local depth, oldest = {}, -1
for i, lane in ipairs({'high', 'normal', 'low'}) do
  depth[i] = {}
  for j, index in ipairs({'available', 'scheduled', 'retryable', 'running', 'outbox'}) do
    depth[i][j] = redis.call('ZCARD', P .. index .. ':' .. lane)
  end
  local first = redis.call('ZRANGE', P .. 'available:' .. lane, 0, 0, 'WITHSCORES')
  if first[2] then oldest = math.max(oldest, now - first[2]) end
end
local sums = {0, 0, 0}
for back = 0, 5 do
  local f = redis.call('HMGET', P .. 'rate:' .. int(math.floor(now / 10000) - back), 'a', 'c', 's')
  for i = 1, 3 do sums[i] = sums[i] + (f[i] or 0) end
end
return {now, depth, redis.call('ZCARD', P .. 'dead'), redis.call('ZCARD', P .. 'exports'),
  redis.call('ZCARD', P .. 'webhooks'), tonumber(redis.call('HGET', P .. 'totals', 'audio') or 0), sums, oldest,
  redis.call('ZCOUNT', P .. 'workers', '(' .. int(now), '+inf')}
