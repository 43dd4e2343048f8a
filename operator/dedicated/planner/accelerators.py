"""An accelerator class as the planner sees it: numbers instead of quantities and labels."""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.accelerator import AcceleratorSpec


@dataclass(frozen=True)
class Accelerator:
    """
    One device of a class.

    Args:
        visible_bytes: What an engine sees. (bytes)
        memory_bytes: What labels and sellers say. (bytes)
        compute: CUDA compute capability; 0 for other vendors.
        per_node: Devices that nodes have.
        linked: Whether devices of a node talk over something faster than PCIe.
        joinable: Whether devices can be joined at all; slices cannot.
        price_per_hour: Of one device. (USD)
    """

    name: str
    visible_bytes: int
    memory_bytes: int
    vendor: str = "nvidia"
    compute: float = 9.0
    per_node: tuple[int, ...] = (1,)
    linked: bool = False
    joinable: bool = True
    bandwidth_gb_s: int = 0
    price_per_hour: float | None = None
    fp8: bool = False
    bf16: bool = True

    @property
    def most_per_node(self) -> int:
        """Devices of the largest node."""
        return max(self.per_node)


def accelerator_of(name: str, spec: AcceleratorSpec) -> Accelerator:
    """What an `AcceleratorClass` of this name says."""
    return Accelerator(
        name=name,
        visible_bytes=spec.visible_bytes,
        memory_bytes=spec.memory_bytes,
        vendor=spec.vendor,
        compute=float(spec.compute_capability) if spec.vendor == "nvidia" else 0.0,
        per_node=tuple(sorted(spec.per_node)),
        linked=spec.interconnect in ("nvlink", "infinity-fabric"),
        joinable=spec.interconnect != "none",
        bandwidth_gb_s=spec.memory_bandwidth or 0,
        price_per_hour=spec.price_per_hour,
        fp8=spec.fp8,
        bf16=spec.bf16,
    )
