-- Makes pending notices ready again, at the end of the lane: the server has no way to un-read.
-- KEYS: the stream. ARGV: group, id. Answers how many.
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if not entry then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('XADD', KEYS[1], '*', 'n', entry[2][2], 'r', '1')
return 1
