-- lane, n, claim. Bells of jobs that are not available any more are dropped; at most four times n are looked at.
local key, n, taken = P .. 'outbox:' .. ARGV[1], tonumber(ARGV[2]), {}
for _ = 1, 4 do
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, n - #taken)
  if #due == 0 then break end
  for _, entry in ipairs(due) do
    local id = string.sub(entry, string.find(entry, ':', 1, true) + 1)
    if redis.call('HGET', job(id), 's') == 'available' then
      redis.call('ZADD', key, now + ARGV[3], entry)
      taken[#taken + 1] = entry
    else
      redis.call('ZREM', key, entry)
    end
  end
end
return taken
