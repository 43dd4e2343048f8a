"""
Which GPUs a fake node has, and the labels that NVIDIA's GPU feature discovery (GFD) would give it.

Label names and how their values are made: github.com/NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery/README.md and internal/lm at
commit 1b826ac (nvml.go: versions, MIG, mode; resource.go: product, count, replicas, family; machine-type.go). GFD's timestamp is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from hack.cluster.layout import Layout
from hack.tools import ToolError

RESOURCE = "nvidia.com/gpu"
DEFAULT_PRODUCT = "NVIDIA-L4"
DEFAULT_COUNT = 2
FLEET_PRODUCT = "NVIDIA-H100-80GB-HBM3"
DRIVER = "580.95.05"
"""A data-centre driver of 2025; it brings CUDA 13.0 (NVIDIA's CUDA release notes, table 3)."""
CUDA = "13.0"
UNKNOWN_MACHINE = "unknown"
"""What GFD says where it cannot read the machine's type."""


@dataclass(frozen=True)
class Product:
    """
    A GPU as GFD names it.

    Args:
        name: Label `gpu.product`.
        memory_mib: Label `gpu.memory`: what NVML says, less than the nominal size. (MiB)
        compute: Compute capability.
        machine: Label `gpu.machine`: an instance type of a cloud that has it.
        mig: Whether it can be partitioned: A100, H100, H200, GH200, B200, RTX PRO 6000 (NVIDIA's MIG user guide, "Supported GPUs").
        mode: "graphics" where it can drive a display, as GFD tells by its PCI class.
    """

    name: str
    memory_mib: int
    compute: str
    machine: str = UNKNOWN_MACHINE
    mig: bool = False
    mode: str = "compute"


# Memory: nvidia-smi of recent drivers as modal-labs/modal-client PR 2797 and published dumps show it; B200: AWS's API, by Karpenter's list.
# Compute capability: developer.nvidia.com/cuda-gpus. Machines: Karpenter's AWS instance list; Azure's and GCP's sizes are named otherwise.
PRODUCTS = (
    Product("Tesla-T4", 15360, "7.5", "g4dn.xlarge"),
    Product("Tesla-V100-SXM2-16GB", 16384, "7.0", "p3.2xlarge"),
    Product("NVIDIA-L4", 23034, "8.9", "g6.12xlarge"),
    Product("NVIDIA-A10G", 23028, "8.6", "g5.xlarge"),
    Product("NVIDIA-A10", 23028, "8.6"),
    Product("NVIDIA-L40S", 46068, "8.9", "g6e.xlarge"),
    Product("NVIDIA-A100-SXM4-40GB", 40960, "8.0", "p4d.24xlarge", mig=True),
    Product("NVIDIA-A100-SXM4-80GB", 81920, "8.0", "p4de.24xlarge", mig=True),
    Product("NVIDIA-A100-80GB-PCIe", 81920, "8.0", mig=True),
    Product("NVIDIA-H100-80GB-HBM3", 81559, "9.0", "p5.48xlarge", mig=True),
    Product("NVIDIA-H100-NVL", 95830, "9.0", mig=True),
    Product("NVIDIA-H200", 143771, "9.0", "p5en.48xlarge", mig=True),
    Product("NVIDIA-GH200-480GB", 97871, "9.0", mig=True),
    Product("NVIDIA-B200", 183359, "10.0", "p6-b200.48xlarge", mig=True),
    Product("NVIDIA-GeForce-RTX-4090", 24564, "8.9", mode="graphics"),
    Product("NVIDIA-GeForce-RTX-5090", 32607, "12.0", mode="graphics"),
    Product("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", 97887, "12.0", "g7e.2xlarge", mig=True, mode="graphics"),
)


@dataclass(frozen=True)
class Gpus:
    """So many GPUs of one product on a node."""

    product: str = DEFAULT_PRODUCT
    count: int = DEFAULT_COUNT

    @property
    def labels(self) -> dict[str, str]:
        """The labels of a node that has them; none where there are none."""
        return labels(product(self.product), self.count) if self.count else {}

    def __str__(self) -> str:
        return f"{self.count} x {self.product}" if self.count else "no GPU"


def from_environment(environment: Mapping[str, str] = os.environ) -> Gpus:
    """
    The GPUs that GPUS and GPU_PRODUCT ask for.

    Raises:
        ToolError: GPUS is no number, or nobody knows the product.
    """
    given = environment.get("GPUS") or str(DEFAULT_COUNT)
    if not given.isdecimal():
        raise ToolError(f"GPUS={given} is no number of GPUs; say for example GPUS={DEFAULT_COUNT}, or GPUS=0 for none.")
    return Gpus(product(environment.get("GPU_PRODUCT") or DEFAULT_PRODUCT).name, int(given))


def remember(layout: Layout, gpus: Gpus) -> None:
    """Write down what a node is started with: the node's process, in namespaces of its own, reads it there."""
    layout.gpus_file.write_text(json.dumps(asdict(gpus)))


def gpus_of(layout: Layout) -> Gpus | None:
    """What a cluster's node was started with; None where nobody wrote it down."""
    return Gpus(**json.loads(layout.gpus_file.read_text())) if layout.gpus_file.exists() else None


def product(name: str) -> Product:
    """
    The product that GFD calls so; upper and lower case do not matter.

    Raises:
        ToolError: Nobody knows it.
    """
    found = next((known for known in PRODUCTS if known.name.lower() == name.lower()), None)
    if found is None:
        raise ToolError(f"There is no GPU '{name}'; known are {', '.join(known.name for known in PRODUCTS)}.")
    return found


def labels(of: Product, count: int) -> dict[str, str]:
    """Every label that GFD gives a node with `count` whole GPUs of a product, without MIG and without sharing."""
    major, minor = of.compute.split(".")
    gpu = {
        "product": of.name,
        "count": str(count),
        "replicas": "1",
        "sharing-strategy": "none",
        "memory": str(of.memory_mib),
        "family": family(of.compute),
        "compute.major": major,
        "compute.minor": minor,
        "machine": of.machine,
        "mode": of.mode,
        "present": "true",
    }
    others = {"mig.capable": str(of.mig).lower(), "mig.strategy": "single", "mps.capable": "false", "vgpu.present": "false"}
    return {f"nvidia.com/{key}": value for key, value in {**_prefixed("gpu", gpu), **_cuda(), **others}.items()}


def _prefixed(prefix: str, values: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{key}": value for key, value in values.items()}


def _cuda() -> dict[str, str]:
    """Versions of driver and CUDA, by their names of today and by those that GFD calls deprecated."""
    major, minor, revision = DRIVER.split(".")
    cuda_major, cuda_minor = CUDA.split(".")
    return {
        "cuda.driver.major": major,
        "cuda.driver.minor": minor,
        "cuda.driver.rev": revision,
        "cuda.runtime.major": cuda_major,
        "cuda.runtime.minor": cuda_minor,
        "cuda.driver-version.major": major,
        "cuda.driver-version.minor": minor,
        "cuda.driver-version.revision": revision,
        "cuda.driver-version.full": DRIVER,
        "cuda.runtime-version.major": cuda_major,
        "cuda.runtime-version.minor": cuda_minor,
        "cuda.runtime-version.full": CUDA,
    }


def family(compute: str) -> str:
    """GFD's word for the architecture (getArchFamily in internal/lm/resource.go)."""
    major, minor = (int(part) for part in compute.split("."))
    if major == 7:
        return "volta" if minor < 5 else "turing"
    if major == 8:
        return "ampere" if minor < 9 else "ada-lovelace"
    return {9: "hopper", 10: "blackwell", 12: "blackwell"}.get(major, "undefined")
