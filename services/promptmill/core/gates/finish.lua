-- Declares the claims complete.
--
-- KEYS  the state.
-- ARGV  field of the loader, the new epoch.
--
-- The epoch of another loader that was faster stays. Sketches are complete if no record came
-- without one since this loader began.
--
-- Returns 1; 0 when the loader is no longer known (the claims were lost again).

local call = redis.call
local state = call('HMGET', KEYS[1], ARGV[1], 'epoch', 'unsketched')

if not (state[1] or state[2]) then
  return 0
end
call('HDEL', KEYS[1], ARGV[1])
if not state[2] then
  call('HSET', KEYS[1], 'epoch', ARGV[2])
end
if state[1] and state[1] == state[3] then
  call('HSET', KEYS[1], 'sketched', state[1])
end
return 1
