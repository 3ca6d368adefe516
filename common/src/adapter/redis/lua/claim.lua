-- index, n, claim, whether to give records with the field named here: '' for the members alone
local key, given = P .. ARGV[1], {}
for i, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', key, now + ARGV[3], member)
  if ARGV[4] == '' then
    given[i] = member
  else
    given[i] = {raw(member), tonumber(redis.call('HGET', job(member), ARGV[4]) or 0)}
  end
end
return given
