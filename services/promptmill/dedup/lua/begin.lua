-- Registers a loader, unless the claims are complete or another loader is working.
--
-- KEYS  the state.
-- ARGV  the server that was recorded when the caller checked ("" if there was none), the present
--       server, "1" if its data is what was recorded, the bits of the layout, the loader's id, "1"
--       if it loads sketches too, the milliseconds of silence after which a loader is considered
--       dead, and the form of its sketches.
--
-- Each loader fills its own buckets, a new generation that is named after its id. No claim reads
-- them before finish.lua declares them complete, so a late write does no harm. Only sketches that
-- are missing from complete claims are added to the buckets in use ("join"). Sketches of two forms
-- are never nearly equal, so those of another form are loaded into new buckets. Obsolete buckets
-- are listed (old:<generation> = bits) until they are unlinked.
--
-- Returns nothing if another server has been recorded since the caller checked. Otherwise, it
-- returns what the caller must do ("complete", "wait", "join", "load"), the generation, the bits, and
-- the form of its sketches ("" if it has none).

local call, sub = redis.call, string.sub
local state = call('HMGET', KEYS[1], 'epoch', 'server', 'bits', 'unsketched', 'sketched',
  'generation', 'wanted', 'form')
local epoch, generation, bits = state[1], state[6], state[3]
local kept, id, wants = ARGV[3] == '1', ARGV[5], ARGV[6] == '1'
local form = state[8] or (state[5] and 'folded') or '' -- earlier versions did not name it
local time = call('TIME')
local now = math.floor(time[1] * 1000 + time[2] / 1000)

if (state[2] or '') ~= ARGV[1] then
  return {}
end

local function register(kind, layout_bits)
  if wants then
    form = ARGV[8]
    call('HSETNX', KEYS[1], 'unsketched', 0)
    call('HSET', KEYS[1], 'form', form)
  end
  local since = wants and call('HGET', KEYS[1], 'unsketched') or '-'
  local value = string.format('%s %s %.0f', since, layout_bits, now)
  call('HSET', KEYS[1], 'server', ARGV[2], kind .. id, value)
end

if epoch and kept and generation and not (wants and form ~= '' and form ~= ARGV[8]) then
  local sketched = not wants or (state[4] and state[4] == state[5])
  if not sketched then
    register('joiner:', bits)
  end
  return { sketched and 'complete' or 'join', generation, bits, form }
end

local fields, loaders = call('HGETALL', KEYS[1]), {}
for at = 1, #fields, 2 do
  local kind = sub(fields[at], 1, 7)
  if kind == 'loader:' or kind == 'joiner:' then
    local _, theirs, heard = string.match(fields[at + 1], '^(%S+) (%d+) (%d+)$')
    -- One that was heard in the future has not reported since the server's clock was set back.
    if kind == 'loader:' and kept and heard and math.abs(now - heard) < tonumber(ARGV[7]) then
      return { 'wait', sub(fields[at], 8), theirs, form }
    end
    loaders[fields[at]] = theirs or '0'
  end
end
for field, theirs in pairs(loaders) do
  call('HDEL', KEYS[1], field)
  if sub(field, 1, 7) == 'loader:' and theirs ~= '0' then
    call('HSET', KEYS[1], 'old:' .. sub(field, 8), theirs)
  end
end
if bits then
  call('HSET', KEYS[1], 'old:' .. (generation or ''), bits)
end
call('HDEL', KEYS[1], 'epoch', 'generation', 'bits', 'sketched', 'form')
form = ''
local chosen = math.max(tonumber(ARGV[4]), tonumber(state[7] or '0'))
register('loader:', chosen)
return { 'load', id, tostring(chosen), form }
