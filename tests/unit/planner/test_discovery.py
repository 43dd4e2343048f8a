"""Which classes a cluster has: by NVIDIA's labels, by clouds' labels, by AMD's, and what is no whole device."""

from __future__ import annotations

import pytest

from dedicated.api.accelerator import AcceleratorSpec, NodeLabel
from dedicated.planner.catalogue import CLASSES
from dedicated.planner.discovery import ClassState, NodeFacts, NodeTemplate, discover
from hack.cluster.gpus import PRODUCTS, labels

GPU = "nvidia.com/gpu"


def with_labels(found, gpus=8, **more):
    return NodeFacts("one", found, {GPU: gpus}, **more)


def present(*nodes, templates=()):
    return {name: state for name, state in discover(nodes, CLASSES, templates).items() if state.exists}


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_every_product_that_the_test_cluster_knows_belongs_to_one_class(product):
    (state,) = present(with_labels(labels(product, 4), gpus=4)).values()
    assert (state.nodes, state.devices, state.free) == (1, 4, 4)


def test_what_pods_ask_for_is_not_free():
    h100 = labels(next(product for product in PRODUCTS if "H100-80GB" in product.name), 8)
    nodes = [NodeFacts("a", h100, {GPU: 8}, {GPU: 6}), NodeFacts("b", h100, {GPU: 8}, {GPU: 8}), NodeFacts("c", h100, {GPU: 4}, {GPU: 1})]
    assert present(*nodes) == {"h100-80gb": ClassState(nodes=3, devices=20, free=5, most_free=3, most_per_node=8)}


def test_a_cordoned_node_does_not_count():
    assert present(with_labels(labels(PRODUCTS[0], 4), usable=False)) == {}


@pytest.mark.parametrize(("memory", "belongs"), [("81559", True), ("81920", True), ("80000", True), ("40000", False), ("20390", False)])
def test_memory_is_compared_with_tolerance_so_that_slices_are_no_devices(memory, belongs):
    found = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": memory}
    assert bool(present(with_labels(found))) == belongs


@pytest.mark.parametrize("product", ["NVIDIA-L4-SHARED", "NVIDIA-A100-SXM4-80GB-MIG-3g.40gb"])
def test_shared_and_partitioned_devices_are_of_no_class(product):
    assert present(with_labels({"nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": "23034"})) == {}


def test_a_cloud_that_calls_a_shared_card_by_its_name_is_not_believed():
    found = {"nvidia.com/gpu.product": "NVIDIA-L4-SHARED", "node.kubernetes.io/instance-type": "g6.xlarge"}
    assert present(with_labels(found)) == {}


def test_slices_of_one_size_are_a_class_of_their_own():
    found = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "nvidia.com/gpu.memory": "4864"}
    assert set(present(with_labels(found))) == {"a100-40gb-mig-1g.5gb"}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({"cloud.google.com/gke-accelerator": "nvidia-l4"}, "l4"),
        ({"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}, "h100-80gb"),
        ({"node.kubernetes.io/instance-type": "p4d.24xlarge"}, "a100-40gb"),
        ({"node.kubernetes.io/instance-type": "Standard_NC40ads_H100_v5"}, "h100-nvl"),
    ],
)
def test_without_nvidias_labels_a_clouds_own_decide(found, name):
    assert set(present(with_labels(found))) == {name}


def test_amds_cards_are_found_by_their_device_id_and_resource():
    mi300x = NodeFacts("amd", {"amd.com/gpu.device-id": "74a1", "amd.com/gpu.vram": "192G"}, {"amd.com/gpu": 8})
    assert present(mi300x) == {"mi300x": ClassState(nodes=1, devices=8, free=8, most_free=8, most_per_node=8)}


def test_a_class_that_a_provisioner_could_add_exists_without_a_node():
    pool = NodeTemplate("gpu", {"node.kubernetes.io/instance-type": ("p5.48xlarge", "m7i.large")})
    assert present(templates=[pool]) == {"h100-80gb": ClassState(provisionable=True)}


def test_entries_of_one_key_are_a_range_and_other_keys_are_alternatives():
    ours = AcceleratorSpec(
        memory="24Gi",
        compute_capability="8.9",
        node_labels=[
            NodeLabel(key="example.com/mib", operator="Gt", values=["20000"]),
            NodeLabel(key="example.com/mib", operator="Lt", values=["25000"]),
            NodeLabel(key="example.com/card", operator="Exists"),
        ],
    )

    def belongs(**said):
        return discover([with_labels({f"example.com/{key}": value for key, value in said.items()})], {"ours": ours})["ours"].devices > 0

    assert [belongs(mib=mib) for mib in ("20000", "20001", "24999", "25000", "many")] == [False, True, True, False, False]
    assert belongs(card="any") and not belongs(other="any")


def test_a_class_without_labels_describes_no_node():
    ours = AcceleratorSpec(memory="24Gi", compute_capability="8.9")
    assert not discover([with_labels({"any": "label"})], {"ours": ours})["ours"].exists
