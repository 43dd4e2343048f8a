"""The two Services of an endpoint: one address for callers, and a headless one that knows pods before they are ready."""

from __future__ import annotations

from typing import Any

from dedicated.render.endpoint import Wanted
from dedicated.render.workload import PORT_NAME

SERVICE_PORT = 80


def services(wanted: Wanted, serving: str) -> list[dict[str, Any]]:
    """Both Services, pointing to the pods of the revision that serves."""
    ports = [{"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": PORT_NAME, "protocol": "TCP"}]
    selector = wanted.selector(serving)
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": wanted.meta(wanted.child()),
            "spec": {"type": "ClusterIP", "selector": selector, "ports": ports},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": wanted.meta(wanted.child("pods")),
            "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": ports},
        },
    ]
