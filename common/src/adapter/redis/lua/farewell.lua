-- worker
redis.call('ZREM', P .. 'workers', ARGV[1])
redis.call('ZREM', P .. 'workers:draining', ARGV[1])
redis.call('HDEL', P .. 'workers:info', ARGV[1])
return 0
