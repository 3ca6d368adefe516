-- worker, info, lasts, capacity or '', its weight; whoever has been silent for an hour is forgotten
redis.call('ZADD', P .. 'workers', now + ARGV[3], ARGV[1])
redis.call('HSET', P .. 'workers:info', ARGV[1], int(now) .. ' ' .. ARGV[2])
if ARGV[4] ~= '' then
  local known = redis.call('HGET', P .. 'totals', 'cap') or ARGV[4]
  redis.call('HSET', P .. 'totals', 'cap', string.format('%.9e', known + ARGV[5] * (ARGV[4] - known)))
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - 3600000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', P .. 'workers', gone)
  redis.call('HDEL', P .. 'workers:info', gone)
end
return 0
