"""
The accelerator classes that the chart installs. An admin edits the objects in the cluster; this is where they come from.

Sources, unless a row says another one. *Memory*: `nvidia-smi` of recent drivers, as modal-labs/modal-client PR 2797 and public dumps show it.
*Visible memory*: what vLLM's logs say (for example 79.18 GiB on an H100, vllm#55169), else memory less what comparable cards hide ("by comparison").
*Bandwidth*: the vendor's data sheet. *Labels*: GPU feature discovery of k8s-device-plugin (`nvidia.com/gpu.product`), GKE's accelerator names, and
the clouds' instance types. *Prices*: on demand, us-east-1, by karpenter-provider-aws zz_generated.pricing_aws.go of 2026-07-20, per device.
"""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.accelerator import PRODUCT_LABEL, AcceleratorSpec, NodeLabel, Taint
from dedicated.planner.accelerators import Accelerator, accelerator_of

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
GKE_LABEL = "cloud.google.com/gke-accelerator"
ANYWHERE = (1, 2, 4, 8)
"""Devices in a machine of one's own."""


@dataclass(frozen=True)
class Card:
    """One row. `gfd`, `gke` and `machines` are label values; `price` is per device and hour; `note` is where a value has another source."""

    name: str
    memory_mib: int
    visible_gib: float
    compute: str
    bandwidth: int
    per_node: tuple[int, ...]
    gfd: tuple[str, ...] = ()
    gke: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    price: float | None = None
    link: str = "pcie"
    fp8: bool = False
    arm: bool = False
    note: str = ""


CARDS = (
    Card("t4", 15360, 14.58, "7.5", 320, (1, 4, 8), ("Tesla-T4",), ("nvidia-tesla-t4",), ("g4dn.xlarge", "g4dn.12xlarge", "g4dn.metal"), 0.526),
    Card("l4", 23034, 22.03, "8.9", 300, (1, 4, 8), ("NVIDIA-L4",), ("nvidia-l4",), ("g6.xlarge", "g6.12xlarge", "g6.48xlarge"), 0.8048, fp8=True),
    Card("a10g", 23028, 22.06, "8.6", 600, (1, 4, 8), ("NVIDIA-A10G",), (), ("g5.xlarge", "g5.12xlarge", "g5.48xlarge"), 1.006),
    Card(
        "a10",
        23028,
        22.06,
        "8.6",
        600,
        (1, 2, 4),
        ("NVIDIA-A10",),
        (),
        ("Standard_NV36ads_A10_v5", "Standard_NV72ads_A10_v5", "VM.GPU.A10.1", "VM.GPU.A10.2", "BM.GPU.A10.4"),
    ),
    Card("l20", 46068, 44.4, "8.9", 864, ANYWHERE, ("NVIDIA-L20",), fp8=True, note="visible memory by comparison with L40S"),
    Card("l40", 46068, 44.4, "8.9", 864, ANYWHERE, ("NVIDIA-L40",), fp8=True, note="visible memory by comparison with L40S"),
    Card("l40s", 46068, 44.4, "8.9", 864, (1, 4, 8), ("NVIDIA-L40S",), (), ("g6e.xlarge", "g6e.12xlarge", "g6e.48xlarge"), 1.861, fp8=True),
    Card("a40", 46068, 44.4, "8.6", 696, ANYWHERE, ("NVIDIA-A40",), note="46068 MiB with ECC on, as shipped; visible memory by comparison with L40S"),
    Card(
        "a100-40gb",
        40960,
        39.4,
        "8.0",
        1555,
        (1, 2, 4, 8, 16),
        ("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"),
        ("nvidia-tesla-a100",),
        ("p4d.24xlarge",),
        2.7447,
        "nvlink",
        note="visible memory vllm#16570",
    ),
    Card(
        "a100-80gb",
        81920,
        79.2,
        "8.0",
        2039,
        (1, 2, 4, 8),
        ("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
        ("nvidia-a100-80gb",),
        ("p4de.24xlarge", "Standard_NC24ads_A100_v4", "Standard_NC48ads_A100_v4", "Standard_NC96ads_A100_v4", "Standard_ND96amsr_A100_v4"),
        3.4309,
        "nvlink",
    ),
    Card(
        "h100-80gb",
        81559,
        79.18,
        "9.0",
        3350,
        (1, 2, 4, 8),
        ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe"),
        ("nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
        ("p5.4xlarge", "p5.48xlarge", "Standard_ND96isr_H100_v5"),
        6.88,
        "nvlink",
        fp8=True,
        note="visible memory llm-d-planner docs/empirical-vllm-memory-results.md",
    ),
    Card(
        "h100-nvl",
        95830,
        93.1,
        "9.0",
        3900,
        (1, 2),
        ("NVIDIA-H100-NVL",),
        (),
        ("Standard_NC40ads_H100_v5", "Standard_NC80adis_H100_v5"),
        6.98,
        "nvlink",
        fp8=True,
        note="price deploybase.ai (Azure NC40ads, undated); visible memory by comparison with H100",
    ),
    Card("h20", 97871, 95.0, "9.0", 4000, (8,), ("NVIDIA-H20",), link="nvlink", fp8=True, note="visible memory by comparison with RTX PRO 6000"),
    Card(
        "h200",
        143771,
        139.8,
        "9.0",
        4800,
        (1, 2, 4, 8),
        ("NVIDIA-H200", "NVIDIA-H200-NVL"),
        ("nvidia-h200-141gb",),
        ("p5en.48xlarge", "p5e.48xlarge", "Standard_ND96isr_H200_v5"),
        7.912,
        "nvlink",
        fp8=True,
        note="visible memory by comparison with H100",
    ),
    Card("gh200", 97871, 94.5, "9.0", 4000, (1,), ("NVIDIA-GH200-480GB",), (), ("gpu_1x_gh200",), fp8=True, arm=True, note="memory kubeai charts"),
    Card(
        "b200",
        183359,
        178.35,
        "10.0",
        8000,
        (1, 2, 4, 8),
        ("NVIDIA-B200",),
        ("nvidia-b200",),
        ("p6-b200.48xlarge",),
        14.2416,
        "nvlink",
        fp8=True,
        note="visible memory pytorch/ao#4002",
    ),
    Card(
        "gb200",
        189471,
        184.3,
        "10.0",
        8000,
        (4,),
        ("NVIDIA-GB200",),
        ("nvidia-gb200",),
        ("BM.GPU.GB200.4",),
        None,
        "nvlink",
        fp8=True,
        arm=True,
        note="visible memory by comparison with B200",
    ),
    Card(
        "b300",
        275040,
        267.0,
        "10.3",
        8000,
        (8,),
        ("NVIDIA-B300-SXM6-AC",),
        (),
        ("p6-b300.48xlarge",),
        17.802,
        "nvlink",
        fp8=True,
        note="memory by AWS's API; the label is not verified",
    ),
    Card("rtx3090", 24576, 23.6, "8.6", 936, ANYWHERE, ("NVIDIA-GeForce-RTX-3090",), note="data sheet; visible memory by comparison with RTX 4090"),
    Card("rtx4070", 12282, 11.6, "8.9", 504, ANYWHERE, ("NVIDIA-GeForce-RTX-4070",), fp8=True, note="data sheet; visible memory by comparison"),
    Card("rtx4070-8gb", 8188, 7.6, "8.9", 256, (1,), ("NVIDIA-GeForce-RTX-4070-Laptop-GPU",), fp8=True, note="kubeai's profile of this name"),
    Card("rtx4080", 16376, 15.6, "8.9", 717, ANYWHERE, ("NVIDIA-GeForce-RTX-4080",), fp8=True, note="data sheet; visible memory by comparison"),
    Card("rtx4090", 24564, 23.6, "8.9", 1008, ANYWHERE, ("NVIDIA-GeForce-RTX-4090",), fp8=True, note="vllm#7553, vllm#7768"),
    Card("rtx5090", 32607, 31.4, "12.0", 1792, ANYWHERE, ("NVIDIA-GeForce-RTX-5090",), fp8=True, note="gpustack dumps; visible memory by comparison"),
    Card("rtx-a6000", 49140, 47.5, "8.6", 768, ANYWHERE, ("NVIDIA-RTX-A6000",), note="visible memory vllm#2363"),
    Card("rtx-6000-ada", 49140, 47.4, "8.9", 960, ANYWHERE, ("NVIDIA-RTX-6000-Ada-Generation",), fp8=True, note="visible memory by comparison"),
    Card(
        "rtx-pro-6000",
        97887,
        95.0,
        "12.0",
        1792,
        (1, 2, 4, 8),
        tuple(f"NVIDIA-RTX-PRO-6000-Blackwell-{edition}-Edition" for edition in ("Server", "Workstation", "Max-Q-Workstation")),
        ("nvidia-rtx-pro-6000",),
        ("g7e.2xlarge", "g7e.48xlarge"),
        3.36312,
        fp8=True,
        note="visible memory by comparison",
    ),
    Card(
        "v100-16gb",
        16384,
        15.77,
        "7.0",
        900,
        (1, 4, 8),
        ("Tesla-V100-SXM2-16GB", "Tesla-V100-PCIE-16GB"),
        ("nvidia-tesla-v100",),
        ("p3.2xlarge", "p3.8xlarge", "p3.16xlarge"),
        3.06,
        "nvlink",
        note="visible memory vllm#11251",
    ),
    Card(
        "v100-32gb",
        32768,
        31.7,
        "7.0",
        900,
        (8,),
        ("Tesla-V100-SXM2-32GB", "Tesla-V100-PCIE-32GB", "Tesla-V100-SXM3-32GB"),
        (),
        ("p3dn.24xlarge",),
        3.9015,
        "nvlink",
        note="visible memory vllm#2348; price AWS p3dn.24xlarge 31.212 / 8",
    ),
    Card(
        "a100-40gb-mig-1g.5gb",
        4864,
        4.7,
        "8.0",
        194,
        (1,),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",),
        link="none",
        note="strategy single: GFD's documentation; visible memory and bandwidth are an eighth of the whole",
    ),
)


@dataclass(frozen=True)
class AmdCard:
    """A card of AMD, by the labels of its node labeller (`amd.com/gpu.device-id`; several alternatives would be ambiguous)."""

    name: str
    memory_mib: int
    visible_gib: float
    architecture: str
    bandwidth: int
    device_id: str
    machines: tuple[str, ...]
    price: float | None
    note: str


AMD_CARDS = (
    AmdCard(
        "mi300x",
        196592,
        191.98,
        "gfx942",
        5300,
        "74a1",
        ("Standard_ND96isr_MI300X_v5", "BM.GPU.MI300X.8"),
        3.75,
        "ROCm/legacy-rocm-build#4750; price llm-d-planner gpu_catalog 2026-04",
    ),
    AmdCard("mi325x", 262128, 255.0, "gfx942", 6000, "74a5", (), None, "arithmetic from 256 GiB; device id by the data sheet, not verified"),
)


def _labels(*alternatives: tuple[str, tuple[str, ...]]) -> list[NodeLabel]:
    return [NodeLabel(key=key, values=list(values)) for key, values in alternatives if values]


def _spec(card: Card) -> AcceleratorSpec:
    arm = [Taint(key="kubernetes.io/arch", value="arm64")] if card.arm else []
    return AcceleratorSpec.model_validate(
        {
            "vendor": "nvidia",
            "memory": f"{card.memory_mib}Mi",
            "visible_memory": _mebibytes(card.visible_gib),
            "compute_capability": card.compute,
            "memory_bandwidth": card.bandwidth,
            "per_node": list(card.per_node),
            "interconnect": card.link,
            "resource_name": "nvidia.com/gpu",
            "node_labels": _labels((PRODUCT_LABEL, card.gfd), (GKE_LABEL, card.gke), (INSTANCE_TYPE, card.machines)),
            "taints": [Taint(key="nvidia.com/gpu"), *arm],
            "price_per_hour": card.price,
            "fp8": card.fp8,
            "bf16": float(card.compute) >= 8.0,
        }
    )


def _amd_spec(card: AmdCard) -> AcceleratorSpec:
    return AcceleratorSpec.model_validate(
        {
            "vendor": "amd",
            "memory": f"{card.memory_mib}Mi",
            "visible_memory": _mebibytes(card.visible_gib),
            "compute_capability": card.architecture,
            "memory_bandwidth": card.bandwidth,
            "per_node": [8],
            "interconnect": "infinity-fabric",
            "resource_name": "amd.com/gpu",
            "node_labels": _labels(("amd.com/gpu.device-id", (card.device_id,)), (INSTANCE_TYPE, card.machines)),
            "taints": [Taint(key="amd.com/gpu")],
            "price_per_hour": card.price,
            "fp8": True,
        }
    )


def _mebibytes(gib: float) -> str:
    return f"{round(gib * 1024)}Mi"


CLASSES: dict[str, AcceleratorSpec] = {
    **{card.name: _spec(card) for card in CARDS},
    **{card.name: _amd_spec(card) for card in AMD_CARDS},
}
"""Every class by its name."""
SOURCES: dict[str, str] = {card.name: card.note for card in (*CARDS, *AMD_CARDS)}
"""Where a class's values have another source than the docstring says."""


def accelerators() -> list[Accelerator]:
    """Every class as the planner sees it."""
    return [accelerator_of(name, spec) for name, spec in CLASSES.items()]
