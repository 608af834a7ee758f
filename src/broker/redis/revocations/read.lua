-- Reads a page of revocations, unless the version is the known one. Returns the version, then entries with their moments.
--
-- KEYS: the revocations. ARGV: the known version or '', the moment from which on, how many entries of that moment were
-- read before, the most entries.
local version = redis.call('ZRANGE', KEYS[1], 4294967297, '+inf', 'BYSCORE', 'WITHSCORES')[2] or ''
if version == ARGV[1] then return {version} end
local page = redis.call('ZRANGE', KEYS[1], ARGV[2], 4294967296, 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4], 'WITHSCORES')
table.insert(page, 1, version)
return page
