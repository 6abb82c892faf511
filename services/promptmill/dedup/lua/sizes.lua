-- How many entries some buckets hold together.
--
-- KEYS  the buckets.

local entries = 0
for _, key in ipairs(KEYS) do
  entries = entries + redis.call('HLEN', key)
end
return entries
