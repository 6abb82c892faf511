-- Registers a loader, or finds that the claims are complete.
--
-- KEYS  the state.
-- ARGV  the server as it was recorded when the caller looked ("" if none was), the server as it is
--       now, "1" if its data is what was recorded, bits, field of the loader, "1" if it loads
--       sketches too.
--
-- What was written before the server lost some of it is kept, but no longer counts as complete,
-- and its loaders are forgotten.
--
-- Returns nothing when another server has been recorded since the caller looked; else the bits of
-- the layout, and whether the claims are complete: then the loader is not registered.

local call = redis.call
local state = call('HMGET', KEYS[1], 'epoch', 'server', 'bits', 'unsketched', 'sketched')
local kept, wants = ARGV[3] == '1', ARGV[6] == '1'

if (state[2] or '') ~= ARGV[1] then
  return {}
end
local sketched = not wants or (state[4] and state[4] == state[5])
if state[1] and kept and sketched then
  return { state[3], 1 }
end
if state[2] and not kept then
  for _, field in ipairs(call('HKEYS', KEYS[1])) do
    if field == 'epoch' or field == 'sketched' or string.sub(field, 1, 7) == 'loader:' then
      call('HDEL', KEYS[1], field)
    end
  end
end
call('HSETNX', KEYS[1], 'bits', ARGV[4])
if wants then
  call('HSETNX', KEYS[1], 'unsketched', 0)
end
local since = wants and call('HGET', KEYS[1], 'unsketched') or '-'
call('HSET', KEYS[1], 'server', ARGV[2], ARGV[5], since)
return { call('HGET', KEYS[1], 'bits'), 0 }
