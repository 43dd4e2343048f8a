-- Swaps the bytes of the body's model for the name that the engine serves. The check says which: "offset:length:name".
function envoy_on_request(handle)
  local check = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.ext_authz")
  local swap = check and check["x-dedicated-model"]
  if not swap then return end
  local offset, length, name = string.match(swap, "^(%d+):(%d+):([%w-]+)$")
  if not offset then return end
  local body = handle:body()
  local whole = body:getBytes(0, body:length())
  local changed = string.sub(whole, 1, tonumber(offset)) .. '"' .. name .. '"' .. string.sub(whole, tonumber(offset) + tonumber(length) + 1)
  body:setBytes(changed)
  handle:headers():replace("content-length", tostring(#changed))
end
