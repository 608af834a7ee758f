-- Appends the messages of one call to the room and publishes them, except those whose idempotency key is remembered.
--
-- ARGV     channel, incarnation, number of the call, messages to keep, seed of a new epoch, time to live in
--          milliseconds, and for each message the field of its idempotency key ('' if it has none) and its record
-- Returns  epoch, first and last offset, duplicates as INDEX=EPOCH:OFFSET,…, earlier epochs
--
-- A call that was carried out already returns what it returned, and does nothing.

local FIRST_MESSAGE = 7
local MAX_MESSAGES = 64
local MAX_BYTES = 8388608

local channel, by, number_text = ARGV[1], ARGV[2], ARGV[3]
local number, keep, seed, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local count = (#ARGV - FIRST_MESSAGE + 1) / 2
if not (number and keep and ttl) or count % 1 ~= 0 or count < 1 or count > MAX_MESSAGES then
  return redis.error_reply('BADCALL the arguments of publish are malformed, or not 1 to 64 messages')
end

local own_field = 'n:' .. by
local meta = redis.call('HMGET', KEYS[1], 'e', 'r', 's', 'p', own_field)
if meta[5] then
  local known = tonumber(string.match(meta[5], '^%d+'))
  if known and number < known then
    return redis.error_reply('OLDCALL call ' .. number_text .. ' is older than call ' .. text_of(known)
      .. ', the last one of this incarnation in this room')
  end
  if number == known then
    local epoch, first, last, duplicates = string.match(meta[5], '^%d+ (%w+) (%d+) (%d+) (.*)$')
    if epoch then return { epoch, first, last, duplicates, meta[4] or '' } end
    known = nil
  end
  if not known then
    return redis.error_reply('BADROOM ' .. own_field .. ' of ' .. KEYS[1] .. ' is malformed: delete this field')
  end
end
local id, epoch, last_before, earlier, change = read_room(meta, seed)
if not id then return epoch end

-- The idempotency keys that are remembered: each field with its position.
local fields, position_of = {}, {}
for i = FIRST_MESSAGE, #ARGV, 2 do
  if ARGV[i] ~= '' then fields[#fields + 1] = ARGV[i] end
end
local recent, older
if #fields > 0 then
  recent, older = key_hashes(channel)
  -- In a Redis Cluster whose slot is being moved, one of the hashes may be on the other server. Asking for both in one
  -- command makes the server say so.
  local found = redis.pcall('EXISTS', recent, older)
  if type(found) ~= 'number' then
    return redis.error_reply('TRYAGAIN the idempotency keys of ' .. channel .. ' are not at hand: ' .. found.err)
  end
  if found > 0 and change ~= 'new' then
    local in_recent = redis.call('HMGET', recent, unpack(fields))
    local in_older = redis.call('HMGET', older, unpack(fields))
    for i, field in ipairs(fields) do position_of[field] = in_recent[i] or in_older[i] or nil end
  end
end

local records, duplicates, new_keys = {}, {}, {}
local last = last_before
for i = FIRST_MESSAGE, #ARGV, 2 do
  local field = ARGV[i]
  local position = position_of[field]
  if position then
    duplicates[#duplicates + 1] = (i - FIRST_MESSAGE) / 2 .. '=' .. position
  else
    last = last + 1
    records[#records + 1] = ARGV[i + 1]
    if field ~= '' then
      position = epoch .. ':' .. text_of(last)
      position_of[field] = position
      new_keys[#new_keys + 1] = field
      new_keys[#new_keys + 1] = position
    end
  end
end
local first_text, last_text = text_of(last_before + 1), text_of(last)
local duplicates_text = table.concat(duplicates, ',')
local own = number_text .. ' ' .. epoch .. ' ' .. first_text .. ' ' .. last_text .. ' ' .. duplicates_text
local batch
if #records > 0 then
  batch = 'b1 ' .. epoch .. ' ' .. first_text .. ' ' .. #records .. ' ' .. by .. ' ' .. number_text .. '\n'
    .. table.concat(records)
  if #batch > MAX_BYTES then return redis.error_reply('BADCALL a batch must not exceed ' .. MAX_BYTES .. ' bytes') end
end
-- The first message creates the stream, which has no time to live then, whatever that of the room is.
local is_refreshed = last_before == 0 or redis.call('PTTL', KEYS[1]) < ttl * 2 / 3

-- From here on: writes.
if change == 'new' then
  redis.call('HSET', KEYS[1], 'e', epoch, 'r', id, 's', last_text, 'p', '', own_field, own)
  redis.call('DEL', KEYS[2], key_hashes(channel))
end
if batch then
  if last > keep then
    redis.call('XADD', KEYS[2], 'MINID', '~', text_of(last - keep + 1), last_text .. '-0', 'd', batch)
  else
    redis.call('XADD', KEYS[2], last_text .. '-0', 'd', batch)
  end
end
if change == 'fork' then
  redis.call('HSET', KEYS[1], 'e', epoch, 'r', id, 's', last_text, 'p', earlier, own_field, own)
elseif not change then
  redis.call('HSET', KEYS[1], 's', last_text, own_field, own)
end
if #new_keys > 0 then
  redis.call('HSET', recent, unpack(new_keys))
  redis.call('PEXPIRE', recent, KEYS_TTL_MS, 'NX')
end
if is_refreshed then refresh(ttl) end
if batch then redis.call('SPUBLISH', channel, batch) end
return { epoch, first_text, last_text, duplicates_text, earlier }
