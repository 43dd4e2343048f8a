"""
Envoy's configuration, as one static document. Pure: it is rendered here and checked by `envoy --mode validate` in the tests.

*Theory of operation.* Each call to an engine is checked first (ext_authz over HTTP, on a socket that only this pod has). The check's answer becomes
metadata, not headers: where the call goes, whose endpoint it is, and which bytes of the body name the model. ORIGINAL_DST then connects to that
address, so the decision and its address are one thing, a sleeping endpoint costs nothing, and nothing that a client sends steers a route. There are
no retries towards engines: a call whose bytes may have reached one is never sent twice.

Times, from the inside out: a call may be held for MAX_HOLD_S in its check; the check may take a little longer; a stream may be silent for a little
longer than that. The retries of a check wait at most as long as the check itself, since that bound is also the bound of each try.
"""

from __future__ import annotations

from typing import Any

from dedicated.gateway.access import CHECK
from dedicated.gateway.envoy_logs import access_logs
from dedicated.gateway.envoy_replies import local_replies
from dedicated.gateway.envoy_routes import CHECK_S, CHECKS, DECISIONS, ENGINES, FILTERS, IDLE_S, MAX_HOLD_S, METADATA, host, retries
from dedicated.render.dataplane import Plane

Json = dict[str, Any]

UPLOAD_S = MAX_HOLD_S + 60
"""A body must have come whole by then. It bounds holds too, so it cannot be shorter."""
HEADERS_S = 10
PERIOD_S = 5
"""Between two lines of the access log about one call; as in `ledger`."""
ENGINE_IDLE_S = 4
"""Engines on uvicorn close an idle connection after 5 s: Envoy closes it first, so that no call meets a connection that is just being closed."""
BUFFER_BYTES = 256 * 1024
"""Per connection and direction, before the sender has to wait."""
MAX_HEADERS = 100
TRACKED_POWER = 20
"""Calls that keep 2^20 bytes or more are ended first where memory runs short."""


def bootstrap(plane: Plane) -> Json:
    """The whole configuration."""
    return {
        "node": {"id": "gateway", "cluster": "dedicated"},
        "admin": {"address": {"pipe": {"path": plane.admin, "mode": 0o600}}},
        "overload_manager": _overload(plane),
        "static_resources": {
            "listeners": [_listener(plane)],
            "clusters": [_service(plane, CHECKS, plane.checks), _service(plane, DECISIONS, plane.decisions), _engines(plane)],
        },
    }


def certificate(plane: Plane) -> Json:
    """The secret that Envoy reads by file, and reads again when the folder's link is moved."""
    tls = {
        "certificate_chain": {"filename": f"{plane.tls_dir}/tls.crt"},
        "private_key": {"filename": f"{plane.tls_dir}/tls.key"},
        "watched_directory": {"path": plane.tls_dir},
    }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    return {"resources": [{"@type": kind, "name": "server", "tls_certificate": tls}]}


def _overload(plane: Plane) -> Json:
    monitors = "type.googleapis.com/envoy.extensions.resource_monitors"
    connections = {
        "@type": f"{monitors}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": plane.max_connections,
    }
    heap = {"@type": f"{monitors}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": plane.max_heap_bytes}
    return {
        "refresh_interval": "0.1s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED_POWER},
        "resource_monitors": [
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": connections},
            {"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap},
        ],
        "actions": [
            _at_heap("shrink_heap", 0.8),
            _largest_first(0.85, 0.95),
            _at_heap("disable_http_keepalive", 0.9),
            _at_heap("stop_accepting_requests", 0.95),
        ],
    }


def _at_heap(action: str, share: float) -> Json:
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{action}", "triggers": [trigger]}


def _largest_first(share: float, all_of_them: float) -> Json:
    """Calls that keep much are ended, those that keep most before; nothing else bounds bodies that are being read and never end."""
    scaled = {"scaling_threshold": share, "saturation_threshold": all_of_them}
    trigger = {"name": "envoy.resource_monitors.fixed_heap", "scaled": scaled}
    return {"name": "envoy.overload_actions.reset_high_memory_stream", "triggers": [trigger]}


def _listener(plane: Plane) -> Json:
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _connection_manager(plane)}]}
    if plane.tls_dir:
        chain["transport_socket"] = _tls(plane)
    return {
        "name": "public",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": plane.port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "filter_chains": [chain],
    }


def _tls(plane: Plane) -> Json:
    source = {"path_config_source": {"path": plane.certificates}, "resource_api_version": "V3"}
    context = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [{"name": "server", "sds_config": source}],
    }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, "common_tls_context": context}}


def _connection_manager(plane: Plane) -> Json:
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "use_remote_address": True,
        "xff_num_trusted_hops": plane.trusted_hops,
        "stream_idle_timeout": f"{IDLE_S}s",
        "request_timeout": f"{UPLOAD_S}s",
        "request_headers_timeout": f"{HEADERS_S}s",
        "drain_timeout": "5s",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "always_set_request_id_in_response": True,
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {
            "idle_timeout": "300s",
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": MAX_HEADERS,
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65_536,
            "initial_connection_window_size": 1 << 20,
        },
        "early_header_mutation_extensions": [{"name": "own-request-id", "typed_config": _own_request_id()}],
        "access_log": access_logs(plane.log),
        "access_log_options": {"access_log_flush_interval": f"{PERIOD_S}s"},
        "local_reply_config": local_replies(plane.max_body_bytes, plane.max_upload_bytes),
        "route_config": {"name": "routes", "virtual_hosts": [host(plane)]},
        "http_filters": _filters(plane),
    }


def _own_request_id() -> Json:
    """The request's id is ours, before any filter sees it; the client's own is kept for the log."""
    kept = {"header": {"key": "x-client-request-id", "value": "%REQ(x-request-id)%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    kind = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    return {"@type": kind, "mutations": [{"remove": "x-client-request-id"}, {"append": kept}, {"remove": "x-request-id"}]}


def _filters(plane: Plane) -> list[Json]:
    health = {
        "@type": f"{FILTERS}.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}],
    }
    model = {"@type": f"{FILTERS}.lua.v3.Lua", "source_codes": {"model": {"inline_string": plane.model_lua}}}
    router = {"@type": f"{FILTERS}.router.v3.Router", "suppress_envoy_headers": True}
    cors = [{"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{FILTERS}.cors.v3.Cors"}}]
    return [
        {"name": "envoy.filters.http.health_check", "typed_config": health},
        *(cors if plane.cors_origins else []),
        {"name": METADATA, "typed_config": _check(plane)},
        {"name": "model", "typed_config": model, "disabled": True},
        {"name": "envoy.filters.http.router", "typed_config": router},
    ]


def _check(plane: Plane) -> Json:
    return {
        "@type": f"{FILTERS}.ext_authz.v3.ExtAuthz",
        "status_on_error": {"code": "InternalServerError"},
        "failure_mode_allow": False,
        "with_request_body": {"max_request_bytes": plane.max_body_bytes, "allow_partial_message": False},
        "allowed_headers": {"patterns": [{"exact": "prefer"}, {"exact": "x-scale-up-timeout"}, {"exact": "x-request-id"}]},
        "http_service": {
            "server_uri": {"uri": "http://checks", "cluster": CHECKS, "timeout": f"{CHECK_S}s"},
            "path_prefix": CHECK,
            "retry_policy": retries(),
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": [{"exact": "authorization"}]},
                "dynamic_metadata_from_headers": {"patterns": [{"prefix": "x-dedicated-"}]},
                "allowed_client_headers": {
                    "patterns": [
                        {"exact": "content-type"},
                        {"exact": "retry-after"},
                        {"exact": "www-authenticate"},
                        {"exact": "x-error-source"},
                        {"exact": "x-expected-seconds"},
                        {"prefix": "x-endpoint-"},
                    ]
                },
                "allowed_client_headers_on_success": {"patterns": [{"exact": "x-cold-start"}, {"exact": "x-wake-seconds"}]},
            },
        },
    }


def _protocol(**options: Any) -> Json:
    kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": kind, "explicit_http_config": {"http_protocol_options": {}}, **options}
    }


def _breakers(limit: int) -> Json:
    """As many requests as connections: each is counted below, so the limit of 1,024 that Envoy sets by itself must not be met first."""
    threshold = {"max_connections": limit, "max_pending_requests": limit, "max_requests": limit, "max_retries": limit}
    return {"thresholds": [threshold]}


def _service(plane: Plane, name: str, socket: str) -> Json:
    """The decision service, by one of its sockets."""
    address = {"endpoint": {"address": {"pipe": {"path": socket}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": _breakers(2 * plane.max_connections),
        "typed_extension_protocol_options": _protocol(common_http_protocol_options={"idle_timeout": "30s"}),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [address]}]},
    }


def _engines(plane: Plane) -> Json:
    errors = {"@type": f"{FILTERS}.lua.v3.Lua", "default_source_code": {"inline_string": plane.errors_lua}}
    codec = {"@type": f"{FILTERS}.upstream_codec.v3.UpstreamCodec"}
    return {
        "name": ENGINES,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
        "cleanup_interval": "60s",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "original_dst_lb_config": {"metadata_key": {"key": METADATA, "path": [{"key": "x-dedicated-address"}]}},
        "circuit_breakers": _breakers(2 * plane.max_connections),
        "typed_extension_protocol_options": _protocol(
            common_http_protocol_options={"idle_timeout": f"{ENGINE_IDLE_S}s"},
            http_filters=[
                {"name": "envoy.filters.http.lua", "typed_config": errors},
                {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
            ],
        ),
    }
