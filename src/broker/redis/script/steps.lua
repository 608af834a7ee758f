-- What the scripts have in common that decide which node tells of a user or a room: one node each time. Repeated with
-- the same number, a step answers the same. Stands behind now.lua.
--
-- KEYS[2] is the mark. ARGV: the step, the node's incarnation, the number of the step, ',INCARNATION,…,' of the live
-- nodes, the time after which a user or a room that was left is gone in ms, the mark's life in ms, and what else the
-- script needs.
--
-- Field 'm' of the mark is 'STATE BY AT': 'o' for somebody who is there, with the incarnation that said so last, 'l' for
-- one who has left, with the time, and 'g' for one who is gone, with the incarnation that told so. Without a mark nothing
-- is known. AT is the time of the last change. Field 'a' is the last step that was answered with 1, 'INCARNATION
-- NUMBER': its answer may have been lost.
--
-- Returns 1 when the step has happened, 2 when the time after a leave is not over, otherwise 0.
local step, own, number, live, wait, life = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
if redis.call('HGET', KEYS[2], 'a') == own .. ' ' .. number then return 1 end
local state, by, at = string.match(redis.call('HGET', KEYS[2], 'm') or '', '^(%l) (%x+) (%d+)$')

local function mark(new, value, told)
  redis.call('HSET', KEYS[2], 'm', string.format('%s %s %.0f', new, value, now))
  if told then redis.call('HSET', KEYS[2], 'a', own .. ' ' .. number) end
  redis.call('PEXPIRE', KEYS[2], life)
  return told and 1 or 0
end

local function is_listed(incarnation)
  return string.find(live, ',' .. incarnation .. ',', 1, true)
end

-- Marks that somebody is there who had left. The node that was to tell the end may have died before it did.
local function mark_return()
  return mark('o', own, now - tonumber(by) > wait + 10000)
end

local function mark_leave()
  return mark('l', string.format('%.0f', now), true)
end

-- Marks the end of the time after a leave. A second is left for the nodes' clocks, which may be faster than this one.
local function mark_end()
  if now - tonumber(by) + 1000 < wait then return 2 end
  return mark('g', own, true)
end

