-- One entry of limits/ledger.py, decided where all servers meet, by this server's clock; the same rules as Book.
-- KEYS: requests, tokens (buckets), holds, until (leases), spent.  ARGV: what, now or '', lease, then its own.
local what, lease = ARGV[1], tonumber(ARGV[3])
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function month() -- days to year and month: Howard Hinnant's civil_from_days
  local z = math.floor(now / 86400) + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local m = mp < 10 and mp + 3 or mp - 9
  return string.format('%04d-%02d', yoe + era * 400 + (m <= 2 and 1 or 0), m)
end

local function written(number)
  return string.format('%.17g', number)
end

local function level(key, size) -- nil where there is no limit
  if not size then return nil end
  local found = redis.call('HMGET', key, 'level', 'at')
  if not found[1] then return size end
  local before = math.min(size, tonumber(found[1]))
  return math.min(size, before + math.max(0, now - tonumber(found[2])) * size / 60)
end

local function put(key, size, value) -- gone by itself once it is full again
  redis.call('HSET', key, 'level', written(value), 'at', written(now))
  redis.call('EXPIRE', key, 60 + math.ceil((size - value) * 60 / size))
end

local function wait(have, size, amount)
  return math.max(0, (math.min(amount, size) - have) * 60 / size)
end

local function told(requests, tokens)
  return {'granted', requests and written(requests) or '', tokens and written(tokens) or ''}
end

local function refused(which, seconds, left)
  return {'refused', which, written(seconds), written(left or 0), written(now)}
end

local function charge(when, tokens, micros, answers)
  redis.call('HINCRBY', KEYS[5], when .. ':tokens', tokens)
  redis.call('HINCRBY', KEYS[5], when .. ':micros', micros)
  redis.call('HINCRBY', KEYS[5], when .. ':answers', answers)
end

local function spent(when, kind)
  return tonumber(redis.call('HGET', KEYS[5], when .. ':' .. kind) or '0')
end

if what == 'note' then
  charge(month(), ARGV[4], ARGV[5], ARGV[6])
  return told()
end

if what == 'renew' then
  redis.call('ZADD', KEYS[4], 'XX', written(now + lease), ARGV[4])
  redis.call('EXPIRE', KEYS[3], math.ceil(lease) + 60)
  redis.call('EXPIRE', KEYS[4], math.ceil(lease) + 60)
  return told()
end

local most_requests, most_tokens = tonumber(ARGV[4]), tonumber(ARGV[5])
local requests, tokens = level(KEYS[1], most_requests), level(KEYS[2], most_tokens)

local function lapse() -- leases that have ended
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', written(now))) do
    redis.call('HDEL', KEYS[3], dead)
    redis.call('ZREM', KEYS[4], dead)
  end
end

if what == 'knock' then
  lapse()
  if requests then
    local seconds = wait(requests, most_requests, 1)
    if seconds > 0 then return refused('requests', seconds) end
    requests = math.min(most_requests, requests - 1)
    put(KEYS[1], most_requests, requests)
  end
  return told(requests, tokens)
end

local id, used_tokens, used_micros = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

if what == 'settle' then
  local held = redis.call('HGET', KEYS[3], id)
  if held then
    redis.call('HDEL', KEYS[3], id)
    redis.call('ZREM', KEYS[4], id)
    local when, t, m = string.match(held, '^(.-)|(%d+)|(%d+)$')
    t, m = tonumber(t), tonumber(m)
    local back = t - used_tokens
    charge(when, string.format('%d', 0 - back), string.format('%d', used_micros - m), ARGV[9])
    if tokens and back ~= 0 then
      tokens = math.min(most_tokens, tokens + back)
      put(KEYS[2], most_tokens, tokens)
    end
  end
  lapse()
  return told(requests, tokens)
end

-- hold: all of it or nothing
lapse()
local at_once, monthly_tokens, monthly_micros = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
if at_once and redis.call('ZCARD', KEYS[4]) >= at_once then return refused('at_once', 1) end
if tokens then
  local seconds = wait(tokens, most_tokens, used_tokens)
  if seconds > 0 then return refused('tokens', seconds) end
end
local when = month()
if monthly_tokens then
  local had = spent(when, 'tokens')
  if had + used_tokens > monthly_tokens then return refused('monthly_tokens', 0, monthly_tokens - had) end
end
if monthly_micros then
  local had = spent(when, 'micros')
  if had + used_micros > monthly_micros then return refused('monthly_micros', 0, monthly_micros - had) end
end
if tokens then
  tokens = math.min(most_tokens, tokens - used_tokens)
  put(KEYS[2], most_tokens, tokens)
end
redis.call('HSET', KEYS[3], id, when .. '|' .. ARGV[7] .. '|' .. ARGV[8])
redis.call('ZADD', KEYS[4], written(now + lease), id)
redis.call('EXPIRE', KEYS[3], math.ceil(lease) + 60)
redis.call('EXPIRE', KEYS[4], math.ceil(lease) + 60)
charge(when, ARGV[7], ARGV[8], 0)
return told(requests, tokens)
