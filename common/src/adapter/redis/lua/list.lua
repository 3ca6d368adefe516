-- state or '', id or '', n: ids of one page, the newest below that id first
local state, before = ARGV[1], ARGV[2] == '' and '+' or '(' .. ARGV[2]
if state == 'discarded' or state == 'completed' or state == 'cancelled' or state == '' then
  local index = state == 'discarded' and 'dead' or 'all'
  return redis.call('ZREVRANGEBYLEX', P .. index, before, '-', 'LIMIT', 0, ARGV[3])
end
local ids = {}
for _, lane in ipairs({'high', 'normal', 'low'}) do
  for _, id in ipairs(redis.call('ZREVRANGE', P .. state .. ':' .. lane, 0, ARGV[3] - 1)) do ids[#ids + 1] = id end
end
return ids
