"""
What Envoy says itself, as sentences of the contract. The first row that fits is used; Envoy wraps what is left by its status alone.

| when | status | sentence |
|---|---|---|
| a call to an engine: no connection, reset, silence | 500 | Failed to communicate with inference engine |
| a check that failed, or the decision service does not answer | 500 | Internal Server Error |
| a check that said 425 | 503 | its own |
| a check that refused | its own | its own |
| no route, or an upgrade that is not offered | 404 | Not found |
| everything else | Envoy's | a sentence for the status |
"""

from __future__ import annotations

from typing import Any

from dedicated.core.quantities import human_bytes
from dedicated.gateway.access import NOT_FOUND

Json = dict[str, Any]

COMMUNICATION = "Failed to communicate with inference engine"
INTERNAL = "Internal Server Error"
TOO_EARLY = 425
"""Stands for 503 in a check's answer, since Envoy takes every 5xx of a check for its failure."""
ENGINE_FLAGS = ["UF", "UC", "UT", "URX", "UH", "UR", "LR", "UPE", "SI", "UO", "NC"]
"""Response flags of a call that did not get its answer from upstream (envoyproxy.io, access log, RESPONSE_FLAGS)."""
SENTENCES = {
    400: "Bad Request",
    403: "Forbidden",
    408: "The request did not arrive in time.",
    414: "The path is too long.",
    426: "This version of HTTP is not served.",
    431: "The headers are too large or too many.",
    501: "This transfer encoding is not served.",
    503: "The gateway is overloaded; try again in a few seconds.",
    504: "The request did not arrive in time.",
}
"""Without quotation marks: they stand in JSON as they are."""


def local_replies(max_body_bytes: int, max_upload_bytes: int) -> Json:
    """Envoy's local replies."""
    limits = f"The body is too large: at most {human_bytes(max_body_bytes)} on /v1, {human_bytes(max_upload_bytes)} with a length on /api/d."
    fixed = {**SENTENCES, 413: limits}
    return {
        "mappers": [
            _mapper(_all(_flags(*ENGINE_FLAGS), _routed()), COMMUNICATION, 500, "engine"),
            _mapper(_flags(*ENGINE_FLAGS), INTERNAL, 500),
            _mapper(_all(_flags("UAEX"), _status(500)), INTERNAL),
            _own_words(_all(_flags("UAEX"), _status(TOO_EARLY)), 503),
            _own_words(_flags("UAEX")),
            _mapper(_flags("NR"), NOT_FOUND, 404),
            _mapper(_status(404), NOT_FOUND),
            *(_mapper(_status(status), sentence) for status, sentence in fixed.items()),
            {"filter": _status(400, "GE"), "headers_to_add": [_source("gateway")]},
        ],
        "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"},
    }


def too_large() -> Json:
    """A route that answers 413; it is not checked."""
    disabled = {"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}
    return {"direct_response": {"status": 413}, "typed_per_filter_config": {"envoy.filters.http.ext_authz": disabled}}


def _mapper(when: Json, sentence: str, status: int | None = None, source: str = "gateway") -> Json:
    found: Json = {"filter": when, "body": {"inline_string": sentence}, "headers_to_add": [_source(source)]}
    text = {"text_format_source": {"inline_string": '{"error": "%LOCAL_REPLY_BODY%"}'}, "content_type": "application/json"}
    return {**found, "body_format_override": text, **({"status_code": status} if status else {})}


def _own_words(when: Json, status: int | None = None) -> Json:
    """The check's body is finished."""
    text = {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
    return {"filter": when, "body_format_override": text, **({"status_code": status} if status else {})}


def _source(name: str) -> Json:
    return {"header": {"key": "x-error-source", "value": name}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _flags(*flags: str) -> Json:
    return {"response_flag_filter": {"flags": list(flags)}}


def _status(status: int, operator: str = "EQ") -> Json:
    return {"status_code_filter": {"comparison": {"op": operator, "value": {"default_value": status, "runtime_key": "none"}}}}


def _routed() -> Json:
    """A check gave this call an address: it was on its way to an engine."""
    matcher = {"filter": "envoy.filters.http.ext_authz", "path": [{"key": "x-dedicated-address"}], "value": {"present_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}
