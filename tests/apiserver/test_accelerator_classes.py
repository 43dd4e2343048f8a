"""The hardware catalogue on a real API server: the shipped classes are taken as they are, wrong ones are refused with a sentence."""

from __future__ import annotations

import pytest

from dedicated.api import names
from dedicated.planner.catalogue import CLASSES
from tests.support.cluster import Kubectl


def a_class(name="ours", **spec):
    whole = {"memory": "24Gi", "computeCapability": "8.9", **spec}
    return {"apiVersion": names.API_VERSION, "kind": "AcceleratorClass", "metadata": {"name": name}, "spec": whole}


@pytest.fixture(scope="module")
def admin(plane):
    found = Kubectl(plane.kubeconfig)
    found.must("wait", "--for=condition=Established", "crd/acceleratorclasses.inference.dedicated.dev")
    yield found
    found.must("delete", "acceleratorclasses", "--all")


def test_every_shipped_class_is_taken_and_comes_back_as_it_was(admin):
    admin.apply(*(a_class(name, **spec.to_dict()) for name, spec in CLASSES.items()))
    found = {one["metadata"]["name"]: one["spec"] for one in admin.all("acceleratorclasses")}
    assert found == {name: spec.to_dict() for name, spec in CLASSES.items()}


def test_what_is_left_out_gets_its_default(admin):
    admin.apply(a_class())
    found = admin.get("ac", "ours")["spec"]
    assert (found["vendor"], found["perNode"], found["interconnect"], found["resourceName"]) == ("nvidia", [1], "pcie", "nvidia.com/gpu")
    assert (found["bf16"], found["fp8"], found["nodeLabels"], found["taints"]) == (True, False, [], [])


BAD = [
    ("cpu", {}, "metadata.name must be at most 63 characters, and not cpu"),
    ("ours", {"memory": "lots"}, "spec.memory"),
    ("ours", {"computeCapability": "Ada"}, "computeCapability of vendor nvidia is such as 9.0"),
    ("ours", {"perNode": []}, "spec.perNode"),
    ("ours", {"perNode": [0]}, "spec.perNode"),
    ("ours", {"interconnect": "ethernet"}, "spec.interconnect"),
    ("ours", {"pricePerHour": -1}, "spec.pricePerHour"),
    ("ours", {"nodeLabels": [{"key": "a"}]}, "values are needed by the operators In, NotIn, Gt and Lt"),
    ("ours", {"nodeLabels": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "must be left out with Exists and DoesNotExist"),
    ("ours", {"nodeLabels": [{"key": "a", "operator": "Gt", "values": ["much"]}]}, "need exactly one value, a whole number"),
    ("ours", {"nodeLabels": [{"key": "a", "operator": "Lt", "values": ["1", "2"]}]}, "need exactly one value, a whole number"),
    ("ours", {"taints": [{"key": "a", "effect": "Never"}]}, "spec.taints"),
]


@pytest.mark.parametrize(("name", "spec", "says"), BAD)
def test_a_wrong_class_is_refused_with_a_sentence(admin, name, spec, says):
    assert says in admin.refused(a_class(name, **spec))
