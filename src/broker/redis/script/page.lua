-- Returns batches of the room, until there are enough of them or of their bytes. Offsets are the ids of the stream's
-- entries: that of the last message of each batch.
--
-- KEYS     the stream
-- ARGV     'from' and the lowest offset that is wanted, or 'to' and the highest; most batches; bytes after which no
--          further batch is read
-- Returns  the batches, each with its id and its content: upwards for 'from', downwards for 'to'

local STEP = 16
local direction, bound = ARGV[1], ARGV[2]
local max_batches, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

local command, start, finish = 'XRANGE', bound, '+'
if direction == 'to' then
  -- The batch with the last message that is wanted may reach beyond it.
  local edge = redis.call('XRANGE', KEYS[1], bound, '+', 'COUNT', 1)[1]
  command, start, finish = 'XREVRANGE', edge and edge[1] or '+', '-'
end

local page, bytes = {}, 0
while #page < max_batches and bytes < max_bytes do
  local wanted = math.min(STEP, max_batches - #page)
  local entries = redis.call(command, KEYS[1], start, finish, 'COUNT', wanted)
  for _, entry in ipairs(entries) do
    if bytes >= max_bytes then break end
    local content = entry[2][2] or ''
    page[#page + 1] = { entry[1], content }
    bytes = bytes + #content
  end
  if #entries < wanted then break end
  start = '(' .. entries[#entries][1]
end
return page
