-- Returns the total number of entries in these buckets.
--
-- KEYS  the buckets.

local entries = 0
for _, key in ipairs(KEYS) do
  entries = entries + redis.call('HLEN', key)
end
return entries
