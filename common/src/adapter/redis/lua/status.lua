local depth, oldest, rings = {}, -1, -1
for i, lane in ipairs({'high', 'normal', 'low'}) do
  depth[i] = {}
  for j, index in ipairs({'available', 'scheduled', 'retryable', 'running', 'outbox'}) do
    depth[i][j] = redis.call('ZCARD', P .. index .. ':' .. lane)
  end
  local first = redis.call('ZRANGE', P .. 'available:' .. lane, 0, 0, 'WITHSCORES')
  if first[2] then oldest = math.max(oldest, now - first[2]) end
  -- The first of those that nobody has, and the first of those that somebody has claimed: either may be the older.
  local box = P .. 'outbox:' .. lane
  for _, bell in ipairs({redis.call('ZRANGE', box, 0, 0)[1] or false,
      redis.call('ZRANGEBYSCORE', box, '(' .. int(now), '+inf', 'LIMIT', 0, 1)[1] or false}) do
    local since = bell and redis.call('HGET', job(string.sub(bell, string.find(bell, ':', 1, true) + 1)), 'av')
    if since then rings = math.max(rings, now - since) end
  end
end
local sums = {0, 0, 0}
for back = 0, 5 do
  local f = redis.call('HMGET', P .. 'rate:' .. int(math.floor(now / 10000) - back), 'a', 'c', 's')
  for i = 1, 3 do sums[i] = sums[i] + (f[i] or 0) end
end
local t = redis.call('HMGET', P .. 'totals', 'n', 'rn', 'ra', 'un', 'ua', 'flow', 'untimed', 'cap', 'at', 'mean')
-- Sums begin again where nothing is left of what they are of, so that no mistake lasts.
for state, sums in pairs({[1] = {2, 'rn', 3, 'ra'}, [4] = {4, 'un', 5, 'ua'}}) do
  local jobs = depth[1][state] + depth[2][state] + depth[3][state]
  if jobs == 0 and tonumber(t[sums[1]] or 0) ~= 0 then
    redis.call('HSET', P .. 'totals', sums[2], 0, sums[4], 0)
    t[sums[1]], t[sums[3]] = 0, 0
  end
end
local waiting = 0
for i = 1, 3 do waiting = waiting + depth[i][1] + depth[i][2] + depth[i][3] end
if waiting == 0 and tonumber(t[1] or 0) ~= 0 then
  redis.call('HSET', P .. 'totals', 'n', 0, 'audio', 0)
  t[1] = 0
end
for i = 1, 8 do t[i] = string.format('%.9e', finite(t[i]) * ((i == 6 or i == 7) and kept(t[9]) or 1)) end
return {now, depth, redis.call('ZCARD', P .. 'dead'), redis.call('ZCARD', P .. 'exports'),
  redis.call('ZCARD', P .. 'webhooks'), tonumber(redis.call('HGET', P .. 'totals', 'audio') or 0), sums, oldest,
  redis.call('ZCOUNT', P .. 'workers', '(' .. int(now), '+inf'),
  rings, redis.call('ZCOUNT', P .. 'exports', '-inf', int(now)), {t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[10] or '-1',
    tostring(redis.call('ZCOUNT', P .. 'workers:draining', '(' .. int(now), '+inf'))}}
