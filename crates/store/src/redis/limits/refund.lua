-- Takes the last attempt of KEYS[1] back, in the format of attempt.lua.
local kept = redis.pcall('GET', KEYS[1])
if type(kept) ~= 'string' or #kept ~= 22 then
  return 0
end
local failures, _, before, ends = struct.unpack('<I4I6I6I6', kept)
if failures <= 1 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], struct.pack('<I4I6I6I6', failures - 1, before, before, ends),
    'PX', math.max(1, redis.call('PTTL', KEYS[1])))
end
return 0
