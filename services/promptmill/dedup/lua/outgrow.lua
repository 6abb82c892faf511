-- Requests a rebuild of the claims in a wider layout; until it is finished, nothing is decided.
--
-- KEYS  the state.
-- ARGV  the epoch whose layout is too small, the bits of the wider layout.
--
-- Returns 1, or 0 if another filter was faster.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[1], 'epoch')
redis.call('HSET', KEYS[1], 'wanted', ARGV[2])
return 1
