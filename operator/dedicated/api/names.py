"""Group, labels, annotations, and the rules that name ids and children."""

from __future__ import annotations

from functools import lru_cache

from dedicated.core.quantities import stable_hash

GROUP = "inference.dedicated.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "InferenceEndpoint"
PLURAL = "inferenceendpoints"
CRD_NAME = f"{PLURAL}.{GROUP}"
KEY_KIND = "ApiKey"
KEY_PLURAL = "apikeys"
FIELD_MANAGER = "dedicated"

LABEL_ENDPOINT = f"{GROUP}/endpoint"
LABEL_ENDPOINT_ID = f"{GROUP}/endpoint-id"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's: passed on from an endpoint to its workload."""
LABEL_USE = f"{GROUP}/use"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "dedicated"

USE_HUB_TOKEN = "hub-token"
USE_ENGINE_ENV = "engine-env"
USE_S3_SOURCE = "s3-source"

ANNOTATION_MANIFEST_HASH = f"{GROUP}/manifest-hash"
ANNOTATION_SCHEMA_HASH = f"{GROUP}/schema-hash"
ANNOTATION_RECORD = f"{GROUP}/record"
"""On an EndpointLog: which run it is of, its size and when it was written, so that nobody need read it to know."""
ANNOTATION_RETRY = f"{GROUP}/retry"
ANNOTATION_REFRESH = f"{GROUP}/refresh"
ANNOTATION_UPDATE = f"{GROUP}/update"
ANNOTATION_WAKE = f"{GROUP}/wake"
"""On an activity Lease: the epoch of the sleep that a call wants to end."""
ANNOTATION_ACK = f"{GROUP}/ack-"
"""On an activity Lease, followed by a gateway's pod: the epoch of the drain that it acknowledges, or busy."""

FETCH_CONTAINER = "fetch"
ENGINE_CONTAINER = "engine"

MAX_NAME = 63
"""Characters in a label value and in a DNS label (RFC 1123)."""


@lru_cache(maxsize=32768)
def endpoint_id(uid: str) -> str:
    """The endpoint's public id, computed from ``metadata.uid`` alone and never read back."""
    return "endpt-" + stable_hash(uid.encode(), 10)


def ack_annotation(gateway: str) -> str:
    """The annotation by which a gateway acknowledges a drain; a pod's name that is too long is cut and hashed. (its name: at most 63 characters)"""
    room = MAX_NAME - len("ack-")
    if len(gateway) > room:
        gateway = gateway[: room - 7].rstrip("-.") + "-" + stable_hash(gateway.encode(), 6)
    return ANNOTATION_ACK + gateway


def child_name(endpoint: str, uid: str, suffix: str = "") -> str:
    """
    Name of a child: the endpoint's name, the tail of its id, and what the child is; at most 63 characters.

    The id makes it unique: nobody's own object is taken over, and an endpoint made again under the same name does not meet the leavings of the first.
    """
    tail = endpoint_id(uid).removeprefix("endpt-") + (f"-{suffix}" if suffix else "")
    room = MAX_NAME - len(tail) - 1
    if len(endpoint) > room:
        endpoint = endpoint[: room - 7].rstrip("-") + "-" + stable_hash(endpoint.encode(), 6)
    return f"{endpoint}-{tail}"
