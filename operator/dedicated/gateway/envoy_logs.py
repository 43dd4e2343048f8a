"""Envoy's access logs: one for the decision service, with a line each period while a call lasts, and one for people, without secrets or prompts."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
ABOUT = "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:x-dedicated-{})%"
LOGGERS = "type.googleapis.com/envoy.extensions.access_loggers"


def access_logs(path: str) -> list[Json]:
    """Both loggers."""
    shared = {"@type": f"{LOGGERS}.file.v3.FileAccessLog", "path": path, "log_format": {"json_format": _for_the_service()}}
    people = {"@type": f"{LOGGERS}.stream.v3.StdoutAccessLog", "log_format": {"json_format": _for_people()}}
    ended = {"log_type_filter": {"types": ["DownstreamEnd"]}}
    return [
        {"name": "envoy.access_loggers.file", "typed_config": shared},
        {"name": "envoy.access_loggers.stdout", "filter": ended, "typed_config": people},
    ]


def _common() -> Json:
    return {
        "endpoint": ABOUT.format("endpoint"),
        "address": ABOUT.format("address"),
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "first_byte_ms": "%RESPONSE_DURATION%",
    }


def _for_the_service() -> Json:
    return {"type": "%ACCESS_LOG_TYPE%", "id": "%REQ(X-REQUEST-ID)%", **_common()}


def _for_people() -> Json:
    return {
        "time": "%START_TIME%",
        "event": "call",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "client_request_id": "%REQ(X-CLIENT-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "protocol": "%PROTOCOL%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "duration_ms": "%DURATION%",
        "traceparent": "%REQ(TRACEPARENT)%",
        **_common(),
    }
