-- Requests of which no two have the same head: 9 fields, of which five are what one client sends each time and four
-- differ, under a path and a query that differ.
--
-- The load must not be what limits, so a request is put together of three pieces that were written before the start. Some
-- thousand of them take turns; only the identity between them, of sixteen digits, is new each time.

local PREPARED = 2000
local heads, middles, tails = {}, {}, {}
local started, count, threads = "", 0, 0

local function hex(digits)
   local out = {}
   for i = 1, digits do out[i] = string.format("%x", math.random(0, 15)) end
   return table.concat(out)
end

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   -- neither another thread nor a later run begins with the same
   local seed = (os.time() * 16 + number) % 2 ^ 31
   math.randomseed(seed)
   started = string.format("%08x", seed)
   -- the share of requests whose sender says that they are recorded in a trace; unless it is said, all
   local recorded = tonumber(args[1] or "1")
   for i = 1, PREPARED do
      heads[i] = table.concat({
         string.format("GET /api/v1/books/%d/reviews?page=%d&sort=date&shelf=%s HTTP/1.1",
            math.random(1, 999999), math.random(1, 40), hex(6)),
         "Host: bookstore.shop.svc.cluster.local:14001",
         "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bookbuyer/1.4.2",
         "Accept: application/json, text/plain, */*",
         "Accept-Encoding: gzip, deflate, br",
         "Cookie: theme=dark; session=" .. hex(32),
         "X-Forwarded-Proto: http",
         string.format("X-Forwarded-For: 10.%d.%d.%d", math.random(0, 255), math.random(0, 255), math.random(1, 254)),
         "X-Request-Id: " .. hex(16),
      }, "\r\n")
      middles[i] = "\r\ntraceparent: 00-" .. hex(16)
      tails[i] = "-" .. hex(16) .. (math.random() < recorded and "-01" or "-00") .. "\r\n\r\n"
   end
end

function request()
   count = count + 1
   local turn = count % PREPARED + 1
   local identity = started .. string.format("%08x", count)
   return heads[turn] .. identity .. middles[turn] .. identity .. tails[turn]
end
