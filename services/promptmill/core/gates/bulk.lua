-- Adds entries of one table that are missing: what stands stays.
--
-- KEYS  the state.
-- ARGV  field of the loader, name of the table, "1" if its entries are records without sketch, length of an entry; all entries one after the other,
--       in the order of their buckets: bucket (4 bytes), field (10), value.
--
-- Returns nothing when the loader is no longer known (the claims were lost again), else the numbers
-- (4 bytes each) of the entries for which another value stands; the first byte is "1" if the
-- claims have become complete.

local call, sub, byte, format = redis.call, string.sub, string.byte, string.format
local state = call('HMGET', KEYS[1], ARGV[1], 'epoch', 'unsketched')
if not (state[1] or state[2]) then
  return false
end

local table_key = sub(KEYS[1], 1, -6) .. ARGV[2] .. ':'
local length, data = tonumber(ARGV[4]), ARGV[5]
local others = {}

local function add(bucket, first, last)
  local b1, b2, b3, b4 = byte(bucket, 1, 4)
  local key = table_key .. format('%x', ((b1 * 256 + b2) * 256 + b3) * 256 + b4)
  local fields, values = {}, {}
  for at = first, last, length do
    fields[#fields + 1] = sub(data, at + 4, at + 13)
    values[#values + 1] = sub(data, at + 14, at + length - 1)
  end
  local standing = call('EXISTS', key) == 1 and call('HMGET', key, unpack(fields)) or {}
  local missing = {}
  for number, value in ipairs(values) do
    if not standing[number] then
      missing[#missing + 1] = fields[number]
      missing[#missing + 1] = value
    elseif standing[number] ~= value then
      local entry = (first - 1) / length + number - 1
      others[#others + 1] = string.char(
        math.floor(entry / 16777216) % 256, math.floor(entry / 65536) % 256,
        math.floor(entry / 256) % 256, entry % 256)
    end
  end
  if #missing > 0 then
    call('HSET', key, unpack(missing))
  end
end

local first = 1
while first <= #data do
  local bucket, last = sub(data, first, first + 3), first
  while last + length <= #data and sub(data, last + length, last + length + 3) == bucket do
    last = last + length
  end
  add(bucket, first, last)
  first = last + length
end
if ARGV[3] == '1' and state[3] then
  call('HINCRBY', KEYS[1], 'unsketched', 1) -- see records.lua
end
return (state[2] and '1' or '0') .. table.concat(others)
