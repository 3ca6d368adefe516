-- id...
local found = {}
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', job(id)) == 1 then found[#found + 1] = raw(id) end
end
return found
