-- Notices that no consumer holds. KEYS: the stream. ARGV: group.
local length = redis.call('XLEN', KEYS[1])
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])
-- No group yet: nobody holds anything.
if pending.err then return length end
return length - pending[1]
