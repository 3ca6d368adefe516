-- What every script shares. KEYS[1] is the deployment's prefix; the lengths of time stand above, in milliseconds.
-- Numbers that are stored go through int(): Lua's own text for them may have an exponent.
local P = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Nothing taken away is -0, which is no number to Redis; adding 0 makes it 0.
local function int(n) return string.format('%.0f', n + 0) end
local function job(id) return P .. 'job:' .. id end
local function get(id, ...) return redis.call('HMGET', job(id), ...) end

local function count(arrived, completed, audio)
  local key = P .. 'rate:' .. int(math.floor(now / 10000))
  if arrived > 0 then redis.call('HINCRBY', key, 'a', arrived) end
  if completed > 0 then redis.call('HINCRBY', key, 'c', completed) end
  if audio > 0 then redis.call('HINCRBY', key, 's', int(audio)) end
  redis.call('PEXPIRE', key, 120000)
end

-- Everything a record is made of.
local function raw(id)
  return {id, redis.call('HGETALL', job(id)), redis.call('GET', P .. 'spec:' .. id),
    redis.call('GET', P .. 'fail:' .. id), redis.call('GET', P .. 'result:' .. id)}
end

local function bell(id, lane)
  local serial = redis.call('INCR', P .. 'serial')
  redis.call('ZADD', P .. 'outbox:' .. lane, now, int(serial) .. ':' .. id)
end

-- Sums of the known lengths of recordings, and of how many they are, by what their jobs do: all that wait, those of them
-- that are available, and those that run.
local function audio(id, state, sign)
  local known = redis.call('HGET', job(id), 'd')
  if not known then return end
  local function add(sum, jobs)
    redis.call('HINCRBY', P .. 'totals', sum, int(sign * known))
    redis.call('HINCRBY', P .. 'totals', jobs, sign)
  end
  if state == 'running' then add('ua', 'un') else add('audio', 'n') end
  if state == 'available' then add('ra', 'rn') end
end

-- A mean among the totals that one more value moves by its weight.
local function moved(mean, value, weight)
  local known = redis.call('HGET', P .. 'totals', mean) or value
  redis.call('HSET', P .. 'totals', mean, string.format('%.9e', known + weight * (value - known)))
end

-- A number that was stored; 0 for none, and for what is none any more.
local function finite(stored)
  local number = tonumber(stored) or 0
  if number ~= number or math.abs(number) == math.huge then return 0 end
  return number
end

-- What is left of arrivals that were averaged at `at`. A clock that was set back makes them no more than they were.
local function kept(at) return math.exp(math.min(0, ((at or now) - now) / ARRIVALS_OVER)) end

-- Arriving work, averaged with exponential weights as in common/src/scaling.rs; `length` is '' when it is not known.
local function arrived(length)
  local f = redis.call('HMGET', P .. 'totals', 'at', 'flow', 'untimed')
  local flow, untimed = finite(f[2]) * kept(f[1]), finite(f[3]) * kept(f[1])
  if length == '' then untimed = untimed + 1000 / ARRIVALS_OVER else flow = flow + length / ARRIVALS_OVER end
  redis.call('HSET', P .. 'totals', 'at', int(now), 'flow', string.format('%.9e', flow),
    'untimed', string.format('%.9e', untimed))
end

-- A job leaves the index of its state.
local function leave(id, state, lane)
  redis.call('ZREM', P .. state .. ':' .. lane, id)
  if state == 'running' then
    local worker = redis.call('HGET', job(id), 'w')
    if worker then redis.call('SREM', P .. 'held:' .. worker, id) end
    redis.call('HDEL', job(id), 'ex', 'p')
  elseif state == 'available' then
    redis.call('ZREM', P .. 'bell:' .. lane, id)
  end
  audio(id, state, -1)
end

local function wait(id, state, lane, due)
  redis.call('HSET', job(id), 's', state, 'av', int(due))
  redis.call('ZADD', P .. state .. ':' .. lane, due, id)
  audio(id, state, 1)
  if state == 'available' then
    redis.call('HDEL', job(id), 'b', 'h')
    redis.call('ZADD', P .. 'bell:' .. lane, now + BELL_FIRST, id)
    bell(id, lane)
  end
end

local function webhook(id)
  if redis.call('HEXISTS', job(id), 'cb') == 1 then redis.call('ZADD', P .. 'webhooks', now, id) end
end

local function finish(id, state)
  redis.call('HSET', job(id), 's', state, 'co', int(now))
  redis.call('ZADD', P .. 'done', now, id)
  if state == 'completed' then
    redis.call('ZADD', P .. 'exports', now + EXPORT_GRACE, id)
  else
    if state == 'discarded' then redis.call('ZADD', P .. 'dead', 0, id) end
    webhook(id)
  end
end

local function sweep(id, token, nonce)
  redis.call('ZADD', P .. 'sweeps', now + SWEEP_DELAY, id .. ':' .. token .. ':' .. nonce)
end

-- Forgets a final job.
local function forget(id)
  local known = get(id, 'ik', 'ck')
  if known[1] then redis.call('HDEL', P .. 'idempotency', known[1]) end
  if known[2] and redis.call('HGET', P .. 'cache', known[2]) == id then
    redis.call('HDEL', P .. 'cache', known[2])
  end
  for _, index in ipairs({'done', 'dead', 'all', 'exports', 'webhooks'}) do redis.call('ZREM', P .. index, id) end
  redis.call('DEL', job(id), P .. 'spec:' .. id, P .. 'fail:' .. id, P .. 'result:' .. id)
end
