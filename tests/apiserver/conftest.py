"""A real API server, etcd and controllers for the session; a namespace, a hub and an operator for each test that asks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from hack.cluster.controlplane import start_control_plane
from hack.hub.server import Hub
from hack.tools import REPO
from tests.support.cluster import Kubectl, wait_until
from tests.support.hub import make_models, serving
from tests.support.process import Operator, kubeconfig_for
from tests.support.proxy import proxied

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items):
    for item in items:
        if "apiserver" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.apiserver)


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    with start_control_plane(tmp_path_factory.mktemp("plane"), controllers=True) as running:
        admin = Kubectl(running.kubeconfig)
        admin.must("apply", f"--filename={REPO / 'crds'}")
        admin.must("create", "namespace", "dedicated-system")
        admin.must("wait", "--for=condition=Established", "crd/inferenceendpoints.inference.dedicated.dev")
        wait_until("the CRD to be served", lambda: admin.run("get", "inferenceendpoints").returncode == 0)
        yield running


@pytest.fixture
def kubectl(plane):
    """kubectl in a namespace of its own; every endpoint in it is deleted at the end, so that the next test's operator meets none."""
    found = Kubectl(plane.kubeconfig, f"test-{next(_numbers)}")
    found.must("create", "namespace", found.namespace)
    yield found
    found.must("delete", "inferenceendpoints", "--all", "--wait=true")
    found.must("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    server = Hub(make_models(tmp_path_factory.mktemp("models")), {"hf_goodgoodgood": ["acme/gated", "acme/secret"]})
    with serving(server) as url:
        yield url, server


@pytest.fixture
def proxy(plane):
    with proxied(plane) as running:
        yield running


@pytest.fixture
def operator(plane, proxy, hub, tmp_path):
    """An operator behind the proxy, not yet started."""
    found = Operator(kubeconfig_for(proxy.url, tmp_path / "kubeconfig"), tmp_path / "operator.log", hub[0])
    yield found
    found.kill()
    Kubectl(plane.kubeconfig, "dedicated-system").must("delete", "lease", "--all")
