-- state, 'unfinished' or '', id or '', n: looks at up to n ids, the newest below that id first.
-- Gives whether that was all, the last id it looked at or '', and the ids in that state.
local state, below, n = ARGV[1], ARGV[2], tonumber(ARGV[3])
local final = {completed = true, discarded = true, cancelled = true}
local lanes = {'high', 'normal', 'low'}

-- Jobs that wait or run stand in the order of their due times. While they are few they are all taken and put in order;
-- else all jobs are walked by id and asked for their state.
if state ~= '' and state ~= 'unfinished' and not final[state] then
  local jobs = 0
  for _, lane in ipairs(lanes) do jobs = jobs + redis.call('ZCARD', P .. state .. ':' .. lane) end
  if jobs <= 1000 then
    local ids = {}
    for _, lane in ipairs(lanes) do
      for _, id in ipairs(redis.call('ZRANGE', P .. state .. ':' .. lane, 0, -1)) do
        if below == '' or id < below then ids[#ids + 1] = id end
      end
    end
    table.sort(ids, function(a, b) return a > b end)
    local given = {}
    for i = 1, math.min(n, #ids) do given[i] = ids[i] end
    return {#ids <= n and 1 or 0, given[#given] or '', given}
  end
end

local index = state == 'discarded' and 'dead' or 'all'
local ids = redis.call('ZREVRANGEBYLEX', P .. index, below == '' and '+' or '(' .. below, '-', 'LIMIT', 0, n)
local given = {}
for _, id in ipairs(ids) do
  local is = state ~= '' and index == 'all' and redis.call('HGET', job(id), 's')
  if not is or is == state or (state == 'unfinished' and not final[is]) then given[#given + 1] = id end
end
return {#ids < n and 1 or 0, ids[#ids] or '', given}
