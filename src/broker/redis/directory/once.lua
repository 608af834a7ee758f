-- The idempotency keys of private messages, kept with the recipient: one hash for each five minutes of the engine's
-- clock, of which two are looked at. A field 'SENDER\0KEY' holds '?ATTEMPT AT' until the message is delivered, then
-- '=RESULT'.
--
-- KEYS: the recipient's entry, from whose name those of the hashes follow; they have the same slot. ARGV: the step
-- ('begin', 'finish', 'withdraw'), the field, the attempt, the result (of 'finish').
local step, field, attempt, result = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local interval = math.floor(now / 300000)

local where = KEYS[1] .. string.format(':k:%.0f', interval)
local first = where
local value = redis.call('HGET', where, field)
if not value then
  where = KEYS[1] .. string.format(':k:%.0f', interval - 1)
  value = redis.call('HGET', where, field)
end
local by, at = string.match(value or '', '^%?(%S+) (%d+)$')

if step == 'begin' then
  if not value then
    redis.call('HSET', first, field, string.format('?%s %.0f', attempt, now))
    redis.call('EXPIRE', first, 660)
    return {'first'}
  elseif by == attempt then
    return {'first'}
  elseif by then
    return {'pending', math.max(now - tonumber(at), 0)}
  end
  return {'repeat', tonumber(string.sub(value, 2))}
end
if by ~= attempt then return 0 end
if step == 'finish' then
  redis.call('HSET', where, field, '=' .. result)
else
  redis.call('HDEL', where, field)
end
return 1
