-- Stores a revocation: the entry, with the moment as its score at which all its tokens have expired.
--
-- KEYS: the revocations. ARGV: the entry, its moment in seconds, the weaker entry that it replaces or '', the most
-- entries, the version of an empty table. Returns 1, or 0 when there are as many entries as can be.
--
-- The member 'v' is no entry: its score changes with each revocation, and is larger than any moment.
local entry, moment, replaced = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 1, now)

local known = tonumber(redis.call('ZSCORE', KEYS[1], entry) or 0)
local freed = 0
if replaced ~= '' and replaced ~= entry then freed = redis.call('ZREM', KEYS[1], replaced) end
-- 'v' counts among the members.
if known == 0 and freed == 0 and redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[4]) then return 0 end
if known < moment then redis.call('ZADD', KEYS[1], moment, entry) end

local version = tonumber(redis.call('ZSCORE', KEYS[1], 'v') or ARGV[5])
redis.call('ZADD', KEYS[1], string.format('%.0f', version + 1), 'v')
local last = redis.call('ZRANGE', KEYS[1], 4294967296, 0, 'BYSCORE', 'REV', 'LIMIT', 0, 1, 'WITHSCORES')
redis.call('EXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(last[2] or now) - now, 0) + 60))
return 1
