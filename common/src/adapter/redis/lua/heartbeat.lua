-- worker, info, lasts, capacity or '', its weight; whoever has been silent for an hour is forgotten
redis.call('ZADD', P .. 'workers', now + ARGV[3], ARGV[1])
redis.call('HSET', P .. 'workers:info', ARGV[1], int(now) .. ' ' .. ARGV[2])
if ARGV[4] ~= '' then moved('cap', ARGV[4], ARGV[5]) end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - 3600000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', P .. 'workers', gone)
  redis.call('HDEL', P .. 'workers:info', gone)
end
return 0
