-- Counts a request of KEYS[1] if fewer than ARGV[1] are in the window.
-- ARGV: most, window and interval in milliseconds, and the time, which is that of the server where it is empty.
-- The value: how many requests count (4 bytes); then, oldest first, when some leave (6 bytes) and how many (4).
-- Returns whether the request is admitted, how many more would be, and when the next one leaves.
local most, window, interval, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local leaves = now - now % interval + interval - 1 + window

local kept = redis.pcall('GET', KEYS[1])
if type(kept) ~= 'string' or #kept % 10 ~= 4 then
  kept = struct.pack('<I4', 0)
end
local total = struct.unpack('<I4', kept)
local first, last = 5, #kept - 9

-- A clock that went back by more than a second: everything counts as if it were requested now.
if first <= last and struct.unpack('<I6', kept, last) > leaves + 1000 then
  kept = struct.pack('<I4I6I4', total, leaves, total)
  last = first
  redis.call('SET', KEYS[1], kept, 'PX', math.max(1, leaves - now))
end

while first <= last do
  local at, count = struct.unpack('<I6I4', kept, first)
  if at > now then break end
  total = total - count
  first = first + 10
end

if total >= most then
  local next_leaves, left = leaves, total
  for place = first, last, 10 do
    local at, count = struct.unpack('<I6I4', kept, place)
    left = left - count
    if left < most then
      next_leaves = at
      break
    end
  end
  return {0, 0, next_leaves - now}
end

local count = 1
if first <= last then
  local at, together = struct.unpack('<I6I4', kept, last)
  if at >= leaves then
    leaves, count, last = at, together + 1, last - 10
  end
end
kept = string.sub(kept, first, last + 9) .. struct.pack('<I6I4', leaves, count)
redis.call('SET', KEYS[1], struct.pack('<I4', total + 1) .. kept, 'PX', math.max(1, leaves - now))
return {1, most - total - 1, struct.unpack('<I6', kept) - now}
