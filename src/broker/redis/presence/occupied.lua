-- Decides who tells that a room is occupied or vacated: one node each time. Repeated with the same number, a step
-- answers the same.
--
-- KEYS: the hash of the room's presence, the mark. ARGV: the step ('occupied', 'left', 'vacated'), the node's
-- incarnation, the number of the step, ',INCARNATION,…,' of the live nodes, the time after which a room without members
-- is vacated in ms, the mark's life in ms.
--
-- Field 'm' of the mark is 'STATE BY': 'o' for a room that is occupied, with the incarnation that said so last, 'l' for
-- one that the last member has left, with the time, and 'g' for one that is vacated, with the incarnation that told so.
-- Without a mark nothing is known. Field 'a' is the last step that was answered with 1, 'INCARNATION NUMBER': its answer
-- may have been lost.
--
-- Returns 1 when the step has happened, 2 when the room is not without members for long enough, otherwise 0.
local step, own, number, live = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local wait, life = tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local state, by = string.match(redis.call('HGET', KEYS[2], 'm') or '', '^(%l) (%x+)$')
if redis.call('HGET', KEYS[2], 'a') == own .. ' ' .. number then return 1 end

local function mark(new, value, told)
  redis.call('HSET', KEYS[2], 'm', new .. ' ' .. value)
  if told then redis.call('HSET', KEYS[2], 'a', own .. ' ' .. number) end
  redis.call('PEXPIRE', KEYS[2], life)
  return told and 1 or 0
end

-- Returns a live node that has members in the room, other than `except`.
local function holder(except)
  for incarnation in string.gmatch(live, '%x+') do
    local count = string.match(redis.call('HGET', KEYS[1], incarnation) or '', '^%d+ %l (%d+) %d+$')
    if count and tonumber(count) > 0 and incarnation ~= except then return incarnation end
  end
end

if step == 'occupied' then
  if state == 'o' then
    if by == own then return mark('o', own, false) end
    -- The node that said so may have died, and nobody has told since that the room is vacated.
    local is_live = string.find(live, ',' .. by .. ',', 1, true)
    return mark('o', own, not is_live and not holder(own))
  elseif state == 'l' then
    -- The node that was to tell that the room is vacated may have died before it did.
    return mark('o', own, now - tonumber(by) > wait + 10000)
  end
  return mark('o', own, true)
end

if step == 'left' then
  if state == 'g' then return 0 end
  local other = holder()
  if other then
    if state == 'l' then mark('o', other, false) end
    return 0
  end
  return mark('l', string.format('%.0f', now), true)
end

if state ~= 'l' then return 0 end
local other = holder()
if other then return mark('o', other, false) end
-- A second is left for the nodes' clocks, which may be faster than this one.
if now - tonumber(by) + 1000 < wait then return 2 end
return mark('g', own, true)
