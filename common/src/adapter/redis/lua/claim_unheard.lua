-- waited, length of the claim, lanes. Of each lane the 64 that wait longest are looked at.
for i = 3, #ARGV do
  local waiting = redis.call('ZRANGEBYSCORE', P .. 'available:' .. ARGV[i], '-inf', now - ARGV[1], 'LIMIT', 0, 64)
  for _, id in ipairs(waiting) do
    if tonumber(redis.call('HGET', job(id), 'h') or 0) <= now then
      redis.call('HSET', job(id), 'h', int(now + ARGV[2]))
      return id
    end
  end
end
return false
