-- Returns the hash of a room's presence, and keeps it alive.
--
-- KEYS: the hash. ARGV: its life in ms.
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
