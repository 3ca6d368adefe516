-- n
if ARGV[1] == '0' then return {} end
return redis.call('LRANGE', P .. 'deliveries', 0, ARGV[1] - 1)
