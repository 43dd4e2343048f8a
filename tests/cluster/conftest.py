"""A real cluster with dedicated in it, for the session; a namespace for each test. What fails leaves its evidence in artifacts/."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from hack.install import install
from hack.tools import REPO
from tests.support.cluster import Kubectl

LAST = ["test_sleep_races.py", "test_weights.py", "test_installation.py", "test_demo.py", "test_bare_cluster.py"]
"""The first two upgrade the chart, the demo installs anew with its own values; the last one kills and ends the cluster."""
SETTINGS = {
    "operator__placementSeconds": 8,
    "operator__capacitySeconds": 4,
    "operator__startupSeconds": 12,
    "operator__startSeconds": 20,
    "operator__resyncSeconds": 50,
    "operator__logLevel": "debug",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if "cluster" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.cluster)
    items.sort(key=lambda item: LAST.index(name) if (name := Path(item.fspath).name) in LAST else -1)


@pytest.fixture(scope="session")
def installation():
    return install(**SETTINGS)


@pytest.fixture(scope="session")
def chart_settings():
    """What the chart is installed with, for who upgrades it."""
    return SETTINGS


@pytest.fixture
def stub(installation):
    """A spec of the stub engine with these arguments."""

    def engine(*args: str, **more):
        image = installation.references["stub-engine"]
        return {"kind": "custom", "image": image, "port": 8000, "healthPath": "/health", "args": list(args), **more}

    return engine


@pytest.fixture
def kubectl(installation, request):
    found = Kubectl(installation.target.kubeconfig, f"story-{uuid.uuid4().hex[:8]}")
    found.must("create", "namespace", found.namespace)
    yield found
    if getattr(request.node, "failed", False):
        evidence(found, request.node.name)
    found.must("delete", "inferenceendpoints", "--all", "--wait=true")
    found.must("delete", "namespace", found.namespace, "--wait=false")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    item.failed = getattr(item, "failed", False) or outcome.get_result().failed


def evidence(kubectl: Kubectl, test: str) -> None:
    """Objects, events and logs of a failed test."""
    folder = REPO / "artifacts" / test.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objects.yaml").write_text(kubectl.run("get", "ie,deployment,pod,service,secret,networkpolicy,pdb", "-o=yaml").stdout)
    (folder / "events.txt").write_text(kubectl.run("get", "events", "--sort-by=.lastTimestamp").stdout)
    (folder / "operator.log").write_text(kubectl.run("logs", "--namespace=dedicated-system", "deployment/dedicated-operator", "--tail=500").stdout)
