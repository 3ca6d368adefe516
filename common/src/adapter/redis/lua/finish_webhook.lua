-- id, the end of the claim, wait or '', what is to be noted, how many notes are kept
local id = ARGV[1]
-- Another score is another claim's, or that of a later end of the job.
if tonumber(redis.call('ZSCORE', P .. 'webhooks', id) or -1) ~= tonumber(ARGV[2]) then return 0 end
local tries = redis.call('HINCRBY', job(id), 'wt', 1)
if ARGV[3] == '' then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('ZADD', P .. 'webhooks', now + ARGV[3], id)
end
redis.call('LPUSH', P .. 'deliveries', int(now) .. ' ' .. tries .. ' ' .. ARGV[4])
redis.call('LTRIM', P .. 'deliveries', 0, ARGV[5] - 1)
return 1
