-- state or '', offset, n: ids of one page, newest first
local state, first, last = ARGV[1], tonumber(ARGV[2]), ARGV[2] + ARGV[3] - 1
if state == 'discarded' then return redis.call('ZREVRANGE', P .. 'dead', first, last) end
if state == 'completed' or state == 'cancelled' or state == '' then
  return redis.call('ZREVRANGE', P .. 'all', first, last)
end
local ids = {}
for _, lane in ipairs({'high', 'normal', 'low'}) do
  for _, id in ipairs(redis.call('ZREVRANGE', P .. state .. ':' .. lane, first, last)) do ids[#ids + 1] = id end
end
return ids
