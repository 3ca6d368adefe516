-- id, wait or ''
local id = ARGV[1]
if not redis.call('ZSCORE', P .. 'webhooks', id) then return 0 end
if ARGV[2] == '' then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('HINCRBY', job(id), 'wt', 1)
  redis.call('ZADD', P .. 'webhooks', now + ARGV[2], id)
end
return 1
