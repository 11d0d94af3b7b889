-- Counts an attempt of KEYS[1] as a failure if it need not wait.
-- ARGV: free attempts; first wait, longest wait and time to forget in milliseconds; the time, as in acquire.lua.
-- The value: how many failures (4 bytes), until when to wait, what that was before the last one, and when all are
-- forgotten (6 bytes each).
-- Returns how long to wait; 0 if the attempt may go on.
local free, first, longest, forget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
free, longest = math.max(free, 1), math.min(longest, forget)

local failures, wait_until = 0, now
local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'string' and #kept == 22 then
  local count, at, before, ends = struct.unpack('<I4I6I6I6', kept)
  if now < ends then
    failures, wait_until = count, at
    -- A clock that went back: at most the longest wait, from now.
    if at > now + longest then
      wait_until = now + longest
      redis.call('SET', KEYS[1], struct.pack('<I4I6I6I6', count, wait_until, math.min(before, now), now + forget),
        'PX', math.max(1, forget))
    end
  end
end
if now < wait_until then
  return wait_until - now
end

failures = failures + 1
local wait = 0
if failures >= free then
  wait = math.min(first * 2 ^ (failures - free), longest)
end
redis.call('SET', KEYS[1], struct.pack('<I4I6I6I6', failures, now + wait, now, now + forget),
  'PX', math.max(1, forget))
return 0
