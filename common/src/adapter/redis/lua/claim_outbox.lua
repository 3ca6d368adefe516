-- n, claim. Bells of jobs that are not available any more are dropped; of each lane at most four times n are looked at.
local n, taken = tonumber(ARGV[1]), {}
for _, lane in ipairs({'high', 'normal', 'low'}) do
  local key, looks = P .. 'outbox:' .. lane, 0
  while #taken < n and looks < 4 do
    looks = looks + 1
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, n - #taken)
    if #due == 0 then break end
    for _, entry in ipairs(due) do
      local id = string.sub(entry, string.find(entry, ':', 1, true) + 1)
      if redis.call('HGET', job(id), 's') == 'available' then
        redis.call('ZADD', key, now + ARGV[2], entry)
        taken[#taken + 1] = lane .. ':' .. entry
      else
        redis.call('ZREM', key, entry)
      end
    end
  end
end
return taken
