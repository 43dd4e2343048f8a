"""How the container that fetches weights gets at the cache. Nothing of this reaches the engine."""

from __future__ import annotations

import base64
from typing import Any

from dedicated.api import names
from dedicated.render.endpoint import Wanted
from dedicated.render.platform import Platform

Manifest = dict[str, Any]

USE_WEIGHTS_CACHE = "weights-cache"
SECRET = "weights"
POD_ANNOTATIONS = {"eks.amazonaws.com/skip-containers": names.ENGINE_CONTAINER}
"""Keeps the pod's web identity out of the engine (amazon-eks-pod-identity-webhook, README)."""


def credentials(wanted: Wanted, platform: Platform) -> Manifest | None:
    """The Secret with the credentials for the cache, beside the endpoint and gone with it; None where none are needed."""
    if not platform.weights or not platform.weights_credentials or (wanted.spec.model and wanted.spec.model.s3):
        return None
    data = {name: base64.b64encode(value.encode()).decode() for name, value in platform.weights_credentials}
    meta = wanted.meta(wanted.child(SECRET), **{names.LABEL_USE: USE_WEIGHTS_CACHE})
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": meta, "data": data}


def variables(wanted: Wanted, platform: Platform) -> list[Manifest]:
    """Environment of the container that fetches."""
    if not platform.weights:
        return []
    said = {**platform.weights.variables(), "DEDICATED_NAMESPACE_UID": wanted.namespace_uid}
    found: list[Manifest] = [{"name": name, "value": value} for name, value in said.items()]
    found.append({"name": "DEDICATED_IDENTITY", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    secret = wanted.child(SECRET)
    return found + [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name, _ in platform.weights_credentials]


def pod_annotations(platform: Platform) -> dict[str, str]:
    """Of the pod template."""
    return POD_ANNOTATIONS if platform.weights and platform.engine_account_annotations else {}
