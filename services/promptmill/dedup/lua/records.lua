-- Shared by claim.lua and load.lua, and read before them: unpacks records and adds them to the index.

local sub, byte, char, call = string.sub, string.byte, string.char, redis.call

local BANDS = 16
local REFS = 6 * 8 -- the largest size of a band's entry in bytes; further records are found by other bands

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

-- A decision lies in its bucket as its digest (8), policy (4), replays (1) and the tokens of its
-- records (4 each). One with replays has the number of these (1) before them, and behind them the
-- tokens of the decisions that it replaced, as many as fit into an entry of a listpack.
local ENTRY = 64

local function decision_of(made)
  if not made then
    return nil
  end
  local replays, tokens, earlier = byte(made, 13), sub(made, 14), ''
  if replays > 0 then
    local last = 14 + byte(made, 14) * 4
    tokens, earlier = sub(made, 15, last), sub(made, last + 1)
  end
  return {
    id = sub(made, 1, 8), policy = sub(made, 9, 12), replays = replays, tokens = tokens,
    earlier = earlier,
  }
end

local function packed_decision(made)
  local head = made.id .. made.policy .. char(made.replays)
  if made.replays == 0 then
    return head .. made.tokens
  end
  head = head .. char(#made.tokens / 4) .. made.tokens
  local room = math.max(0, ENTRY - #head)
  return head .. sub(made.earlier, 1, room - room % 4)
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
