-- Removes a connection from the entry, whether it holds the user id or was replaced, and notes what is missing in the
-- user's rate bucket. Returns 1 if the connection held the user id.
--
-- ARGV: 'INCARNATION:CONNECTION', what is missing in thousandths of a token, the time until the bucket is full in ms.
local entry = read('', 0, 0, '')
local own, missing, full_in = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local was_holder, others = 0, 0
for _, list in ipairs({entry.holders, entry.replaced}) do
  for _, connection in ipairs(list) do
    if connection.id ~= own then
      others = others + 1
    elseif list == entry.holders then
      was_holder = 1
    end
  end
end
local bucket = entry.bucket
if missing > 0 then
  -- When the engine's memory is full, the bucket is forgotten rather than the release refused.
  local full = now + full_in
  local done = redis.pcall('HSET', KEYS[1], 'b', string.format('%.0f %.0f %.0f', missing, now, full))
  if type(done) == 'number' then bucket = {missing = missing, at = now, full = full} end
end
remove({'c:' .. own, 'r:' .. own})
if others == 0 then keep_bucket(bucket) end
return was_holder
