-- id, wait or '', what is to be noted, how many notes are kept
local id = ARGV[1]
if not redis.call('ZSCORE', P .. 'webhooks', id) then return 0 end
local tries = redis.call('HINCRBY', job(id), 'wt', 1)
if ARGV[2] == '' then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('ZADD', P .. 'webhooks', now + ARGV[2], id)
end
redis.call('LPUSH', P .. 'deliveries', int(now) .. ' ' .. tries .. ' ' .. ARGV[3])
redis.call('LTRIM', P .. 'deliveries', 0, ARGV[4] - 1)
return 1
