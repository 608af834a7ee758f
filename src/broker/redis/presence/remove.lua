-- Removes the entries of nodes from the hash of a room's presence, and pushes a payload on the room's channel if there is
-- one.
--
-- KEYS: the hash, the room's channel. ARGV: the payload or '', then pairs of an incarnation and a number: an entry with
-- a higher number stays. Returns how many entries stayed.
local stayed = 0
for i = 2, #ARGV, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  local stored, pieces = string.match(entry or '', '^(%d+) %l %d+ (%d+)$')
  if stored and tonumber(stored) > tonumber(ARGV[i + 1]) then
    stayed = stayed + 1
  else
    redis.call('HDEL', KEYS[1], ARGV[i])
    for piece = 0, tonumber(pieces or 0) - 1 do
      redis.call('HDEL', KEYS[1], ARGV[i] .. '\0' .. string.format('%d', piece))
    end
  end
end
if ARGV[1] ~= '' and stayed == 0 then redis.call('SPUBLISH', KEYS[2], ARGV[1]) end
return stayed
