-- worker, info, lasts, capacity or '', its weight, whether it drains; whoever has been silent for an hour is forgotten
redis.call('ZADD', P .. 'workers', now + ARGV[3], ARGV[1])
redis.call('HSET', P .. 'workers:info', ARGV[1], int(now) .. ' ' .. ARGV[2])
if ARGV[6] == '1' then
  redis.call('ZADD', P .. 'workers:draining', now + ARGV[3], ARGV[1])
else
  redis.call('ZREM', P .. 'workers:draining', ARGV[1])
end
if ARGV[4] ~= '' then moved('cap', ARGV[4], ARGV[5]) end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers', '-inf', now - 3600000, 'LIMIT', 0, 100)) do
  redis.call('ZREM', P .. 'workers', gone)
  redis.call('ZREM', P .. 'workers:draining', gone)
  redis.call('HDEL', P .. 'workers:info', gone)
end
return 0
