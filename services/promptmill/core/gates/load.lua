-- Loads published decisions: what stands stays, what is missing is added.
--
-- KEYS  the state, then for each decision the bucket of its prompt, and for each record the bucket
--       of its content and, with a sketch, those of its bands and of its signature.
-- ARGV  field of the loader; all decisions packed one after the other: prompt (10 bytes),
--       decision (8), policy (4), number of records (1), then for each record its content (10),
--       record id (16), "\0" without a sketch, "\2" if it needs none, or "\1",
--       bands (5 each) and signature (56).
--
-- Returns nothing when the loader is no longer known (the claims were lost again), else how many
-- of the decisions and contents contradict what stands, and whether the claims have become all
-- that the loader wants them to be.

local state = call('HMGET', KEYS[1], ARGV[1], 'epoch', 'unsketched', 'sketched')
if not (state[1] or state[2]) then
  return {}
end

local conflicts = 0

local function own(record)
  if call('HSETNX', record.bucket, record.content, record.id) == 0
    and call('HGET', record.bucket, record.content) ~= record.id then
    conflicts = conflicts + 1
  end
  index(record)
end

local function load()
  local bucket, prompt, head, records = next_key(), take(10), take(12), take_records()
  local made = call('HGET', bucket, prompt)
  local tokens = made and sub(made, 13) or ''
  for _, record in ipairs(records) do
    own(record)
    if not names(tokens, sub(record.id, 1, 4)) then
      tokens = tokens .. sub(record.id, 1, 4)
    end
  end
  if not made then
    call('HSET', bucket, prompt, head .. tokens)
  elseif sub(made, 1, 8) ~= sub(head, 1, 8) or (#made == 12) ~= (#records == 0) then
    conflicts = conflicts + 1
  elseif #tokens > #made - 12 then
    call('HSET', bucket, prompt, sub(made, 1, 12) .. tokens)
  end
end

read(ARGV[2])
while at <= #data do
  load()
end
count_unsketched(state[3])
local sketched = state[1] == '-' or (state[3] and state[3] == state[4] and not unsketched)
return { conflicts, (state[2] and sketched) and 1 or 0 }
