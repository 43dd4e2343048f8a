"""Upgrading and uninstalling on a real cluster: no serving engine restarts, what stays says so, and in the end nothing is left."""

from __future__ import annotations

import json

import pytest

from hack import install as installing
from tests.cluster.conftest import SETTINGS
from tests.support.cluster import Kubectl, endpoint, sample, wait_until
from tests.support.pods import OURS

CRD = "inferenceendpoints.inference.dedicated.dev"
OTHER_RENDERING = {"operator__startupSeconds": 30, "isolation__blockedCidrs": ["10.0.0.0/8"], "engines__llamacpp__image": "localhost/another:1"}


@pytest.fixture
def installed(installation, kubectl):
    """The installation; afterwards, but before the test's namespace is cleaned, it is as the other tests want it."""
    yield installation
    installing.install(**SETTINGS)


def engines(kubectl: Kubectl) -> dict[str, tuple[str, int]]:
    """Of each engine pod its uid and how often it was restarted."""
    found = {}
    for pod in kubectl.all("pod", OURS):
        assert "deletionTimestamp" not in pod["metadata"]
        found[pod["metadata"]["name"]] = (pod["metadata"]["uid"], sum(c["restartCount"] for c in pod["status"]["containerStatuses"]))
    return found


def serve(kubectl: Kubectl, stub) -> dict[str, tuple[str, int]]:
    kubectl.apply(endpoint("one", engine=stub()), endpoint("two", engine=stub(), replicas=2), sample("gemma"))
    for name in ("one", "two", "gemma"):
        kubectl.wait(name, "up AllReady", 90)
    wait_until("both replicas", lambda: kubectl.status("two").ready_replicas == 2)
    return engines(kubectl)


def test_an_operator_upgrade_restarts_no_serving_engine(installed, kubectl, stub):
    """The new version renders everything differently, and a new endpoint gets what it renders."""
    before = serve(kubectl, stub)
    installing.upgrade(installed, **{**SETTINGS, **OTHER_RENDERING})
    kubectl.apply(endpoint("three", engine=stub()))
    kubectl.wait("three", "up AllReady")
    assert {name: found for name, found in engines(kubectl).items() if not name.startswith("three-")} == before
    assert [kubectl.phase(name) for name in ("one", "two", "gemma")] == ["up AllReady"] * 3
    manifest = sample("gemma")
    manifest["metadata"]["name"] = "four"
    kubectl.apply(manifest)
    wait_until("the new rendering", lambda: images(kubectl).get("four") == OTHER_RENDERING["engines__llamacpp__image"])
    assert images(kubectl)["gemma"] != images(kubectl)["four"]


def images(kubectl: Kubectl) -> dict[str, str]:
    """Of each endpoint the image of its engine, as it was rendered."""
    found = ((d["metadata"]["labels"]["inference.dedicated.dev/endpoint"], d["spec"]["template"]["spec"]) for d in kubectl.all("deployment", OURS))
    return {name: pod["containers"][0]["image"] for name, pod in found}


def test_without_its_operator_an_endpoint_serves_on_and_a_reinstalled_operator_takes_it_over(installed, kubectl, stub):
    before = serve(kubectl, stub)
    installed.helm("uninstall", "dedicated", "--namespace", installing.SYSTEM, "--wait")
    system = Kubectl(kubectl.kubeconfig, installing.SYSTEM)
    wait_until("the operator to go", lambda: not system.all("pod"))
    assert [found["metadata"]["name"] for found in kubectl.all("ie")] == ["gemma", "one", "two"]
    assert engines(kubectl) == before
    kubectl.must("delete", "ie", "gemma")
    wait_until("its pod to go, by its owner reference alone", lambda: len(kubectl.all("pod", OURS)) == 3, 60)
    installing.upgrade(installed, **SETTINGS)
    kubectl.apply(endpoint("one", engine=stub(), replicas=2))
    wait_until("the change to be made", lambda: kubectl.status("one").ready_replicas == 2)
    assert {name: found for name, found in before.items() if not name.startswith("gemma-")}.items() <= engines(kubectl).items()


def test_uninstalling_both_charts_leaves_nothing(installed, kubectl, stub):
    serve(kubectl, stub)
    said = installed.kubectl("get", "crd", CRD, "-o=jsonpath={.metadata.uid}")
    assert said
    installed.helm("uninstall", "dedicated", "--namespace", installing.SYSTEM, "--wait")
    installed.helm("uninstall", "dedicated-crds", "--namespace", installing.SYSTEM, "--wait")
    wait_until("everything to go", lambda: left(kubectl) == [], 90, lambda: str(left(kubectl)))


def left(kubectl: Kubectl) -> list[str]:
    """What says that it is part of dedicated, in any namespace; and the custom resource."""
    kinds = "deployments,replicasets,pods,services,endpointslices,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,leases,configmaps"
    kinds += ",namespaces,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings,roles,rolebindings"
    found = []
    for selector in ("app.kubernetes.io/part-of=dedicated", "app.kubernetes.io/managed-by=dedicated", OURS):
        items = json.loads(kubectl.must("get", kinds, "--all-namespaces", f"--selector={selector}", "-o=json"))["items"]
        found += [f"{item['kind']}/{item['metadata']['name']}" for item in items]
    leases = json.loads(kubectl.must("get", "leases,secrets", f"--namespace={installing.SYSTEM}", "-o=json"))["items"]
    found += [f"{item['kind']}/{item['metadata']['name']}" for item in leases]
    return found + (["crd"] if kubectl.run("get", "crd", CRD).returncode == 0 else [])
