-- id
if redis.call('HEXISTS', P .. 'keys', ARGV[1]) == 0 then return -1 end
return redis.call('HSETNX', P .. 'revoked', ARGV[1], int(now))
