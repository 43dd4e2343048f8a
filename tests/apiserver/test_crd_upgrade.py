"""The chart dedicated-crds is upgraded from an older schema to today's, with endpoints in the cluster: all of them survive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dedicated.lifecycle.manifests import covers
from hack.cluster.controlplane import start_control_plane
from hack.lint_charts import CRD_CHART, helm
from hack.tools import REPO
from tests.support.cluster import Kubectl, endpoint, sample, wait_until
from tests.support.pods import children
from tests.support.process import Operator

CRD = "inferenceendpoints.inference.dedicated.dev"
OLDER = Path(__file__).parents[1] / "fixtures" / "crds" / "older.yaml"
HASH = "inference.dedicated.dev/schema-hash"


@pytest.fixture(scope="module")
def old_plane(tmp_path_factory):
    """A control plane that knows the older schema, installed by its chart."""
    chart = tmp_path_factory.mktemp("chart") / "dedicated-crds"
    shutil.copytree(CRD_CHART, chart)
    (chart / "templates" / f"{CRD}.yaml").write_text(OLDER.read_text())
    with start_control_plane(tmp_path_factory.mktemp("plane"), controllers=True) as running:
        admin = Kubectl(running.kubeconfig)
        install(running, chart)
        wait_until("the CRD to be served", lambda: admin.run("get", "inferenceendpoints").returncode == 0)
        admin.must("create", "namespace", "team-a")
        yield running


def install(plane, chart: Path) -> None:
    helm(
        "upgrade", "--install", "dedicated-crds", str(chart), f"--kubeconfig={plane.kubeconfig}", "--namespace=dedicated-system", "--create-namespace"
    )


def test_endpoints_survive_an_upgrade_of_the_schema_and_the_new_operator_takes_them_up(old_plane, tmp_path):
    kubectl = Kubectl(old_plane.kubeconfig, "team-a")
    kubectl.apply(endpoint("plain"), sample("gemma"), endpoint("paused", suspend=True))
    status = {"status": {"id": "endpt-of-an-older-operator", "phase": "paused", "observedGeneration": 1}}
    kubectl.must("patch", "ie", "paused", "--subresource=status", "--type=merge", f"-p={json.dumps(status)}")
    before = {found["metadata"]["name"]: found for found in kubectl.all("ie")}
    assert Kubectl(old_plane.kubeconfig).get("crd", CRD)["metadata"]["annotations"][HASH] in OLDER.read_text()

    install(old_plane, REPO / "charts" / "dedicated-crds")
    new_hash = Kubectl(old_plane.kubeconfig).get("crd", CRD)["metadata"]["annotations"][HASH]
    assert new_hash not in OLDER.read_text()
    wait_until("the new schema to be served", lambda: "engine-env" in kubectl.must("explain", "ie.spec.engine.env"))
    after = {found["metadata"]["name"]: found for found in kubectl.all("ie")}
    assert after.keys() == before.keys()
    for name, old in before.items():
        assert after[name]["metadata"]["uid"] == old["metadata"]["uid"] and after[name]["metadata"]["generation"] == old["metadata"]["generation"]
        assert covers(after[name]["spec"], old["spec"]) and after[name].get("status") == old.get("status")
        assert "wake" not in old["spec"] and after[name]["spec"]["wake"]["maxHold"] == "10m", "what is new has its default"

    operator = Operator(old_plane.kubeconfig, tmp_path / "operator.log")
    operator.start()
    try:
        assert kubectl.wait("plain", "building EngineStarting").observed_generation == 1
        assert kubectl.wait("paused", "paused Suspended").id != "endpt-of-an-older-operator"
        assert len(children(kubectl)["deployment"]) == 1
        kubectl.must("patch", "ie", "plain", "--type=merge", '-p={"spec":{"replicas":2}}')
        wait_until("the change to be seen", lambda: kubectl.status("plain").observed_generation == 2)
    finally:
        operator.kill()


def test_a_schema_that_is_taken_back_is_noticed_by_the_operator_that_starts_next(old_plane, tmp_path):
    chart = tmp_path / "dedicated-crds"
    shutil.copytree(CRD_CHART, chart)
    (chart / "templates" / f"{CRD}.yaml").write_text(OLDER.read_text())
    install(old_plane, chart)
    operator = Operator(old_plane.kubeconfig, tmp_path / "operator.log")
    operator.start(wait=False)
    assert operator.process is not None and operator.process.wait(30) == 1
    assert "upgrade the chart dedicated-crds first" in operator.text()


def test_without_the_custom_resource_nothing_is_left_even_where_no_operator_runs(plane, operator, kubectl, tmp_path):
    """What belongs to no single endpoint belongs to the custom resource itself."""
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    definition = Kubectl(plane.kubeconfig).get("crd", CRD)["metadata"]["uid"]
    shared = [kubectl.get(kind, "dedicated-engine") for kind in ("serviceaccount", "networkpolicy")]
    system = Kubectl(plane.kubeconfig, "dedicated-system")
    shared += [system.get("secret", "dedicated-engine-key"), system.get("lease", "dedicated-operator")]
    for found in shared:
        assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [definition], found["metadata"]["name"]
