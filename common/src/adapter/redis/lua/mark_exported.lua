-- id, cache or '', why documents are not where they were wanted or ''
local id = ARGV[1]
local f = get(id, 's', 'xp', 'cf')
if f[1] ~= 'completed' or f[2] then return 0 end
redis.call('HSET', job(id), 'xp', int(now))
if ARGV[3] ~= '' then redis.call('HSET', job(id), 'op', ARGV[3]) end
redis.call('ZREM', P .. 'exports', id)
webhook(id)
if ARGV[2] ~= '' and not f[3] then
  redis.call('HSET', job(id), 'ck', ARGV[2])
  redis.call('HSET', P .. 'cache', ARGV[2], id)
end
return 1
