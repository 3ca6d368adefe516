-- id, text: a key; repeated it changes nothing
redis.call('HSETNX', P .. 'keys', ARGV[1], int(now) .. ' ' .. ARGV[2])
return 1
