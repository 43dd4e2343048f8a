"""Placement as far as an API server sees it: plans on the status, classes that change, and accelerators by claims where a driver hands them out."""

from __future__ import annotations

import json

import pytest

from dedicated.planner.catalogue import CLASSES
from tests.support.cluster import Kubectl, endpoint, wait_until
from tests.support.pods import OURS, children

PLANNED = {"model": None, "hardware": {"accelerators": ["l4"], "count": 1}}


def a_class(name: str, **changes):
    spec = {**CLASSES[name].to_dict(), **changes}
    return {"apiVersion": "inference.dedicated.dev/v1alpha1", "kind": "AcceleratorClass", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def catalogue(plane):
    """Applies classes; none of them is left afterwards."""
    admin = Kubectl(plane.kubeconfig)
    yield admin
    admin.must("delete", "acceleratorclasses", "--all")


@pytest.fixture
def driver(plane):
    """A DeviceClass as NVIDIA's driver for dynamic resource allocation brings it."""
    admin = Kubectl(plane.kubeconfig)
    expression = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == 'gpu'"
    spec = {"selectors": [{"cel": {"expression": expression}}]}
    admin.apply({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu.nvidia.com"}, "spec": spec})
    yield admin
    admin.must("delete", "deviceclass", "gpu.nvidia.com")


def test_a_class_that_is_made_later_starts_what_waits_for_it(operator, kubectl, catalogue):
    operator.start()
    kubectl.apply(endpoint("one", **PLANNED))
    assert "the cluster has no AcceleratorClass" in kubectl.wait("one", "failed NoAcceleratorAllowed").diagnosis.message
    assert children(kubectl)["deployment"] == []
    catalogue.apply(a_class("l4"))
    assert kubectl.wait("one", "building EngineStarting").plan.accelerator == "l4"


def test_a_class_that_changes_changes_no_plan_that_was_made(operator, proxy, kubectl, catalogue):
    catalogue.apply(a_class("l4"))
    operator.start()
    kubectl.apply(endpoint("one", **PLANNED))
    before = kubectl.wait("one", "building EngineStarting")
    catalogue.apply(a_class("l4", pricePerHour=9.5))
    kubectl.apply(endpoint("two", **PLANNED))
    assert kubectl.wait("two", "building EngineStarting").plan.price_per_hour == 9.5
    assert kubectl.status("one").plan == before.plan and len(children(kubectl)["deployment"]) == 2


def test_where_a_driver_hands_out_devices_and_no_plugin_counts_them_they_are_claimed(operator, kubectl, catalogue, driver):
    catalogue.apply(a_class("l4"))
    operator.start()
    kubectl.apply(endpoint("one", **PLANNED))
    kubectl.wait("one", "building EngineStarting")
    (deployment,) = kubectl.all("deployment", OURS)
    pod = deployment["spec"]["template"]["spec"]
    (template,) = kubectl.all("resourceclaimtemplate", OURS)
    assert pod["resourceClaims"][0]["resourceClaimTemplateName"] == template["metadata"]["name"]
    assert "nvidia.com/gpu" not in json.dumps(pod["containers"][0]["resources"])
    kubectl.must("patch", "ie", "one", "--type=merge", '-p={"spec":{"hardware":{"memory":"128Mi"}}}')
    wait_until(
        "the template of the other revision", lambda: [found["metadata"]["name"] for found in templates(kubectl)] != [template["metadata"]["name"]]
    )
    wait_until("one template to be left", lambda: len(templates(kubectl)) == 1)
    kubectl.must("delete", "ie", "one")
    wait_until("everything to go", lambda: templates(kubectl) == [])


def templates(kubectl):
    return kubectl.all("resourceclaimtemplate", OURS)
