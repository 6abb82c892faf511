-- Records the server's new identity, unless another filter has recorded one in the meantime.
--
-- KEYS  the state.
-- ARGV  the server that was recorded, the present server.
--
-- Returns 1, or 0 if another server is recorded.

if redis.call('HGET', KEYS[1], 'server') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'server', ARGV[2])
return 1
