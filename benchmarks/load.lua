-- What wrk sends, by scenario, and its result as one line of JSON.
-- Usage: wrk ... -s load.lua URL -- SCENARIO

local headers = {
  ["Host"] = "h7.example.com",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
  ["Accept"] = "application/json, text/plain, */*",
  ["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3",
  ["Accept-Encoding"] = "gzip, deflate, br",
  ["Referer"] = "https://h7.example.com/orders?page=2",
  ["Cookie"] = "session=5b9f6d1f0c3e4a7d8e21; theme=dark",
  ["Sec-Fetch-Dest"] = "empty",
  ["Sec-Fetch-Mode"] = "cors",
  ["Sec-Fetch-Site"] = "same-origin",
}

local fixed = {
  a = { "GET", "/api3/items" },
  tls = { "GET", "/api3/items" },
  hs = { "GET", "/api3/items" },
  b = { "GET", "/api3/64k" },
  ["1m"] = { "GET", "/api3/1m" },
  c = { "POST", "/api3/upload", string.rep('{"name":"value"},', 256):sub(1, 4096) },
}

local function fixed_request(spec)
  if spec[3] then
    headers["Content-Type"] = "application/json"
  end
  local bytes = wrk.format(spec[1], spec[2], headers, spec[3])
  return function()
    return bytes
  end
end

-- No path and no id ever comes twice, so no cache of whole lines can hold them.
local function varying_request()
  headers["X-Request-Id"] = "@ID@"
  local bytes = wrk.format("GET", "@PATH@", headers)
  local head, middle, tail = bytes:match("^(.-)@PATH@(.-)@ID@(.*)$")
  local salt = os.time() % 0x10000
  local number = 0
  return function()
    number = number + 1
    local unique = string.format("%04x%08x", salt, number)
    return head .. "/api3/items/" .. unique .. "?page=" .. number % 100
      .. middle .. "7d9e3b2a60c14f58" .. unique .. tail
  end
end

function init(args)
  if args[1] == "hs" then
    headers["Connection"] = "close" -- so that each request needs a handshake; wrk may resume its sessions
  end
  request = args[1] == "av" and varying_request() or fixed_request(fixed[args[1]])
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50_us": %.1f, "p99_us": %.1f, '
      .. '"errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.timeout, errors.status
  ))
end
