-- Decides a batch of claims, atomically.
--
-- KEYS  the state, then for each claim the bucket of its prompt, and for each option the bucket of
--       its content and, with a sketch, those of its bands and of its signature.
-- ARGV  the epoch that the caller relies on; "1" if it relies on sketches; the bits of the layout;
--       all claims, packed one after the other: prompt (10 bytes), decision (8), policy (4),
--       replays (1), limit (1), the number of bits in which nearly equal signatures agree (1; 0 to
--       skip this check), the number of options (1). For each option: its content (10), its record
--       id (16), then "\0" without a sketch, "\2" if it needs none, or "\1" followed by the bands
--       (5 each) and the signature (56).
--
-- Returns nothing if the claims are incomplete. Otherwise, it returns one string for each claim: "V"
-- for a variant; "N" (new) or "S" (the same as decided before), followed by the policy (4), the
-- number of accepted records (1) and their tokens (4 each). For each option whose content is taken,
-- there follow its number (1), the owner (16), and the number of bits in which they agree (1; 255 for
-- the same content).

local state = call('HMGET', KEYS[1], 'epoch', 'unsketched', 'sketched', 'generation')
if state[1] ~= ARGV[1] or (ARGV[2] == '1' and not (state[2] and state[2] == state[3])) then
  return {}
end

local EQUAL = {} -- bits in which two bytes agree, by their exclusive or

local function signature_bucket(ref)
  local b1, b2, b3, b4 = byte(ref, 1, 4)
  local number = math.floor((((b1 * 256 + b2) * 256 + b3) * 256 + b4) / 2 ^ (32 - ARGV[3]))
  return sub(KEYS[1], 1, -6) .. state[4] .. ':s:' .. string.format('%08x', number)
end

local function agreement(one, other, first, last)
  local bits = 0
  for place = first, last do
    bits = bits + EQUAL[bit.bxor(byte(one, place), byte(other, place))]
  end
  return bits
end

-- Returns the known record whose signature agrees in the most bits, if these are at least `least`.
-- Records of replaced decisions never became rows, so they are ignored.
local function nearest(record, least, replaced)
  local own, seen, found, most = sub(record.id, 1, 8), {}, nil, least - 1
  for number = 1, BANDS do
    local refs = refs_of(record.sketch[number])
    for start = 1, #refs, 8 do
      local ref = sub(refs, start, start + 7)
      local known = ref ~= own and not seen[ref] and not names(replaced, sub(ref, 1, 4)) and
        call('HGET', signature_bucket(ref), sub(ref, 3, 8))
      seen[ref] = true
      if known then
        local other, one = sub(known, 9), record.sketch.signature
        local bits = math.min(agreement(one, other, 1, 28), agreement(one, other, 29, 56))
        if bits > most then
          found, most = ref .. sub(known, 1, 8), bits
        end
      end
    end
  end
  return found, most
end

local function owner_of(record, least, replaced)
  local owner = call('HGET', record.bucket, record.content)
  if owner and not names(replaced, sub(owner, 1, 4)) then
    return owner ~= record.id and owner, 255
  end
  if least > 0 and record.sketch then
    return nearest(record, least, replaced)
  end
end

-- Returns the valid decision before this claim, or nil, and the decision after it. A prompt that was
-- sent again on purpose, with more replays, is decided again; the new decision then keeps the tokens
-- of the records of the earlier ones, which were never stored.
local function standing(made, decision, policy, replays)
  local new = { id = decision, policy = policy, replays = replays, tokens = '', earlier = '' }
  if made and made.id ~= decision and replays > made.replays then
    new.earlier = made.tokens .. made.earlier
    return nil, new
  end
  return made, made or new
end

-- A decision is never changed, with one exception: if only some records of an accepting decision were
-- published before a rebuild, the same policy adds the missing ones again.
local function may_add(made, policy)
  return not made or (made.tokens ~= '' and made.policy == policy)
end

local function decide()
  local bucket, prompt, decision, policy = next_key(), take(10), take(8), take(4)
  local replays, limit, least = byte(take(1)), byte(take(1)), byte(take(1))
  local options = take_records()
  local made, now = standing(decision_of(call('HGET', bucket, prompt)), decision, policy, replays)
  if now.id ~= decision then
    return 'V'
  end
  local before, owners, open = now.tokens, '', may_add(made, policy)
  for number, option in ipairs(options) do
    local token = sub(option.id, 1, 4)
    if not names(now.tokens, token) then
      local room = open and #now.tokens < limit * 4
      local asked = (room or now.tokens == '') and least or 0
      local owner, bits = owner_of(option, asked, now.earlier)
      if owner then
        owners = owners .. char(number - 1) .. owner .. char(bits)
      elseif room then
        now.tokens = now.tokens .. token
        call('HSET', option.bucket, option.content, option.id)
        index(option)
      end
    end
  end
  if not made or now.tokens ~= before or replays > made.replays then
    now.replays = math.max(now.replays, replays)
    call('HSET', bucket, prompt, packed_decision(now))
  end
  return (made and 'S' or 'N') .. now.policy .. char(#now.tokens / 4) .. now.tokens .. owners
end

if ARGV[2] == '1' then
  for value = 0, 255 do
    EQUAL[value] = 8
    for place = 0, 7 do
      EQUAL[value] = EQUAL[value] - bit.band(bit.rshift(value, place), 1)
    end
  end
end

read(ARGV[4])
local verdicts = {}
while at <= #data do
  verdicts[#verdicts + 1] = decide()
end
count_unsketched(state[2])
return verdicts
