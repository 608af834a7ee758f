-- Returns where the room is, makes it fork or begin anew if that is due, and refreshes its time to live.
--
-- ARGV     channel, seed of a new epoch, time to live in milliseconds
-- Returns  epoch, last offset, earlier epochs

local channel, seed, ttl = ARGV[1], ARGV[2], ARGV[3]
local meta = redis.call('HMGET', KEYS[1], 'e', 'r', 's', 'p')
local id, epoch, last, earlier, change = read_room(meta, seed)
if not id then return epoch end
last = text_of(last)

if change then
  redis.call('HSET', KEYS[1], 'e', epoch, 'r', id, 's', last, 'p', earlier)
  if change == 'new' then redis.call('DEL', KEYS[2], key_hashes(channel)) end
end
refresh(ttl)
return { epoch, last, earlier }
