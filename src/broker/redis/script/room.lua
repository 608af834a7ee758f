-- What the scripts of a room share. It stands before each of them.
--
-- KEYS[1]  hash: e epoch, r the server's replication id, s last offset, p earlier epochs, n:INCARNATION last calls
-- KEYS[2]  stream of batches
-- KEYS[3]  hash of presence
--
-- A script has no rollback. Every check and every read comes before the first write, and the first write is one that
-- the server refuses when it is out of memory. The scripts do not declare `allow-oom`.

-- Most earlier epochs that a room remembers.
local MAX_EARLIER = 8
-- Seconds of an interval of idempotency keys. The current interval and the one before it are looked at.
local INTERVAL_S = 300
-- Milliseconds until the keys of an interval expire: two intervals and a minute.
local KEYS_TTL_MS = 660000

-- Writes a number as an integer. Lua's own conversion turns to 1e+14 from there on.
local function text_of(number)
  return string.format('%.0f', number)
end

-- Returns a new epoch: 64 bits as 13 digits of base 32. A call that is sent again with the same seed must not bring
-- back the epoch of its first attempt, which may be lost. So the epoch depends on the server and the time as well.
local function new_epoch(id, seed)
  local now = redis.call('TIME')
  local hash = redis.sha1hex(table.concat({ id, now[1], now[2], KEYS[1], seed }, ' '))
  local digits = {}
  for i = 1, 13 do
    local value = tonumber(string.sub(hash, 2 * i - 1, 2 * i), 16) % (i == 1 and 16 or 32) + 1
    digits[i] = string.sub('0123456789abcdefghijklmnopqrstuv', value, value)
  end
  return table.concat(digits)
end

-- Puts an epoch and its last offset before the earlier ones, and drops those beyond the limit.
local function add_earlier(epoch, offset, earlier)
  local all = { epoch .. '=' .. offset }
  for entry in string.gmatch(earlier, '[^,]+') do
    if #all < MAX_EARLIER then all[#all + 1] = entry end
  end
  return table.concat(all, ',')
end

-- Reads what the call needs to know of the room. The replication id of the server changes with every restart and every
-- promotion. If it is not the one under which the room was written last, messages may be lost, and the room forks: a new
-- epoch begins, whose offsets go on. A room whose hash is gone begins anew. Nothing is written yet.
-- Returns the server's replication id, the room's epoch, last offset and earlier epochs, and 'fork' or 'new' when these
-- are to be written; or nil and an error.
local function read_room(meta, seed)
  local info = redis.pcall('INFO', 'replication')
  local _, label_end = string.find(type(info) == 'string' and info or '', 'master_replid:', 1, true)
  local id = label_end and string.match(info, '^%x+', label_end + 1)
  if not id then
    return nil, redis.error_reply('NOREPLID INFO replication shows no master_replid on this server, '
      .. 'so that lost messages cannot be noticed: permit INFO to this user, or use a server that shows it')
  end
  local epoch, last, earlier = meta[1], tonumber(meta[3] or nil), meta[4] or ''
  if not epoch then return id, new_epoch(id, seed), 0, '', 'new' end
  if not last then
    return nil, redis.error_reply('BADROOM ' .. KEYS[1] .. ' has an epoch but no last offset: delete this key')
  end
  if meta[2] == id then return id, epoch, last, earlier end
  return id, new_epoch(id, seed), last, add_earlier(epoch, text_of(last), earlier), 'fork'
end

-- Returns the names of the hashes with the idempotency keys of this interval and of the one before.
local function key_hashes(channel)
  local interval = math.floor(tonumber(redis.call('TIME')[1]) / INTERVAL_S)
  return channel .. ':k:' .. text_of(interval), channel .. ':k:' .. text_of(interval - 1)
end

-- Lets the room's keys live for `ttl` milliseconds from now.
local function refresh(ttl)
  for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ttl) end
end
