"""Install dedicated, its images and the demo's hub into a cluster: what the demo and the cluster tests share."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dedicated.api.names import CRD_NAME
from hack.cluster import context, tools
from hack.cluster.context import Target
from hack.images import build as images
from hack.tools import REPO, ToolError, say

SYSTEM = "dedicated-system"
HUB = "dedicated-hub"
HUB_ENDPOINT = f"http://hub.{HUB}"


@dataclass(frozen=True)
class Installation:
    """A cluster with dedicated in it."""

    target: Target
    references: Mapping[str, str] = field(default_factory=dict)

    def kubectl(self, *args: str, given: str | None = None, check: bool = True, timeout_s: float = 120.0) -> str:
        """Run kubectl; answers what it printed. Raises ToolError where it fails and that is not allowed."""
        command = [str(tools.path("kubectl")), f"--kubeconfig={self.target.kubeconfig}", *args]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=timeout_s)
        if check and done.returncode:
            raise ToolError(f"kubectl {' '.join(args)} failed: {done.stderr.strip()}")
        return done.stdout

    def helm(self, *args: str) -> None:
        """Run helm."""
        command = [str(tools.path("helm")), f"--kubeconfig={self.target.kubeconfig}", *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"helm {' '.join(args[:2])} failed: {done.stderr.strip()[-600:]}")


def install(names: tuple[str, ...] = (), **values: object) -> Installation:
    """
    Start or reuse the cluster, build and load the images, install the hub and both charts, and wait until the operator is ready.

    Args:
        names: Images to build; all when none is named.
        values: Chart values in dotted form, with "__" for the dot.
    """
    target = context.up()
    built = images.build(names)
    say("loading images")
    target.load(image.archive for image in built)
    found = Installation(target, {image.name: image.reference for image in built})
    say("installing the hub and dedicated")
    _namespace(found, HUB)
    found.kubectl("apply", "-f", "-", given=json.dumps(hub_objects(found.references["demo-hub"])))
    found.kubectl("rollout", "status", "deployment/hub", f"--namespace={HUB}", "--timeout=120s", timeout_s=130)
    crds = str(REPO / "charts" / "dedicated-crds")
    # The other chart holds objects of these kinds, which helm looks up before it installs any of them.
    found.helm("upgrade", "--install", "dedicated-crds", crds, "--namespace", SYSTEM, "--create-namespace", "--wait")
    found.kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}", "--timeout=60s")
    upgrade(found, **values)
    return found


def upgrade(found: Installation, **values: object) -> None:
    """Install or upgrade the chart with these values and wait until the operator leads."""
    repository, _, tag = found.references["dedicated"].rpartition(":")
    hub_peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": HUB}}}
    wanted: dict[str, object] = {
        "image.repository": repository,
        "image.tag": tag,
        "engines.llamacpp.image": found.references["llamacpp"],
        "hub.endpoint": HUB_ENDPOINT,
        "isolation.extraEgress[0]": hub_peer,
        # Reached from this machine (hack.gateway_url); a cluster of somebody's opens no port of its nodes for us.
        "gateway.service.type": "ClusterIP" if found.target.provider == "foreign" else "NodePort",
        # A node of two cores has to hold the engines too.
        "gateway.replicas": 1,
        "gateway.resources.decisions.requests.cpu": "20m",
        "gateway.resources.envoy.requests.cpu": "20m",
        **{name.replace("__", "."): value for name, value in values.items()},
    }
    sets = [part for name, value in wanted.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
    found.helm("upgrade", "--install", "dedicated", str(REPO / "charts" / "dedicated"), "--namespace", SYSTEM, "--wait", "--timeout", "120s", *sets)


def uninstall(found: Installation) -> None:
    """Remove both charts and the hub."""
    for release in ("dedicated", "dedicated-crds"):
        found.helm("uninstall", release, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
    found.kubectl("delete", "namespace", HUB, "--ignore-not-found", "--wait=true", timeout_s=180)


def _namespace(found: Installation, name: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    found.kubectl("apply", "-f", "-", given=json.dumps(manifest))


def hub_objects(image: str) -> dict[str, object]:
    """The hub as a Deployment and a Service."""
    labels = {"app.kubernetes.io/name": "hub"}
    container = {
        "name": "hub",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--port", "8080", "--token", "hf_demo_reader=dedicated-demo/gated"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "hub", "namespace": HUB},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 2}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hub", "namespace": HUB},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [deployment, service]}


def sample(name: str) -> Path:
    """Path of a sample manifest."""
    return REPO / "crds" / "samples" / f"{name}.yaml"
