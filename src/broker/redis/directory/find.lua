-- Returns the connections that hold the user id, each with its node, and forgets those of dead nodes.
--
-- ARGV: ',INCARNATION,…,' of the live nodes, the time as of which they are, the margin for clocks in ms.
local entry = read(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), '')
if #entry.dead > 0 then
  remove(entry.dead)
  if entry.count == 0 then keep_bucket(entry.bucket) end
end
local reply = {}
for _, connection in ipairs(entry.holders) do
  reply[#reply + 1] = connection.id
  reply[#reply + 1] = connection.node
end
return reply
