"""Core Events: one for each transition, after the status that tells it was stored. A lost Event is lost; the status is not."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from dedicated.adapters.kube import KubeApi
from dedicated.api import names
from dedicated.api.errors import DedicatedError
from dedicated.core.clock import rfc3339
from dedicated.lifecycle.transitions import Transition

log = logging.getLogger(__name__)


async def record(kube: KubeApi, endpoint: dict[str, Any], told: Transition) -> None:
    """Tell a transition to whoever runs `kubectl describe`."""
    meta, now = endpoint["metadata"], rfc3339(kube.now())
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{meta['name'][:40]}.{uuid.uuid4().hex[:12]}", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "reason": told.reason,
        "message": told.message,
        "type": "Warning" if told.warning else "Normal",
        "source": {"component": names.FIELD_MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await kube.create(event)
    except DedicatedError as failure:
        log.warning("event not recorded", extra={"error": str(failure)})
