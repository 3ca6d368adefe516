-- n
local done = 0
for _, lane in ipairs({'high', 'normal', 'low'}) do
  for _, state in ipairs({'scheduled', 'retryable'}) do
    local due = redis.call('ZRANGEBYSCORE', P .. state .. ':' .. lane, '-inf', now, 'LIMIT', 0, ARGV[1] - done)
    for _, id in ipairs(due) do
      leave(id, state, lane)
      wait(id, 'available', lane, now)
    end
    done = done + #due
  end
end
return done
