"""Pods and other children of endpoints; and playing the kubelet where there is none."""

from __future__ import annotations

import json

from tests.support.cluster import Kubectl, Manifest

OURS = "inference.dedicated.dev/endpoint-id"


def children(kubectl: Kubectl) -> dict[str, list[str]]:
    """Names of everything that belongs to the endpoints of the namespace, by kind."""
    kinds = ("deployment", "service", "secret", "poddisruptionbudget", "pod")
    found = {kind: sorted(obj["metadata"]["name"] for obj in kubectl.all(kind, OURS)) for kind in kinds}
    shared = {kind: [obj["metadata"]["name"] for obj in kubectl.all(kind, "app.kubernetes.io/managed-by=dedicated")] for kind in ("networkpolicy",)}
    return {**found, **shared}


def pods(kubectl: Kubectl) -> list[Manifest]:
    """Pods of ours that are not going."""
    return [pod for pod in kubectl.all("pod", OURS) if "deletionTimestamp" not in pod["metadata"]]


def make_ready(kubectl: Kubectl, ready: bool = True) -> None:
    """Every pod of ours that stays runs and answers; one that goes meanwhile needs nothing."""
    for pod in pods(kubectl):
        status = {
            "phase": "Running",
            "podIP": "10.0.0.9",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {
                    "name": "engine",
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "image": "x",
                    "imageID": "x",
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                }
            ],
        }
        done = kubectl.run("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        assert done.returncode == 0 or "NotFound" in done.stderr, done.stderr
