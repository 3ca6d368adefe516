-- owner, lasts
local holder = redis.call('GET', P .. 'turn')
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', P .. 'turn', ARGV[1], 'PX', ARGV[2])
return 1
