-- Deletes the keys of trials.
--
-- KEYS: keys to delete. ARGV: names that idempotency keys were kept under, in the interval of this moment or before.
local interval = math.floor(tonumber(redis.call('TIME')[1]) / 300)
for _, name in ipairs(ARGV) do
  for i = interval - 1, interval do
    redis.call('DEL', name .. string.format(':k:%.0f', i))
  end
end
return redis.call('DEL', unpack(KEYS))
