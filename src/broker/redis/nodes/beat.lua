-- Writes the beat of a node into the table of nodes, marks nodes as dead that have been silent, and returns the table.
--
-- KEYS: the table. ARGV: the node's name, its incarnation, '1' for an incarnation that no beat has entered yet, the id
-- of the table that the node has seen or '', an id for a new table, the lease and the longest gap between two beats of
-- any nodes in ms, the table's life in s, the most nodes, the node's details.
--
-- A field with a node's name holds 'INCARNATION JOINED AT STATE', a line feed, and details that this script passes on.
-- Every version of the node must keep this first line. The state is 'l' (live) or 'd' (dead). Three more fields: '#i' is
-- the id of the table, '#t' the time of the last beat of any node, also a refused one, '#u' the time since when beats
-- have come without a gap: silence counts from then on, so that nobody dies because the engine was away.
local key, name, incarnation, is_first, seen, new_id = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1', ARGV[4], ARGV[5]
local lease, gap, life, most = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
local details = ARGV[10]

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local flat = redis.call('HGETALL', key)
local id, last, since = new_id, 0, now
local nodes, own, count = {}, nil, 0
for i = 1, #flat, 2 do
  local field, value = flat[i], flat[i + 1]
  if field == '#i' then id = value
  elseif field == '#t' then last = tonumber(value)
  elseif field == '#u' then since = tonumber(value)
  else
    local by, joined, at, state, rest = string.match(value, '^(%x+) (%d+) (%d+) (%l)(\n.*)$')
    local node = {
      name = field, value = value, by = by, joined = tonumber(joined), at = tonumber(at), state = state, rest = rest,
    }
    nodes[#nodes + 1] = node
    count = count + 1
    if field == name then own = node end
  end
end
-- After a step back of the clock, what is known of the time before it says nothing.
if now - last > gap or now < last then since = now end

local function silence(node)
  return now - math.max(math.min(node.at, now), since)
end

local joined = now
if own and own.by then
  if own.by == incarnation then
    if own.state == 'd' or silence(own) >= lease then return {'dead', now} end
    joined = own.joined
  elseif not is_first then
    return {'dead', now}
  elseif own.state == 'l' and silence(own) < lease then
    redis.call('HSET', key, '#t', string.format('%.0f', now), '#u', string.format('%.0f', since))
    return {'held', now, lease - silence(own), own.at}
  end
elseif not own then
  -- The entry was removed from this very table: others have seen the node dead. A new table is empty for all.
  if not is_first and id == seen then return {'dead', now} end
  if count >= most then return {'full', now} end
end

local function text(by, from, at, state, rest)
  return string.format('%s %.0f %.0f %s%s', by, from, at, state, rest)
end

local value = text(incarnation, joined, now, 'l', '\n' .. details)
local reply = {'ok', now, id, name, value}
local changes = {'#i', id, '#t', string.format('%.0f', now), '#u', string.format('%.0f', since), name, value}
for _, node in ipairs(nodes) do
  if node.name ~= name then
    if node.by and node.state == 'l' then
      local state = silence(node) >= lease and 'd' or 'l'
      if state == 'd' or node.at > now then
        node.value = text(node.by, node.joined, math.min(node.at, now), state, node.rest)
        changes[#changes + 1] = node.name
        changes[#changes + 1] = node.value
      end
    end
    reply[#reply + 1] = node.name
    reply[#reply + 1] = node.value
  end
end
-- Bounded by the most nodes: `unpack` takes some thousands.
redis.call('HSET', key, unpack(changes))
redis.call('EXPIRE', key, life)
return reply
