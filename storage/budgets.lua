-- Takes so many units from every budget named, or from none of them.
--
-- A budget allows `quota` units in any `window`. It is a hash of units by slice of time, a sixtieth of the window each;
-- a slice counts until its youngest unit is as old as the window.
--
-- KEYS: the budgets. ARGV: units (0 looks; fewer give back what was taken at that time), the time in seconds (empty:
-- Redis's own), then quota and window, in seconds, of each budget.
-- Returns 1 when taken, else 0; the time; then of each budget: units left, seconds until the first of those taken comes
-- back, seconds until so many units would fit.
local SLICES = 60

local units = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function slices_of(key, current)
    local found, used = {}, 0
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
        local slice, count = tonumber(fields[i]), tonumber(fields[i + 1])
        if slice < current - SLICES then
            redis.call('HDEL', key, fields[i])
        else
            found[#found + 1] = {slice, count}
            used = used + count
        end
    end
    table.sort(found, function(a, b) return a[1] < b[1] end)
    return found, used
end

local function seconds_until(slice, length)
    return math.max(0, math.ceil((slice + SLICES + 1) * length - now))
end

local function seconds_to_fit(found, used, quota, window)
    if units > quota then
        return window
    end
    for _, entry in ipairs(found) do
        if used + units <= quota then
            break
        end
        used = used - entry[2]
        if used + units <= quota then
            return seconds_until(entry[1], window / SLICES)
        end
    end
    return 0
end

local budgets, fits = {}, 1
for i, key in ipairs(KEYS) do
    local quota, window = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
    local length = window / SLICES
    local current = math.floor(now / length)
    local found, used = slices_of(key, current)
    budgets[i] = {key = key, quota = quota, window = window, current = current, found = found, used = used}
    if units > 0 and used + units > quota then
        fits = 0
    end
end

local answer = {fits, string.format('%.6f', now)}
for _, budget in ipairs(budgets) do
    local length = budget.window / SLICES
    local used, first = budget.used, budget.found[1] and budget.found[1][1]
    if fits == 1 and units > 0 then
        redis.call('HINCRBY', budget.key, budget.current, units)
        redis.call('EXPIRE', budget.key, math.ceil(budget.window + 2 * length))
        used, first = used + units, first or budget.current
    elseif units < 0 and redis.call('HEXISTS', budget.key, budget.current) == 1 then
        redis.call('HINCRBY', budget.key, budget.current, units)
        used = used + units
    end
    answer[#answer + 1] = math.max(0, budget.quota - used)
    answer[#answer + 1] = first and seconds_until(first, length) or budget.window
    answer[#answer + 1] = fits == 1 and 0 or seconds_to_fit(budget.found, budget.used, budget.quota, budget.window)
end
return answer
