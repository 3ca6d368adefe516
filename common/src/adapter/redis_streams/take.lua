-- Takes one notice from the first stream that has one: {index from 0, id, fields}, or nothing.
-- KEYS: the streams, the highest lane first. ARGV: group, consumer.
for index, stream in ipairs(KEYS) do
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', stream, '>')
  if reply then
    local entry = reply[1][2][1]
    return {index - 1, entry[1], entry[2]}
  end
end
return false
