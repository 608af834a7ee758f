-- What the scripts on a user's entry have in common. KEYS[1] is the entry.
--
-- Field 'c:INCARNATION:CONNECTION' is a connection that holds the user id, 'r:INCARNATION:CONNECTION' one that was
-- replaced and has not ended yet. Both hold 'SINCE NODE SESSION', with the hash of the session's secret or '-'. Field
-- 'b' is what is missing in the user's rate bucket: 'MISSING AT FULL', full again at the time FULL.
-- Stands behind now.lua.

-- Reads the entry: holders, replaced connections, fields of nodes that are dead, and the bucket. A node is dead if it is
-- not in the list of live ones, unless the connection is younger than the list: then the node may have joined since.
local function read(live, as_of, margin, own)
  local flat = redis.call('HGETALL', KEYS[1])
  local entry = {holders = {}, replaced = {}, dead = {}, count = 0}
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    local kind, id, incarnation = string.match(field, '^([cr]):((%x+):%x+)$')
    if kind then
      local since, node, session = string.match(value, '^(%d+) (%S+) (%S+)$')
      local connection = {field = field, id = id, since = tonumber(since), node = node, session = session}
      local is_live = incarnation == own or string.find(live, ',' .. incarnation .. ',', 1, true)
      if not since or (not is_live and connection.since + margin < as_of) then
        entry.dead[#entry.dead + 1] = field
      else
        local list = kind == 'c' and entry.holders or entry.replaced
        list[#list + 1] = connection
        entry.count = entry.count + 1
      end
    elseif field == 'b' then
      local missing, at, full = string.match(value, '^(%d+) (%d+) (%d+)$')
      if missing then entry.bucket = {missing = tonumber(missing), at = tonumber(at), full = tonumber(full)} end
    end
  end
  -- The longest holder first, so that all scripts name the same one.
  table.sort(entry.holders, function(a, b)
    if a.since ~= b.since then return a.since < b.since end
    return a.id < b.id
  end)
  return entry
end

-- Removes fields. There are as many as connections of one user at most, which are bounded.
local function remove(fields)
  if #fields > 0 then redis.call('HDEL', KEYS[1], unpack(fields)) end
end

-- Lets an entry without connections live as long as its bucket is not full.
local function keep_bucket(bucket)
  if bucket and bucket.full > now then
    redis.call('EXPIRE', KEYS[1], math.ceil((bucket.full - now) / 1000))
  else
    redis.call('DEL', KEYS[1])
  end
end
