"""The PodDisruptionBudget: only above one replica, since a budget over a single one would only block node drains."""

from __future__ import annotations

from typing import Any

from dedicated.api import names
from dedicated.render.endpoint import Wanted


def budget(wanted: Wanted) -> dict[str, Any]:
    """At most one pod of the endpoint is taken away at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": wanted.meta(wanted.child()),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {names.LABEL_ENDPOINT_ID: wanted.id}}},
    }
