-- Returns the hash of a room's presence, and keeps it and the mark for webhooks alive.
--
-- KEYS: the hash, the mark. ARGV: its life in ms.
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return redis.call('HGETALL', KEYS[1])
