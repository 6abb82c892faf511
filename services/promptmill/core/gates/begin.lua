-- Registers a loader, or finds that the claims are complete.
--
-- KEYS  the state.
-- ARGV  server, bits, field of the loader, "1" if it loads sketches too.
--
-- What another server wrote may lag behind what was published: it is kept, but no longer
-- counts as complete, and its loaders are forgotten.
--
-- Returns the bits of the layout, and whether the claims are complete; a loader that would find
-- nothing to do is not registered.

local call = redis.call
local state = call('HMGET', KEYS[1], 'epoch', 'server', 'bits', 'unsketched', 'sketched')
local wants = ARGV[4] == '1'

local sketched = not wants or (state[4] and state[4] == state[5])
if state[1] and state[2] == ARGV[1] and sketched then
  return { state[3], 1 }
end
if state[2] and state[2] ~= ARGV[1] then
  for _, field in ipairs(call('HKEYS', KEYS[1])) do
    if field == 'epoch' or field == 'sketched' or string.sub(field, 1, 7) == 'loader:' then
      call('HDEL', KEYS[1], field)
    end
  end
end
call('HSETNX', KEYS[1], 'bits', ARGV[2])
if wants then
  call('HSETNX', KEYS[1], 'unsketched', 0)
end
local since = wants and call('HGET', KEYS[1], 'unsketched') or '-'
call('HSET', KEYS[1], 'server', ARGV[1], ARGV[3], since)
return { call('HGET', KEYS[1], 'bits'), 0 }
