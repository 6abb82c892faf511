-- The lease of the reader of lags, its term, the figures that it measured, the workers' reports.
--
-- KEYS  the lease, the latest term, the figures, the reports, publishers that wait for room, the
--       milliseconds that publishers have waited by run.
-- ARGV  the action, identity of the caller, milliseconds of a lease, milliseconds that figures
--       stand; for "turn" also the caller's report and "1" if it can measure; for "publish" its
--       term, when it began to measure, the figures; for "reports" milliseconds that one stands.
--
-- Returns: "turn" the caller's term (0 while another one holds the lease), the time in
-- milliseconds, how many publishers wait, the milliseconds that they have waited, and term, time and
-- text of the figures; "reports" all that stand; "publish" and "resign" 1 when done, 0 when that was
-- no longer the caller's.

local lease, term, lags, reports = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local action, identity, lease_ms, keep_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local text = string.format('%.0f', now_ms)

local function elect()
  local holder = redis.call('GET', lease)
  if holder == identity then
    redis.call('PEXPIRE', lease, lease_ms)
    return redis.call('GET', term)
  end
  if holder then
    local at_ms = tonumber(redis.call('HGET', lags, 'at_ms') or '0') or 0
    if at_ms <= now_ms + lease_ms then
      return '0'
    end
    -- Figures from the future: the clock was set back, which prolongs the lease of a holder that may
    -- be gone. Without them, the lease is taken over only once.
    redis.call('DEL', lags)
  end
  -- Never below the clock, so that terms continue to grow after Redis was emptied. In microseconds,
  -- because a lease can be lost and given to another candidate within one millisecond.
  local before = tonumber(redis.call('GET', term) or '0') or 0
  local mine = string.format('%.0f', math.max(before + 1, time[1] * 1000000 + time[2]))
  redis.call('SET', term, mine)
  redis.call('SET', lease, identity, 'PX', lease_ms)
  return mine
end

if action == 'turn' then
  redis.call('HSET', reports, identity, text .. ' ' .. ARGV[5])
  redis.call('PEXPIRE', reports, 3600000)
  local own = ARGV[6] == '1' and elect() or '0'
  local found = redis.call('HMGET', lags, 'term', 'at_ms', 'lags')
  local waited_ms = 0
  for _, ms in ipairs(redis.call('HVALS', KEYS[6])) do
    waited_ms = waited_ms + tonumber(ms)
  end
  local waiting = redis.call('ZCOUNT', KEYS[5], text, '+inf')
  return {own, text, waiting, string.format('%.0f', waited_ms), found[1], found[2], found[3]}
end

if action == 'reports' then
  local standing = {}
  local entries = redis.call('HGETALL', reports)
  for at = 1, #entries, 2 do
    local since, report = string.match(entries[at + 1], '^(%d+) (.*)$')
    if since and math.abs(now_ms - tonumber(since)) <= tonumber(ARGV[5]) then
      standing[#standing + 1] = report
    else
      redis.call('HDEL', reports, entries[at])
    end
  end
  return standing
end

if action == 'publish' then
  if redis.call('GET', term) ~= ARGV[5] then
    return {0}
  end
  redis.call('HSET', lags, 'term', ARGV[5], 'at_ms', ARGV[6], 'lags', ARGV[7])
  redis.call('PEXPIRE', lags, keep_ms)
  return {1}
end

redis.call('HDEL', reports, identity)
if redis.call('GET', lease) == identity then
  redis.call('DEL', lease)
  return {1}
end
return {0}
