-- Notes what begins and what ends, in the order of the arguments.
--
-- KEYS  a hash for each partition: the field is the offset, the value is
--       "deaths deaths-alone operation life"; life is empty while nobody has it at work.
-- ARGV  this life, seconds until an unused hash expires, then for each operation: its letter
--       (b begin, a begin alone, e end), the number of its key, its offset.
--
-- Returns two numbers for each operation: deaths, and how many of the last were alone.

local call = redis.call
local mine = ARGV[1]
local reply = {}

for i = 3, #ARGV, 3 do
  local op, key, offset = ARGV[i], KEYS[tonumber(ARGV[i + 1])], ARGV[i + 2]
  local deaths, alone, begun, life = 0, 0, '-', ''
  local entry = call('HGET', key, offset)
  if entry then
    deaths, alone, begun, life = string.match(entry, '^(%d+) (%d+) (.) (.*)$')
    deaths, alone = tonumber(deaths), tonumber(alone)
  end
  if op == 'b' or op == 'a' then
    if life ~= '' and life ~= mine then
      deaths = deaths + 1
      alone = begun == 'a' and alone + 1 or 0
    end
    call('HSET', key, offset, deaths .. ' ' .. alone .. ' ' .. op .. ' ' .. mine)
    call('EXPIRE', key, ARGV[2])
  elseif life == mine then
    if deaths == 0 then
      call('HDEL', key, offset)
    else
      call('HSET', key, offset, deaths .. ' ' .. alone .. ' - ')
    end
  end
  reply[#reply + 1] = deaths
  reply[#reply + 1] = alone
end
return reply
