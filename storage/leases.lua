-- Opens a lease in every pool named, or in none of them; a lease that is not renewed ends by itself.
--
-- A pool is a sorted set of leases by the time at which they end.
--
-- KEYS: the pools. ARGV: the lease (empty: only look), how long it lives in seconds, then the size of each pool (0: as
-- many as come, which is how an open lease is renewed).
-- Returns 1 when open, else 0; then the places left in each pool.
local lease, seconds = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local open, answer = 1, {0}
for i, key in ipairs(KEYS) do
    local size = tonumber(ARGV[i + 2])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    answer[i + 1] = size - redis.call('ZCARD', key)
    if size > 0 and answer[i + 1] <= 0 then
        open = 0
    end
end
if open == 1 and lease ~= '' then
    for i, key in ipairs(KEYS) do
        redis.call('ZADD', key, now + seconds, lease)
        redis.call('EXPIRE', key, math.ceil(seconds))
        answer[i + 1] = answer[i + 1] - 1
    end
end
answer[1] = open
for i = 2, #answer do
    answer[i] = math.max(0, answer[i])
end
return answer
