-- id
local state = get(ARGV[1], 's')[1]
if not state then return 'unknown' end
if state ~= 'completed' and state ~= 'discarded' and state ~= 'cancelled' then return 'kept' end
forget(ARGV[1])
return 'purged'
