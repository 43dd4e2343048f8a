"""Plain words for a real API server: apply, read, wait, count. Used by both tiers that have one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dedicated.api.status import EndpointStatus
from hack.cluster import context, tools
from hack.tools import REPO
from tests.support.status_rules import broken_rules

Manifest = dict[str, Any]

needs_bare = pytest.mark.skipif(
    "KUBE_CONTEXT" in os.environ or context.choose().provider != "bare", reason="needs a bare cluster: a node whose processes this machine sees"
)


@dataclass(frozen=True)
class Kubectl:
    """kubectl against one cluster, in one namespace."""

    kubeconfig: Path
    namespace: str = "default"

    def run(self, *args: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        """Run it; the caller judges the exit code."""
        command = [str(tools.path("kubectl")), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args]
        text = json.dumps(given) if given is not None else None
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=180)

    def must(self, *args: str, given: Any = None) -> str:
        """Run it; it must work."""
        done = self.run(*args, given=given)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done.stdout

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests."""
        self.must("apply", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(manifests)})

    def refused(self, manifest: Manifest) -> str:
        """What the API server says when it refuses this manifest; it must refuse it."""
        done = self.run("apply", "-f", "-", given=manifest)
        assert done.returncode != 0, f"accepted: {manifest}"
        return done.stderr

    def get(self, kind: str, name: str) -> Manifest:
        """One object."""
        found: Manifest = json.loads(self.must("get", kind, name, "-o=json"))
        return found

    def all(self, kind: str, selector: str = "") -> list[Manifest]:
        """All objects of a kind in the namespace."""
        found: list[Manifest] = json.loads(self.must("get", kind, f"--selector={selector}", "-o=json"))["items"]
        return found

    def status(self, name: str) -> EndpointStatus:
        """An endpoint's status; it must obey the rules of every status."""
        endpoint = self.get("inferenceendpoint", name)
        status = EndpointStatus.model_validate(endpoint.get("status") or {})
        if status.phase:
            assert broken_rules(status, endpoint["metadata"]["generation"]) == [], endpoint["status"]
        return status

    def phase(self, name: str) -> str:
        """An endpoint's phase and the reason of its Ready condition, as "phase reason"."""
        status = self.status(name)
        ready = next((c.reason for c in status.conditions if c.type == "Ready"), "-")
        return f"{status.phase or '-'} {ready}"

    def wait(self, name: str, wanted: str, timeout_s: float = 60) -> EndpointStatus:
        """Wait until an endpoint's phase (and reason, if one is given) is as wanted; at the latest generation."""
        seen: list[str] = []

        def there() -> bool:
            now = self.phase(name)
            if not seen or seen[-1] != now:
                seen.append(now)
            endpoint = self.get("inferenceendpoint", name)
            current = (endpoint.get("status") or {}).get("observedGeneration") == endpoint["metadata"]["generation"]
            return current and (now == wanted or now.split()[0] == wanted)

        wait_until(f"{name} to be {wanted}", there, timeout_s, lambda: f"it was {' > '.join(seen)}: {self.status(name).to_dict()}")
        return self.status(name)


def wait_until(what: str, check: Callable[[], bool], timeout_s: float = 30, more: Callable[[], str] = lambda: "", every_s: float = 0.2) -> None:
    """Wait until a check answers True; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}; {more()}"
        time.sleep(every_s)


def sample(name: str) -> Manifest:
    """A sample manifest, as the docs show it."""
    found: Manifest = yaml.safe_load((REPO / "crds" / "samples" / f"{name}.yaml").read_text())
    return found


def endpoint(name: str, **spec: Any) -> Manifest:
    """A manifest of a custom engine on CPU; keyword arguments replace top-level fields of the spec, None removes one."""
    base: Manifest = {
        "engine": {"kind": "custom", "image": "localhost/engine:1", "port": 8000, "healthPath": "/health"},
        "hardware": {"accelerators": ["cpu"], "cpu": "10m", "memory": "64Mi"},
        "access": {"owner": "alice"},
        "update": {"drain": "1s"},
    }
    merged = {key: value for key, value in {**base, **spec}.items() if value is not None}
    return {"apiVersion": "inference.dedicated.dev/v1alpha1", "kind": "InferenceEndpoint", "metadata": {"name": name}, "spec": merged}
