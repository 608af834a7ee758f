-- Enters a connection as a holder of the user id, as far as the policy allows. Repeated, it answers the same.
--
-- ARGV: 'INCARNATION:CONNECTION', the node, the session's hash or '-', the hash of the shown session or '', the policy
-- ('allow', 'reject', 'replace'), the incumbent that is known to be dead or '', ',INCARNATION,…,' of the live nodes and
-- the time as of which they are, the margin for clocks in ms, the entry's life in s, the most connections.
local own, node, session, shown, policy, incumbent = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local entry = read(ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), string.match(own, '^%x+'))
local life, most = ARGV[10], tonumber(ARGV[11])

local is_entered = false
for _, connection in ipairs(entry.replaced) do
  if connection.id == own then
    remove(entry.dead)
    return {'gone'}
  end
end
for _, connection in ipairs(entry.holders) do
  if connection.id == own then is_entered = true end
end

local replaced = {}
if not is_entered then
  local is_known = false
  for _, connection in ipairs(entry.holders) do
    if not is_known and shown ~= '' and connection.session == shown then
      is_known = true
      replaced = {connection}
    end
  end
  if not is_known and policy ~= 'allow' then
    for _, connection in ipairs(entry.holders) do
      if policy == 'replace' or connection.id == incumbent then
        replaced[#replaced + 1] = connection
      else
        remove(entry.dead)
        return {'held', connection.id, connection.node}
      end
    end
  end
  if entry.count >= most then
    remove(entry.dead)
    return {'full'}
  end
end

local gone, changes = entry.dead, {}
for _, connection in ipairs(replaced) do
  gone[#gone + 1] = connection.field
  changes[#changes + 1] = 'r:' .. connection.id
  changes[#changes + 1] = string.format('%.0f %s -', connection.since, connection.node)
  entry.replaced[#entry.replaced + 1] = connection
end
if not is_entered then
  changes[#changes + 1] = 'c:' .. own
  changes[#changes + 1] = string.format('%.0f %s %s', now, node, session)
end
local missing, age = 0, 0
if entry.bucket then
  if entry.bucket.full > now then
    missing, age = entry.bucket.missing, math.max(now - entry.bucket.at, 0)
  else
    gone[#gone + 1] = 'b'
  end
end
-- The first write is one that the engine refuses when its memory is full. Nothing is changed then.
if #changes > 0 then redis.call('HSET', KEYS[1], unpack(changes)) end
remove(gone)
redis.call('EXPIRE', KEYS[1], life)
local reply = {'claimed', missing, age}
for _, connection in ipairs(entry.replaced) do
  reply[#reply + 1] = connection.id
  reply[#reply + 1] = connection.node
end
return reply
