-- Forgets the last calls of some incarnations in the room.
--
-- KEYS     the room's hash
-- ARGV     the fields, n:INCARNATION
-- Returns  how many of them there were

return redis.call('HDEL', KEYS[1], unpack(ARGV))
