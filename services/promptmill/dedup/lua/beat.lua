-- Reports that a loader is alive, and checks whether it may continue.
--
-- KEYS  the state.
-- ARGV  the loader's field.
--
-- Returns 1; 2 if another loader has completed the claims; 0 if the loader is no longer known,
-- because the claims were lost again or another loader took over.

local call = redis.call
local state = call('HMGET', KEYS[1], ARGV[1], 'epoch')
if not state[1] then
  return state[2] and 2 or 0
end
local since, bits = string.match(state[1], '^(%S+) (%d+)')
local time = call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)
call('HSET', KEYS[1], ARGV[1], string.format('%s %s %.0f', since, bits, now))
return 1
