-- Declares the claims complete.
--
-- KEYS  the state.
-- ARGV  the loader's field, the new epoch, the generation that it loaded, "1" if that is new.
--
-- The generations of slower loaders are listed so that they are unlinked. Sketches are complete if
-- no record without one was added since this loader began.
--
-- Returns 1; 2 if another loader was faster; 0 if the loader is no longer known, because the claims
-- were lost again or another loader took over.

local call, sub = redis.call, string.sub
local state = call('HMGET', KEYS[1], ARGV[1], 'epoch', 'unsketched')

if not state[1] then
  return state[2] and 2 or 0
end
local since, bits = string.match(state[1], '^(%S+) (%d+)')
call('HDEL', KEYS[1], ARGV[1])
if ARGV[4] == '1' then
  local fields = call('HGETALL', KEYS[1])
  for at = 1, #fields, 2 do
    if sub(fields[at], 1, 7) == 'loader:' then
      call('HDEL', KEYS[1], fields[at])
      call('HSET', KEYS[1], 'old:' .. sub(fields[at], 8), string.match(fields[at + 1], ' (%d+) '))
    end
  end
  call('HDEL', KEYS[1], 'sketched', 'wanted')
  call('HSET', KEYS[1], 'epoch', ARGV[2], 'generation', ARGV[3], 'bits', bits)
end
if since ~= '-' and since == state[3] then
  call('HSET', KEYS[1], 'sketched', since)
end
return 1
