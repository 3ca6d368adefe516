-- Removes a notice for good. Answers 1, or 0 when somebody else has it by now: then nothing is touched.
-- KEYS: the stream. ARGV: group, id.
local taken = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if taken == 1 then redis.call('XDEL', KEYS[1], ARGV[2]) end
return taken
