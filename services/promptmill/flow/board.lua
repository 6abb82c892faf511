-- The lease of the reader of lags, its term, and the figures that it measured.
--
-- KEYS  the lease, the latest term, the figures.
-- ARGV  the action, identity of the caller, milliseconds of a lease, milliseconds that figures
--       stand; for "publish" also the caller's term, when it began to measure, the figures.
--
-- Returns: "stand" the caller's term (0 while another one holds the lease) and the time in
-- milliseconds; "publish" and "resign" 1 when done, 0 when that was no longer the caller's.

local lease, term, lags = KEYS[1], KEYS[2], KEYS[3]
local action, identity, lease_ms, keep_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', now_ms)

if action == 'stand' then
  local holder = redis.call('GET', lease)
  if holder == identity and redis.call('EXISTS', term) == 1 then
    redis.call('PEXPIRE', lease, lease_ms)
    return {redis.call('GET', term), text}
  end
  if holder and holder ~= identity then
    return {'0', text}
  end
  -- Never below the clock, so that terms go on growing after Redis was emptied.
  local before = tonumber(redis.call('GET', term) or '0') or 0
  local mine = string.format('%.0f', math.max(before + 1, now_ms))
  redis.call('SET', term, mine)
  redis.call('SET', lease, identity, 'PX', lease_ms)
  return {mine, text}
end

if action == 'publish' then
  if redis.call('GET', term) ~= ARGV[5] then
    return {0}
  end
  redis.call('HSET', lags, 'term', ARGV[5], 'at_ms', ARGV[6], 'lags', ARGV[7])
  redis.call('PEXPIRE', lags, keep_ms)
  return {1}
end

if redis.call('GET', lease) == identity then
  redis.call('DEL', lease)
  return {1}
end
return {0}
