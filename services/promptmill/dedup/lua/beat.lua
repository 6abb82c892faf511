-- Says that a loader is at work, and looks whether it may go on.
--
-- KEYS  the state.
-- ARGV  field of the loader.
--
-- Returns 1; 2 when the claims have become complete by another loader's work; 0 when the loader is
-- no longer known (the claims were lost again, or another loader took over).

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
