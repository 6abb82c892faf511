-- Read before claim.lua and load.lua: how they take packed records apart, and remember them.

local sub, byte, char, call = string.sub, string.byte, string.char, redis.call

local BANDS = 16
local REFS = 6 * 8 -- bytes of a band's entry at most: records beyond are found by other bands

local data, at, key
local unsketched = false

local function read(packed)
  data, at, key = packed, 1, 2
end

local function take(length)
  at = at + length
  return sub(data, at - length, at - 1)
end

local function next_key()
  key = key + 1
  return KEYS[key - 1]
end

local function take_sketch()
  local sketch = {}
  for number = 1, BANDS do
    local bucket = next_key()
    sketch[number] = { bucket = bucket, field = take(5) }
  end
  sketch.bucket = next_key()
  sketch.signature = take(56)
  return sketch
end

local function take_records()
  local records = {}
  for number = 1, byte(take(1)) do
    local record = { bucket = next_key() }
    record.content = take(10)
    record.id = take(16)
    local kind = take(1)
    if kind == '\1' then
      record.sketch = take_sketch()
    end
    record.exempt = kind == '\2'
    records[number] = record
  end
  return records
end

local function names(tokens, token)
  for start = 1, #tokens, 4 do
    if sub(tokens, start, start + 3) == token then
      return true
    end
  end
  return false
end

local function refs_of(band)
  band.refs = band.refs or call('HGET', band.bucket, band.field) or ''
  return band.refs
end

-- Makes the record known to searches for nearly equal content.
local function index(record)
  local sketch, id = record.sketch, record.id
  if not sketch then
    unsketched = unsketched or not record.exempt
    return
  end
  if call('HSETNX', sketch.bucket, sub(id, 3, 8), sub(id, 9) .. sketch.signature) == 0 then
    return
  end
  for number = 1, BANDS do
    local refs = refs_of(sketch[number])
    if #refs < REFS then
      call('HSET', sketch[number].bucket, sketch[number].field, refs .. sub(id, 1, 8))
    end
  end
end

-- Sketches are complete only as long as no record comes without one. It is counted once the first
-- filter has asked for sketches.
local function count_unsketched(counted)
  if unsketched and counted then
    call('HINCRBY', KEYS[1], 'unsketched', 1)
  end
end
