-- id: text and when it was revoked, or nothing
local text = redis.call('HGET', P .. 'keys', ARGV[1])
if not text then return {} end
return {text, redis.call('HGET', P .. 'revoked', ARGV[1]) or ''}
