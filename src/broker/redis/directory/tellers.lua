-- Returns the incarnations that tell webhooks, each with the name of its node.
--
-- KEYS: their hash.
return redis.call('HGETALL', KEYS[1])
