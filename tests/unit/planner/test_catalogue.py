"""The catalogue that the chart installs: every row is whole, and believable."""

from __future__ import annotations

import re

import pytest

from dedicated.api.accelerator import AcceleratorSpec
from dedicated.core.quantities import GIB, MIB
from dedicated.planner.accelerators import accelerator_of
from dedicated.planner.catalogue import CLASSES

OWNED = ["v100-16gb", "v100-32gb", "a40", "rtx-a6000", "rtx3090", "rtx4070", "rtx4070-8gb", "rtx4080", "rtx4090", "rtx5090", "l20", "gh200"]
RENTED = [
    "t4",
    "l4",
    "a10g",
    "a10",
    "l40s",
    "a100-40gb",
    "a100-80gb",
    "h100-80gb",
    "h100-nvl",
    "h200",
    "b200",
    "gb200",
    "b300",
    "rtx-6000-ada",
    "rtx-pro-6000",
    "mi300x",
    "mi325x",
]


def test_cards_that_are_rented_and_cards_that_people_still_own_are_there():
    assert set(OWNED) | set(RENTED) <= set(CLASSES)


@pytest.mark.parametrize(("name", "spec"), CLASSES.items(), ids=CLASSES)
def test_every_class_is_whole(name, spec):
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", name) and name != "cpu"
    assert spec.node_labels and spec.taints and spec.memory_bandwidth and spec.resource_name
    assert spec.memory_bytes - 8 * GIB < spec.visible_bytes < spec.memory_bytes
    assert list(spec.per_node) == sorted(set(spec.per_node))
    assert AcceleratorSpec.model_validate(spec.to_dict()) == spec


def test_no_two_classes_claim_the_same_product():
    claimed = [(label.key, value) for spec in CLASSES.values() for label in spec.node_labels for value in label.values]
    assert len(claimed) == len(set(claimed))


def test_an_h100_as_the_planner_sees_it():
    h100 = accelerator_of("h100-80gb", CLASSES["h100-80gb"])
    assert h100.memory_bytes == 81_559 * MIB and h100.visible_bytes == pytest.approx(79.18 * GIB, rel=1e-4)
    assert (h100.compute, h100.per_node, h100.linked, h100.fp8, h100.price_per_hour) == (9.0, (1, 2, 4, 8), True, True, 6.88)


def test_cards_before_ampere_have_no_bf16_and_cards_before_ada_no_fp8():
    assert [name for name, spec in CLASSES.items() if not spec.bf16] == ["t4", "v100-16gb", "v100-32gb"]
    assert not any(CLASSES[name].fp8 for name in ("t4", "a10g", "a100-80gb", "rtx-a6000", "a40", "rtx3090"))


def test_what_an_engine_sees_is_half_a_gibibyte_less_where_nobody_measured_it():
    assert AcceleratorSpec(memory="24Gi", compute_capability="8.9").visible_bytes == 23.5 * GIB


def test_a_pod_may_go_where_the_product_is_right_or_where_only_the_cloud_speaks():
    product, cloud = CLASSES["l4"].node_terms()[2], CLASSES["l4"].node_terms()[0]
    assert product == [
        {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]},
        {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["20730"]},
        {"key": "nvidia.com/gpu.memory", "operator": "Lt", "values": ["25337"]},
    ]
    assert cloud == [
        {"key": "cloud.google.com/gke-accelerator", "operator": "In", "values": ["nvidia-l4"]},
        {"key": "nvidia.com/gpu.product", "operator": "DoesNotExist"},
    ]
