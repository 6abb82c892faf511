-- Loads published decisions; it adds what is missing and keeps what is already there.
--
-- KEYS  the state, then for each decision the bucket of its prompt, and for each record the bucket
--       of its content and, with a sketch, those of its bands and of its signature.
-- ARGV  the loader's field ("" if the caller adds to complete claims), the generation of the
--       buckets, all decisions, packed one after the other: prompt (10 bytes), decision (8),
--       policy (4), replays (1), the number of records (1). For each record: its content (10), its
--       record id (16), then "\0" without a sketch, "\2" if it needs none, or "\1" followed by the
--       bands (5 each) and the signature (56).
--
-- Returns nothing if the loader is no longer known because the claims were lost again. Otherwise, it
-- returns the number of decisions and contents that contradict existing ones, and 1 if the claims are
-- complete, including the sketches if the loader loads them. If another generation has been
-- completed, nothing is loaded.

local state = call('HMGET', KEYS[1], ARGV[1], 'epoch', 'unsketched', 'sketched', 'generation')
if not (state[1] or (state[2] and state[5] == ARGV[2])) then
  return state[2] and { 0, 1 } or {}
end
local since = string.match(state[1] or '-', '^%S+')

local conflicts = 0

local function own(record, replaced)
  if call('HSETNX', record.bucket, record.content, record.id) == 0 then
    local owner = call('HGET', record.bucket, record.content)
    if names(replaced, sub(owner, 1, 4)) then
      call('HSET', record.bucket, record.content, record.id)
    elseif owner ~= record.id then
      conflicts = conflicts + 1
    end
  end
  index(record)
end

-- Returns the valid one of two decisions about a prompt, which is the one with more replays.
local function merged(made, new)
  if not made then
    return new
  end
  if made.id ~= new.id then
    if new.replays > made.replays then
      new.earlier = made.tokens .. made.earlier
      return new
    end
    conflicts = conflicts + (new.replays == made.replays and 1 or 0)
    return made
  end
  if (made.tokens == '') ~= (new.tokens == '') then
    conflicts = conflicts + 1
    return made
  end
  for start = 1, #new.tokens, 4 do
    local token = sub(new.tokens, start, start + 3)
    if not names(made.tokens, token) then
      made.tokens = made.tokens .. token
    end
  end
  made.replays = math.max(made.replays, new.replays)
  return made
end

local function load()
  local bucket, prompt = next_key(), take(10)
  local new = { id = take(8), policy = take(4), replays = byte(take(1)), earlier = '' }
  local records, tokens = take_records(), {}
  for number, record in ipairs(records) do
    tokens[number] = sub(record.id, 1, 4)
  end
  new.tokens = table.concat(tokens)
  local made = call('HGET', bucket, prompt)
  local now = merged(decision_of(made), new)
  for _, record in ipairs(records) do
    own(record, now.earlier)
  end
  local packed = packed_decision(now)
  if packed ~= made then
    call('HSET', bucket, prompt, packed)
  end
end

read(ARGV[3])
while at <= #data do
  load()
end
count_unsketched(state[3])
local sketched = since == '-' or (state[3] and state[3] == state[4] and not unsketched)
return { conflicts, (state[2] and sketched) and 1 or 0 }
