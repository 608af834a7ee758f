-- Writes what a node says of its users in a room, and pushes it on the room's channel.
--
-- KEYS: the hash of the room's presence, the room's channel. ARGV: the node's incarnation, the number of the
-- publication, the number that must be stored or '' for any lower one, the node's entry, how many pieces its list has,
-- the payload, the life of the hash in ms, then pairs of a piece's number and its names.
--
-- Returns the number that is stored when the script ends. If it is that of the publication, this call or an earlier one
-- has carried it out; otherwise nothing was done.
local key, field, number, base, pieces = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[5])
local entry = redis.call('HGET', key, field)
local stored, before = string.match(entry or '', '^(%d+) %l %d+ (%d+)$')
stored, before = tonumber(stored or 0), tonumber(before or 0)
if stored >= number or (base ~= '' and stored ~= tonumber(base)) then return stored end

redis.call('HSET', key, field, ARGV[4])
for i = 8, #ARGV, 2 do redis.call('HSET', key, field .. '\0' .. ARGV[i], ARGV[i + 1]) end
for i = pieces, before - 1 do redis.call('HDEL', key, field .. '\0' .. string.format('%d', i)) end
redis.call('PEXPIRE', key, ARGV[7])
redis.call('SPUBLISH', KEYS[2], ARGV[6])
return number
