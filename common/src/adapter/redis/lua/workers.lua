local alive = redis.call('ZRANGEBYSCORE', P .. 'workers', '(' .. int(now), '+inf')
local told = {now}
for _, worker in ipairs(alive) do
  local info = redis.call('HGET', P .. 'workers:info', worker)
  if info then told[#told + 1] = worker; told[#told + 1] = info end
end
return told
