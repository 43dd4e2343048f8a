"""Every environment variable, typed, with its default and unit. Nobody else reads the environment."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dedicated.api.activity import SHORTEST_RENEWAL_S
from dedicated.api.endpoint import EngineKind
from dedicated.api.s3 import CA_CERTIFICATE, CREDENTIALS, ENDPOINT_URL, REGION, S3Location, location_from
from dedicated.diagnosis.evidence import Limits
from dedicated.render.dataplane import Plane
from dedicated.render.platform import Platform

POD_CIDRS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""Where pods have their addresses, unless an installation says it more closely: RFC 1918, RFC 6598, RFC 4193."""


class BadSetting(Exception):
    """A setting that cannot be read; the sentence names it."""


@dataclass(frozen=True)
class Settings:
    """What an installation decides."""

    platform: Platform
    system_namespace: str
    identity: str
    lease_name: str
    key_secret: str
    weights_secret: str
    activity_namespace: str
    renewal_s: float
    resync_s: float
    watch_silence_s: float
    limits: Limits
    provisionable: tuple[str, ...]
    port: int
    log_level: str
    kubeconfig: str | None


def from_environment(env: Mapping[str, str] | None = None) -> Settings:
    """
    Read the environment.

    | variable | default | what |
    |---|---|---|
    | HF_ENDPOINT | https://huggingface.co | the hub, or a mirror of it |
    | DEDICATED_IMAGE | - | image of dedicated itself, for fetching weights |
    | DEDICATED_IMAGE_VLLM | - | default image of engine kind vllm |
    | DEDICATED_IMAGE_SGLANG | - | default image of engine kind sglang |
    | DEDICATED_IMAGE_LLAMACPP | - | default image of engine kind llamacpp |
    | DEDICATED_SYSTEM_NAMESPACE | dedicated-system | where the Lease and the installation's key are |
    | DEDICATED_IDENTITY | host name | who holds the Lease; the pod's name and uid |
    | DEDICATED_LEASE | dedicated-operator | name of the Lease |
    | DEDICATED_KEY_SECRET | dedicated-engine-key | Secret with the key that engine keys derive from |
    | DEDICATED_ACTIVITY_NAMESPACE | dedicated-activity | where gateways tell of calls; empty where there is no gateway |
    | DEDICATED_GATEWAY_URL | - | where applications reach the gateway, for `status.url` |
    | DEDICATED_RENEWAL_SECONDS | 15 | the shortest period between two renewals of one activity Lease; an endpoint sleeps that much later |
    | DEDICATED_RESYNC_SECONDS | 600 | between two looks at everything |
    | DEDICATED_WATCH_SILENCE_SECONDS | 70 | until a watch that tells nothing is opened anew; the API server tells something each 60 |
    | DEDICATED_PLACEMENT_SECONDS | 1800 | until a pod without room is given up |
    | DEDICATED_CAPACITY_SECONDS | 60 | until another class of accelerator is tried for a pod without room, if the plan has one |
    | DEDICATED_NODE_COMING_SECONDS | 600 | the same while a provisioner adds a node |
    | DEDICATED_PROVISIONABLE | - | AcceleratorClasses of which a provisioner adds nodes that cannot be read from it; comma-separated |
    | DEDICATED_START_SECONDS | 300 | until a placed pod must have started a container |
    | DEDICATED_STARTUP_SECONDS | 600 | until an engine must answer; 20 more per GiB of weights |
    | DEDICATED_BLOCKED_CIDRS | private and link-local ranges | what engine pods may not reach; comma-separated |
    | DEDICATED_EXTRA_EGRESS | [] | NetworkPolicyPeers that they may reach all the same; JSON |
    | DEDICATED_S3_BUCKET | - | the bucket that caches weights; without it there is no cache |
    | DEDICATED_S3_PREFIX | - | what all keys in it begin with |
    | DEDICATED_S3_ENDPOINT | AWS | URL of the S3 server |
    | DEDICATED_S3_REGION | us-east-1 | its region |
    | DEDICATED_S3_PATH_STYLE | false | whether the bucket goes into the path instead of the host name |
    | DEDICATED_S3_CA_BUNDLE | - | authority that signed the server's certificate; PEM |
    | DEDICATED_S3_SECRET | - | Secret in the system namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without it the pods' own identity |
    | DEDICATED_S3_SOURCE_ENDPOINTS | - | S3 servers besides AWS and the cache's that `spec.model.s3` may be read from; URLs, comma-separated |
    | DEDICATED_NAMESPACE_UID | - | for `dedicated fetch`: the namespace that weights are kept for which are not everybody's |
    | DEDICATED_ENGINE_ACCOUNT_ANNOTATIONS | {} | annotations of the service account of engine pods, such as a role; JSON |
    | DEDICATED_PORT | 8081 | /livez, /readyz, /metrics |
    | DEDICATED_LOG_LEVEL | info | debug, info, warning, error |
    | KUBECONFIG | - | outside a cluster: how to reach it |

    Raises:
        BadSetting: A value cannot be read.
    """
    env = os.environ if env is None else env
    seconds = {name: _number(env, f"DEDICATED_{name}_SECONDS", default) for name, default in _SECONDS.items()}
    system_namespace = env.get("DEDICATED_SYSTEM_NAMESPACE") or "dedicated-system"
    return Settings(
        platform=_platform(env, system_namespace, seconds["STARTUP"]),
        system_namespace=system_namespace,
        identity=env.get("DEDICATED_IDENTITY") or socket.gethostname(),
        lease_name=env.get("DEDICATED_LEASE") or "dedicated-operator",
        key_secret=env.get("DEDICATED_KEY_SECRET") or "dedicated-engine-key",
        weights_secret=env.get("DEDICATED_S3_SECRET") or "",
        activity_namespace=env.get("DEDICATED_ACTIVITY_NAMESPACE", "dedicated-activity"),
        renewal_s=seconds["RENEWAL"],
        resync_s=seconds["RESYNC"],
        watch_silence_s=seconds["WATCH_SILENCE"],
        limits=Limits(seconds["PLACEMENT"], seconds["START"], capacity_s=seconds["CAPACITY"], coming_s=seconds["NODE_COMING"]),
        provisionable=_words(env, "DEDICATED_PROVISIONABLE"),
        port=int(_number(env, "DEDICATED_PORT", 8081)),
        log_level=env.get("DEDICATED_LOG_LEVEL") or "info",
        kubeconfig=env.get("KUBECONFIG") or None,
    )


_SECONDS = {
    "RESYNC": 600.0,
    "RENEWAL": SHORTEST_RENEWAL_S,
    "WATCH_SILENCE": 70.0,
    "PLACEMENT": 1800.0,
    "CAPACITY": 60.0,
    "NODE_COMING": 600.0,
    "START": 300.0,
    "STARTUP": 600.0,
}


def _platform(env: Mapping[str, str], system_namespace: str, startup_s: float) -> Platform:
    images = {kind: env[name] for kind in EngineKind if env.get(name := f"DEDICATED_IMAGE_{kind.value.upper()}")}
    try:
        annotations = tuple(sorted(json.loads(env.get("DEDICATED_ENGINE_ACCOUNT_ANNOTATIONS") or "{}").items()))
    except (ValueError, AttributeError) as bad:
        raise BadSetting("DEDICATED_ENGINE_ACCOUNT_ANNOTATIONS is not a JSON object of texts") from bad
    try:
        peers = tuple(json.loads(env.get("DEDICATED_EXTRA_EGRESS") or "[]"))
    except (ValueError, TypeError) as bad:
        raise BadSetting("DEDICATED_EXTRA_EGRESS is not a JSON list of NetworkPolicyPeers") from bad
    return Platform(
        fetch_image=env.get("DEDICATED_IMAGE", ""),
        engine_images=images,
        hub_endpoint=(env.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"),
        startup_base_s=startup_s,
        system_namespace=system_namespace,
        blocked_cidrs=_words(env, "DEDICATED_BLOCKED_CIDRS") or Platform.blocked_cidrs,
        extra_egress=peers,
        source_endpoints=tuple(url.rstrip("/") for url in _words(env, "DEDICATED_S3_SOURCE_ENDPOINTS")),
        weights=location_from(env),
        engine_account_annotations=annotations,
        gateway_url=env.get("DEDICATED_GATEWAY_URL", "").rstrip("/"),
    )


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError as bad:
        raise BadSetting(f"{name} is '{text}', which is not a number") from bad
    if value < 0:
        raise BadSetting(f"{name} is '{text}', which is below zero")
    return value


@dataclass(frozen=True)
class GatewaySettings:
    """What an installation decides about its gateway."""

    plane: Plane
    system_namespace: str
    activity_namespace: str
    identity: str
    engine_key_file: str
    pod_cidrs: tuple[str, ...]
    session_issuer: str
    session_audience: str
    session_jwks: str
    threads: int
    drain_s: float
    renewal_s: float
    watch_silence_s: float
    max_held_requests: int
    max_held_bytes: int
    port: int
    log_level: str
    kubeconfig: str | None


def gateway_from_environment(env: Mapping[str, str] | None = None) -> GatewaySettings:
    """
    Read the environment, for `dedicated gateway` and `dedicated envoy`.

    | variable | default | what |
    |---|---|---|
    | DEDICATED_SYSTEM_NAMESPACE | dedicated-system | where API keys are |
    | DEDICATED_ACTIVITY_NAMESPACE | dedicated-activity | where activity Leases are |
    | DEDICATED_IDENTITY | host name | name of this gateway; its pod's |
    | DEDICATED_ENGINE_KEY_FILE | /etc/dedicated/engine-key/key | the key that engine keys derive from |
    | DEDICATED_POD_CIDRS | private ranges | where pods have their addresses; comma-separated |
    | DEDICATED_RUN_DIR | /run/dedicated | sockets and the access log that both processes share |
    | DEDICATED_LISTEN_PORT | 8080 | where calls come in |
    | DEDICATED_TLS_DIR | - | folder with tls.crt and tls.key, read again when it changes; without it plain HTTP |
    | DEDICATED_TRUSTED_HOPS | 0 | proxies before the gateway whose X-Forwarded-For counts |
    | DEDICATED_CORS_ORIGINS | - | origins that browsers may call from; comma-separated, * for all |
    | DEDICATED_MAX_BODY_BYTES | 8388608 | largest body where the model is read from it |
    | DEDICATED_MAX_UPLOAD_BYTES | 67108864 | largest body on /api/d |
    | DEDICATED_MAX_CONNECTIONS | 20000 | connections of callers at once |
    | DEDICATED_MAX_HEAP_BYTES | 1073741824 | memory of Envoy; near it, it sheds load |
    | DEDICATED_MAX_HELD_REQUESTS | 2000 | calls held at once until their endpoints answer, of all endpoints |
    | DEDICATED_MAX_HELD_BYTES | 268435456 | bytes of their bodies |
    | DEDICATED_ENVOY_THREADS | 1 | threads of Envoy; each more costs half as much again per SSE chunk where cores are scarce |
    | DEDICATED_DRAIN_SECONDS | 120 | how long calls in flight may last after SIGTERM |
    | DEDICATED_RENEWAL_SECONDS | 15 | the shortest period between two renewals of one activity Lease; as the operator's |
    | DEDICATED_SESSION_ISSUER | - | who signs sessions |
    | DEDICATED_SESSION_AUDIENCE | - | for whom sessions must be |
    | DEDICATED_SESSION_JWKS | - | file or URL of the keys that sign sessions; without it only API keys count |
    | DEDICATED_WATCH_SILENCE_SECONDS | 70 | until a watch that tells nothing is opened anew |
    | DEDICATED_PORT | 8081 | /livez, /readyz, /metrics |
    | DEDICATED_LOG_LEVEL | info | debug, info, warning, error |
    | KUBECONFIG | - | outside a cluster: how to reach it |

    Raises:
        BadSetting: A value cannot be read.
    """
    env = os.environ if env is None else env
    jwks = env.get("DEDICATED_SESSION_JWKS", "")
    found = GatewaySettings(
        plane=_plane(env),
        system_namespace=env.get("DEDICATED_SYSTEM_NAMESPACE") or "dedicated-system",
        activity_namespace=env.get("DEDICATED_ACTIVITY_NAMESPACE") or "dedicated-activity",
        identity=env.get("DEDICATED_IDENTITY") or socket.gethostname(),
        engine_key_file=env.get("DEDICATED_ENGINE_KEY_FILE") or "/etc/dedicated/engine-key/key",
        pod_cidrs=_networks(env, "DEDICATED_POD_CIDRS") or POD_CIDRS,
        session_issuer=env.get("DEDICATED_SESSION_ISSUER", ""),
        session_audience=env.get("DEDICATED_SESSION_AUDIENCE", ""),
        session_jwks=jwks,
        threads=int(_number(env, "DEDICATED_ENVOY_THREADS", 1)),
        drain_s=_number(env, "DEDICATED_DRAIN_SECONDS", 120),
        renewal_s=_number(env, "DEDICATED_RENEWAL_SECONDS", SHORTEST_RENEWAL_S),
        watch_silence_s=_number(env, "DEDICATED_WATCH_SILENCE_SECONDS", 70),
        max_held_requests=int(_number(env, "DEDICATED_MAX_HELD_REQUESTS", 2000)),
        max_held_bytes=int(_number(env, "DEDICATED_MAX_HELD_BYTES", 256 << 20)),
        port=int(_number(env, "DEDICATED_PORT", 8081)),
        log_level=env.get("DEDICATED_LOG_LEVEL") or "info",
        kubeconfig=env.get("KUBECONFIG") or None,
    )
    if jwks and not (found.session_issuer and found.session_audience):
        raise BadSetting(
            "DEDICATED_SESSION_JWKS needs DEDICATED_SESSION_ISSUER and DEDICATED_SESSION_AUDIENCE: without them anybody's token would do"
        )
    return found


def _plane(env: Mapping[str, str]) -> Plane:
    return Plane(
        run_dir=env.get("DEDICATED_RUN_DIR") or "/run/dedicated",
        port=int(_number(env, "DEDICATED_LISTEN_PORT", Plane.port)),
        max_body_bytes=int(_number(env, "DEDICATED_MAX_BODY_BYTES", Plane.max_body_bytes)),
        max_upload_bytes=int(_number(env, "DEDICATED_MAX_UPLOAD_BYTES", Plane.max_upload_bytes)),
        max_connections=int(_number(env, "DEDICATED_MAX_CONNECTIONS", Plane.max_connections)),
        max_heap_bytes=int(_number(env, "DEDICATED_MAX_HEAP_BYTES", Plane.max_heap_bytes)),
        tls_dir=env.get("DEDICATED_TLS_DIR") or None,
        trusted_hops=int(_number(env, "DEDICATED_TRUSTED_HOPS", 0)),
        cors_origins=_list(env, "DEDICATED_CORS_ORIGINS"),
    )


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _networks(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(env, name)
    try:
        for network in found:
            ipaddress.ip_network(network)
    except ValueError as bad:
        raise BadSetting(f"{name} is '{env[name]}', which is not a list of networks: {bad}") from bad
    return found


def system_namespace() -> str:
    """Where keys are, for `dedicated keys`."""
    return os.environ.get("DEDICATED_SYSTEM_NAMESPACE") or "dedicated-system"


def activity_namespace() -> str:
    """Where calls are told of, for `dedicated wake`."""
    return os.environ.get("DEDICATED_ACTIVITY_NAMESPACE") or "dedicated-activity"


def kubeconfig() -> str | None:
    """How the cluster is reached, for the commands of people."""
    return os.environ.get("KUBECONFIG") or None


def hub_endpoint() -> str:
    """The hub, for `dedicated fetch`."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """The hub token, for `dedicated fetch`."""
    return os.environ.get("HF_TOKEN") or None


def weights_location() -> S3Location | None:
    """The cache's bucket, for `dedicated fetch` and `dedicated cache`; None where the installation has none."""
    return location_from(os.environ)


def s3_source_keys() -> dict[str, str]:
    """What the user's Secret holds of an S3 source, for `dedicated fetch`: under the names of its keys."""
    found = {name: os.environ.get(name, "") for name in (*CREDENTIALS, ENDPOINT_URL, REGION)}
    return {name: value for name, value in {**found, CA_CERTIFICATE: os.environ.get("DEDICATED_S3_CA_BUNDLE", "")}.items() if value}


def namespace_uid() -> str:
    """UID of the namespace that `dedicated fetch` runs in."""
    return os.environ.get("DEDICATED_NAMESPACE_UID", "")


def holder() -> str:
    """Who fills the cache: the pod."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", os.environ.get("DEDICATED_IDENTITY") or socket.gethostname())


def hub_cache() -> Path:
    """Where `dedicated plan` keeps what the hub said."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dedicated" / "hub"


def termination_log() -> Path | None:
    """Where a container leaves its last words, where there is such a file."""
    path = Path("/dev/termination-log")
    return path if path.exists() else None
