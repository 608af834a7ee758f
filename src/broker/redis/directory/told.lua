-- Decides who tells that a user is online or offline: one node each time, and none while the user moves from one
-- connection to another. Repeated with the same number, a step answers the same.
--
-- KEYS: the entry, the mark. ARGV: the step ('online', 'left', 'offline'), the node's incarnation, the number of the
-- step, ',INCARNATION,…,' of the live nodes and the time as of which they are, the margin for clocks in ms, the time
-- after which a user who has left is offline in ms, the mark's life in s.
--
-- Field 'm' of the mark is 'STATE BY AT': 'o' for a user who is online, with the incarnation that has claimed the user
-- id last, 'l' for one who has left, with the time, and 'g' for one who is gone, with the incarnation that told so.
-- Without a mark nothing is known. AT is the time of the last change. Field 'a' is the last step that was answered with
-- 1, 'INCARNATION NUMBER': its answer may have been lost.
--
-- Returns 1 when the step has happened, 2 when the user is not away for long enough, otherwise 0.
local step, own, number, live = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local as_of, margin, wait, life = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local entry = read(live, as_of, margin, own)
local state, by, at = string.match(redis.call('HGET', KEYS[2], 'm') or '', '^(%l) (%x+) (%d+)$')
if redis.call('HGET', KEYS[2], 'a') == own .. ' ' .. number then return 1 end

local function mark(new, value, told)
  redis.call('HSET', KEYS[2], 'm', string.format('%s %s %.0f', new, value, now))
  if told then redis.call('HSET', KEYS[2], 'a', own .. ' ' .. number) end
  redis.call('EXPIRE', KEYS[2], life)
  return told and 1 or 0
end

if step == 'online' then
  -- The connection has ended already, and its release says the rest.
  if #entry.holders == 0 then return 0 end
  if state == 'o' then
    if by == own then return mark('o', own, false) end
    -- A node that is younger than the list of live ones may be missing there.
    local is_live = string.find(live, ',' .. by .. ',', 1, true) or tonumber(at) + margin >= as_of
    if is_live then return mark('o', own, false) end
    -- The node that knew the user has died. Another one may have a connection nevertheless.
    for _, connection in ipairs(entry.holders) do
      if string.sub(connection.id, 1, #own) ~= own then return mark('o', own, false) end
    end
  elseif state == 'l' then
    -- The node that was to tell that the user is gone may have died before it did.
    return mark('o', own, now - tonumber(by) > wait + 10000)
  end
  return mark('o', own, true)
end

if step == 'left' then
  -- The node that waits for a user who has left may have died: the last one that asks waits.
  if (state ~= 'o' and state ~= 'l') or #entry.holders > 0 then return 0 end
  return mark('l', string.format('%.0f', now), true)
end

if state ~= 'l' or #entry.holders > 0 then return 0 end
-- A second is left for the nodes' clocks, which may be faster than this one.
if now - tonumber(by) + 1000 < wait then return 2 end
return mark('g', own, true)
