-- Decides who tells that a room is occupied or vacated: one node each time. Repeated with the same number, a step
-- answers the same.
--
-- KEYS: the hash of the room's presence, the mark. ARGV: the step ('occupied', 'left', 'vacated'), the node's
-- incarnation, the number of the step, ',INCARNATION,…,' of the live nodes, the time after which a room without members
-- is vacated in ms, the mark's life in ms.
--
-- Field 'm' of the mark is 'STATE BY NUMBER': 'o' for a room that is occupied, with the incarnation that said so last,
-- 'l' for one that the last member has left, with the time, and 'g' for one that is vacated, with the incarnation that
-- told so. Without a mark nothing is known. NUMBER is that of the step that was answered with 1, or 0.
local step, own, number, live = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local wait, life = tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local state, by, last = string.match(redis.call('HGET', KEYS[2], 'm') or '', '^(%l) (%x+) (%d+)$')

local function mark(new, value, told)
  redis.call('HSET', KEYS[2], 'm', string.format('%s %s %s', new, value, told and number or '0'))
  redis.call('PEXPIRE', KEYS[2], life)
  return told and 1 or 0
end

-- Returns a live node that has members in the room.
local function holder()
  for incarnation in string.gmatch(live, '%x+') do
    local count = string.match(redis.call('HGET', KEYS[1], incarnation) or '', '^%d+ %l (%d+) %d+$')
    if count and tonumber(count) > 0 then return incarnation end
  end
end

if step == 'occupied' then
  if state == 'o' then
    if by == own then return mark('o', own, last == number) end
    -- The node that said so may have died, and nobody has told since that the room is vacated.
    local is_live = string.find(live, ',' .. by .. ',', 1, true)
    local other = not is_live and holder()
    return mark('o', own, not is_live and (not other or other == own))
  elseif state == 'l' then
    -- The node that was to tell that the room is vacated may have died before it did.
    return mark('o', own, now - tonumber(by) > wait + 10000)
  end
  return mark('o', own, true)
end

if step == 'left' then
  if state == 'l' and last == number then return 1 end
  if state == 'g' then return 0 end
  local other = holder()
  if other then
    if state == 'l' then mark('o', other, false) end
    return 0
  end
  return mark('l', string.format('%.0f', now), true)
end

if state == 'g' and by == own and last == number then return 1 end
-- A second is left for the nodes' clocks, which may be faster than this one.
if state ~= 'l' or now - tonumber(by) + 1000 < wait then return 0 end
local other = holder()
if other then return mark('o', other, false) end
return mark('g', own, true)
