-- n
local old = redis.call('ZRANGEBYSCORE', P .. 'done', '-inf', now - RETENTION, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(old) do forget(id) end
return #old
