-- Notes under which identity the server goes on, unless another filter has noted one meanwhile.
--
-- KEYS  the state.
-- ARGV  the server as it was recorded, the server as it is now.
--
-- Returns 1, or 0 when another server is recorded.

if redis.call('HGET', KEYS[1], 'server') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'server', ARGV[2])
return 1
