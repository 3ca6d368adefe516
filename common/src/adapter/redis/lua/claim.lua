-- index, n, claim, whether to give records with the field named here and the end of the claim: '' for the members alone
local key, given, until_ = P .. ARGV[1], {}, now + ARGV[3]
for i, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', key, until_, member)
  if ARGV[4] == '' then
    given[i] = member
  else
    given[i] = {raw(member), tonumber(redis.call('HGET', job(member), ARGV[4]) or 0), until_}
  end
end
return given
