-- Has the claims rebuilt into a wider layout: nothing is decided until they are.
--
-- KEYS  the state.
-- ARGV  the epoch that the caller found outgrown, bits of the wider layout.
--
-- Returns 1, or 0 when another filter was faster.

if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', KEYS[1], 'epoch')
redis.call('HSET', KEYS[1], 'wanted', ARGV[2])
return 1
