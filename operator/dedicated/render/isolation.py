"""What keeps engines apart: per namespace a ServiceAccount without rights and a NetworkPolicy; per endpoint the key that its engine demands."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from dedicated.api import names
from dedicated.render.endpoint import Wanted
from dedicated.render.platform import Platform

SERVICE_ACCOUNT = "dedicated-engine"
NETWORK_POLICY = "dedicated-engine"
KEY_IN_SECRET = "key"
USE_ENGINE_KEY = "engine-key"

Manifest = dict[str, Any]


def namespace_labels() -> dict[str, str]:
    """Labels of what a namespace gets once."""
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, "app.kubernetes.io/part-of": "dedicated", "app.kubernetes.io/component": "engine"}


def service_account(namespace: str, platform: Platform) -> Manifest:
    """The identity of engine pods: no rights, no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": SERVICE_ACCOUNT,
            "namespace": namespace,
            "labels": namespace_labels(),
            **({"annotations": dict(platform.engine_account_annotations)} if platform.engine_account_annotations else {}),
            **platform.ownership(),
        },
        "automountServiceAccountToken": False,
    }


def network_policy(namespace: str, platform: Platform) -> Manifest:
    """Engines answer their own namespace and the system's; they reach names and the world, but not the cluster, the API server or link-local."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": NETWORK_POLICY, "namespace": namespace, "labels": namespace_labels(), **platform.ownership()},
        "spec": {
            "podSelector": {"matchLabels": namespace_labels()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"podSelector": {}},
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": platform.system_namespace}}},
                    ]
                }
            ],
            "egress": [
                {
                    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
                },
                {
                    "to": [
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(platform.blocked_cidrs)}},
                        {"ipBlock": {"cidr": "2000::/3"}},
                        *platform.extra_egress,
                    ]
                },
            ],
        },
    }


def engine_key(system_key: bytes, uid: str) -> str:
    """The key that an endpoint's engine demands: HMAC-SHA256 of the endpoint's UID under the installation's key, in hex."""
    return hmac.new(system_key, uid.encode(), hashlib.sha256).hexdigest()


def key_secret(wanted: Wanted, system_key: bytes) -> Manifest:
    """The Secret by which the engine gets its key."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": wanted.meta(wanted.child("key"), **{names.LABEL_USE: USE_ENGINE_KEY}),
        "data": {KEY_IN_SECRET: base64.b64encode(engine_key(system_key, wanted.uid).encode()).decode()},
    }
