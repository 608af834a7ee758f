-- Forgets a room: its history, its position and its idempotency keys. The users in it stay. The next call in the room
-- begins a new epoch.
--
-- ARGV     channel
-- Returns  1 when there was something, otherwise 0

local known = redis.call('EXISTS', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2], key_hashes(ARGV[1]))
return known
