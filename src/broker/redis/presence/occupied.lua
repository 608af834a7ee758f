-- Decides who tells that a room is occupied or vacated. Stands behind steps.lua.
--
-- KEYS: the hash of the room's presence, the mark. The steps are 'occupied', 'left' and 'vacated'. A room with members is
-- marked with the incarnation that said so last.

-- Returns a live node that has members in the room, other than `except`.
local function holder(except)
  for incarnation in string.gmatch(live, '%x+') do
    local count = string.match(redis.call('HGET', KEYS[1], incarnation) or '', '^%d+ %l (%d+) %d+$')
    if count and tonumber(count) > 0 and incarnation ~= except then return incarnation end
  end
end

if step == 'occupied' then
  if state == 'l' then return mark_return() end
  if state == 'o' then
    -- The node that said so may have died, and nobody has told since that the room is vacated.
    return mark('o', own, by ~= own and not is_listed(by) and not holder(own))
  end
  return mark('o', own, true)
end

local other = holder()
if step == 'left' then
  if state == 'g' then return 0 end
  if not other then return mark_leave() end
  if state == 'l' then mark('o', other, false) end
  return 0
end
if state ~= 'l' then return 0 end
return other and mark('o', other, false) or mark_end()
