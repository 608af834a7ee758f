-- Keeps the list of users of whom a node tells webhooks, so that another node tells of them when it dies.
--
-- KEYS: the hash of the incarnations that tell, the list of this node, the list of another node. ARGV: the step, the
-- node's incarnation, then what the step needs:
-- 'enter': the node's name, the lists' life in s, and optionally a user.
-- 'forget': a user.
-- 'leave': nothing. A node whose list is not empty stays entered, and another one takes the list.
-- 'take': the lists' life in s, the most users. Adds users of the other list to that of this node, and returns them.
-- 'drop': users who were taken, which are removed from the other list.
-- 'end': the incarnation of the other node, which is entered no more.
local step, own = ARGV[1], ARGV[2]

if step == 'enter' then
  redis.call('HSET', KEYS[1], own, ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  if ARGV[5] then redis.call('ZADD', KEYS[2], 0, ARGV[5]) end
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  return {}
elseif step == 'forget' then
  redis.call('ZREM', KEYS[2], ARGV[3])
  return {}
elseif step == 'leave' then
  if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('HDEL', KEYS[1], own) end
  return {}
elseif step == 'drop' then
  redis.call('ZREM', KEYS[3], unpack(ARGV, 3))
  return {}
elseif step == 'end' then
  redis.call('HDEL', KEYS[1], ARGV[3])
  return {}
end

local users = redis.call('ZRANGE', KEYS[3], 0, tonumber(ARGV[4]) - 1)
if #users == 0 then return {} end
local scored = {}
for _, user in ipairs(users) do
  scored[#scored + 1] = 0
  scored[#scored + 1] = user
end
redis.call('ZADD', KEYS[2], unpack(scored))
redis.call('EXPIRE', KEYS[2], ARGV[3])
return users
