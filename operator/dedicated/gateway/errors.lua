-- An engine's error leaves as {"error": "<sentence>"}; answers below 400 pass untouched.
--
-- A 5xx is the engine's own trouble: its words stay in its log. A 4xx is about the request: its message is looked for where OpenAI, vLLM, SGLang,
-- llama.cpp, FastAPI and text-generation-inference put it. Strings are never unescaped: the literal of the message is copied as it stands, so what
-- was valid JSON stays valid JSON.
local MAX_READ, MAX_PLAIN, MAX_DEPTH = 65536, 2000, 32

local function after_space(text, at)
  return string.find(text, "[^ \t\r\n]", at) or #text + 1
end

-- The literal that begins at `at` with a quotation mark, and the place behind it.
local function literal(text, at)
  local from = at + 1
  while true do
    local stop = string.find(text, '["\\]', from)
    if not stop then return nil end
    if string.sub(text, stop, stop) == '"' then return string.sub(text, at, stop), stop + 1 end
    from = stop + 2
  end
end

local value

-- Reads the members between two brackets; `member` reads one and answers the place behind it.
local function members(text, at, close, member)
  at = after_space(text, at + 1)
  if string.sub(text, at, at) == close then return at + 1 end
  while at <= #text do
    at = member(at)
    if not at then return nil end
    at = after_space(text, at)
    local mark = string.sub(text, at, at)
    if mark == close then return at + 1 end
    if mark ~= "," then return nil end
    at = after_space(text, at + 1)
  end
end

local function object(text, at, depth)
  local found = {}
  local stop = members(text, at, "}", function(from)
    if string.sub(text, from, from) ~= '"' then return nil end
    local key, behind = literal(text, from)
    if not key then return nil end
    behind = after_space(text, behind)
    if string.sub(text, behind, behind) ~= ":" then return nil end
    found[string.sub(key, 2, -2)], behind = value(text, after_space(text, behind + 1), depth + 1)
    return behind
  end)
  return stop and found, stop
end

local function array(text, at, depth)
  local found = {}
  local stop = members(text, at, "]", function(from)
    found[#found + 1], from = value(text, from, depth + 1)
    return from
  end)
  return stop and found, stop
end

-- A value and the place behind it: a string as its literal, an object or array as a table, anything else as false.
function value(text, at, depth)
  if depth > MAX_DEPTH then return nil end
  local first = string.sub(text, at, at)
  if first == '"' then return literal(text, at) end
  if first == "{" then return object(text, at, depth) end
  if first == "[" then return array(text, at, depth) end
  local _, stop = string.find(text, "^[%w+.-]+", at)
  if stop then return false, stop + 1 end
end

local function said(found)
  if type(found) == "string" and found ~= '""' then return found end
end

local function message(text)
  local found = value(text, after_space(text, 1), 1)
  if type(found) ~= "table" then return said(found) end
  if type(found.error) == "table" then return said(found.error.message) end
  if type(found.detail) == "table" and type(found.detail[1]) == "table" then return said(found.detail[1].msg) end
  return said(found.error) or said(found.message) or said(found.detail)
end

local function quoted(text)
  return '"' .. string.gsub(text, '[%c"\\]', function(c)
    if c == '"' or c == "\\" then return "\\" .. c end
    return string.format("\\u%04x", string.byte(c))
  end) .. '"'
end

-- Plain text as it is, cut where no character is cut in two; a page of HTML says nothing to a program.
local function plain(text)
  if not string.find(text, "%S") or string.find(text, "^%s*<") then return '"The inference engine refused the request."' end
  local cut = string.sub(text, 1, MAX_PLAIN)
  if #text > MAX_PLAIN then cut = string.gsub(cut, "[\128-\255]*$", "") end
  return quoted(string.gsub(string.gsub(cut, "^%s+", ""), "%s+$", ""))
end

local function sentence(status, body)
  if status >= 500 then return '"Failed to communicate with inference engine"' end
  local text = body and body:length() > 0 and body:getBytes(0, math.min(body:length(), MAX_READ)) or ""
  local readable, found = pcall(message, text)
  return readable and found or plain(text)
end

function envoy_on_response(handle)
  local status = tonumber(handle:headers():get(":status"))
  if status < 400 then return end
  local body = handle:body(true) -- waits for it; what was got from the handle before does not count after
  local answer = '{"error": ' .. sentence(status, body) .. "}"
  local headers = handle:headers()
  if status >= 500 then headers:replace(":status", "500") end
  headers:replace("content-type", "application/json")
  headers:replace("x-error-source", "engine")
  headers:remove("content-encoding")
  headers:remove("retry-after")
  if body then body:setBytes(answer) end
  headers:replace("content-length", tostring(#answer))
end
