"""Envoy's routes: which path leads to an engine, which to the decision service, and what of a request is not for engines."""

from __future__ import annotations

from typing import Any

from dedicated.gateway.access import NOT_FOUND
from dedicated.gateway.envoy_replies import too_large
from dedicated.render.dataplane import Plane

Json = dict[str, Any]

MAX_HOLD_S = 900
"""spec.wake.maxHold is at most 15 minutes."""
CHECK_S = MAX_HOLD_S + 10
IDLE_S = MAX_HOLD_S + 100
CHECK_RETRIES = 5
"""With pauses that double from half a second: a decision service that is started again within 5 s fails no call."""
METADATA = "envoy.filters.http.ext_authz"
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
ENGINES, CHECKS, DECISIONS = "engines", "checks", "decisions"

NOT_FOR_ENGINES = (
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-scale-up-timeout",
    "prefer",
)
"""Headers of the client's that say who it is, or speak to the gateway. Its Authorization is replaced by the engine's own key."""

EXPOSED = (
    "retry-after",
    "x-cold-start",
    "x-endpoint-reason",
    "x-endpoint-state",
    "x-error-source",
    "x-expected-seconds",
    "x-request-id",
    "x-wake-seconds",
)
"""Headers of answers that a page in a browser may read."""


def host(plane: Plane) -> Json:
    """The one virtual host, with every route."""
    found: Json = {
        "name": "all",
        "domains": ["*"],
        "request_headers_to_remove": list(NOT_FOR_ENGINES),
        "routes": _routes(plane),
    }
    if plane.cors_origins:
        found["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors(plane)}
    return found


def _cors(plane: Plane) -> Json:
    return {
        "@type": f"{FILTERS}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} if origin != "*" else {"safe_regex": {"regex": ".*"}} for origin in plane.cors_origins],
        "allow_methods": "GET, POST, OPTIONS",
        "allow_headers": "authorization, content-type, prefer, x-scale-up-timeout",
        "expose_headers": ", ".join(EXPOSED),
        "max_age": "600",
    }


def _routes(plane: Plane) -> list[Json]:
    """In order; the first that fits. An engine is reached by id, where the path decides, or by the body's model."""
    by_id = {"safe_regex": {"regex": "/api/d/[^/]+/v1/.*"}}
    about = {"safe_regex": {"regex": "/api/d/[^/]+(/logs|/wake)?"}}
    any_length = {"name": "content-length", "present_match": True}
    return [
        {"match": {**by_id, "headers": [_length(plane.max_upload_bytes)]}, **_to_engine_by_id(), **_unbuffered()},
        {"match": {**by_id, "headers": [any_length]}, **too_large()},
        {"match": by_id, **_to_engine_by_id()},
        {"match": {"path": "/v1/models", "headers": [_method("GET")]}, **_to_decisions()},
        {"match": {"prefix": "/v1/", "headers": [any_length, {**_length(plane.max_body_bytes), "invert_match": True}]}, **too_large()},
        {"match": {"prefix": "/v1/"}, **_to_engine_by_model()},
        {"match": about, **_to_decisions()},
        {"match": {"prefix": "/"}, "direct_response": {"status": 404, "body": {"inline_string": NOT_FOUND}}, **_unchecked()},
    ]


def _length(limit_bytes: int) -> Json:
    return {"name": "content-length", "range_match": {"start": 0, "end": limit_bytes + 1}}


def _method(name: str) -> Json:
    return {"name": ":method", "string_match": {"exact": name}}


def _to_engine() -> Json:
    return {"cluster": ENGINES, "timeout": "0s", "idle_timeout": f"{IDLE_S}s", "host_rewrite_literal": "engine"}


def _to_engine_by_id() -> Json:
    return {"route": {**_to_engine(), "regex_rewrite": {"pattern": {"regex": "^/api/d/[^/]+"}, "substitution": ""}}}


def _to_engine_by_model() -> Json:
    swap = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {"@type": f"{FILTERS}.lua.v3.LuaPerRoute", "name": "model"}}
    return {"route": _to_engine(), "typed_per_filter_config": {"model": swap}}


def _to_decisions() -> Json:
    return {"route": {"cluster": DECISIONS, "timeout": "60s", "retry_policy": retries()}, **_unchecked()}


def _unbuffered() -> Json:
    """The path decides, so the body streams past the check."""
    settings = {"disable_request_body_buffering": True}
    return {"typed_per_filter_config": {METADATA: {"@type": f"{FILTERS}.ext_authz.v3.ExtAuthzPerRoute", "check_settings": settings}}}


def _unchecked() -> Json:
    return {"typed_per_filter_config": {METADATA: {"@type": f"{FILTERS}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}}}


def retries() -> Json:
    """What is asked of the decision service is asked again where it did not answer: it changes nothing that asking twice would do twice."""
    pauses = {"base_interval": "0.5s", "max_interval": f"{CHECK_S + 10}s"}
    return {"retry_on": "connect-failure,reset", "num_retries": CHECK_RETRIES, "retry_back_off": pauses}
