-- Removes the entry of an incarnation of a node from the table of nodes, and returns 1 if it was there. The last node
-- that leaves takes the table along.
--
-- KEYS: the table. ARGV: the node's name, its incarnation, '1' if the node itself leaves, so that it may be live.
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value then return 0 end
local by, state = string.match(value, '^(%x+) %d+ %d+ (%l)\n')
if by ~= ARGV[2] or (state ~= 'd' and ARGV[3] ~= '1') then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if ARGV[3] == '1' then
  local flat = redis.call('HGETALL', KEYS[1])
  local is_empty = true
  for i = 1, #flat, 2 do
    if string.sub(flat[i], 1, 1) ~= '#' then is_empty = false end
  end
  if is_empty then redis.call('DEL', KEYS[1]) end
end
return 1
