-- Decides who tells that a user is online or offline, and that nobody does while the user moves from one connection to
-- another. Stands behind common.lua and steps.lua.
--
-- KEYS: the entry, the mark. ARGV behind that of steps.lua: the time as of which the live nodes are, the margin for
-- clocks in ms. The steps are 'online', 'left' and 'offline'. A user who is there is marked with the incarnation that has
-- claimed the user id last.
local as_of, margin = tonumber(ARGV[7]), tonumber(ARGV[8])
local entry = read(live, as_of, margin, own)

if step == 'online' then
  -- The connection has ended already, and its release says the rest.
  if #entry.holders == 0 then return 0 end
  if state == 'l' then return mark_return() end
  if state == 'o' then
    if by == own then return mark('o', own, false) end
    -- A node that is younger than the list of live ones may be missing there.
    if is_listed(by) or tonumber(at) + margin >= as_of then return mark('o', own, false) end
    -- The node that knew the user has died. Another one may have a connection nevertheless.
    for _, connection in ipairs(entry.holders) do
      if string.sub(connection.id, 1, #own) ~= own then return mark('o', own, false) end
    end
  end
  return mark('o', own, true)
end

if #entry.holders > 0 then return 0 end
if step == 'left' then
  -- The node that waits for a user who has left may have died: the last one that asks waits.
  return (state == 'o' or state == 'l') and mark_leave() or 0
end
return state == 'l' and mark_end() or 0
