"""The hardware catalogue: an `AcceleratorClass` says what one kind of accelerator is, how its nodes are recognised, and what it costs."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from dedicated.api.schema import Quantity, Schema, rule, rules
from dedicated.core.quantities import GIB, MIB, quantity

KIND = "AcceleratorClass"
PLURAL = "acceleratorclasses"

MEMORY_LABEL = "nvidia.com/gpu.memory"
PRODUCT_LABEL = "nvidia.com/gpu.product"
MEMORY_TOLERANCE = 0.1
"""
Share by which a node's label may differ from the class: drivers and clouds disagree by 0.4 to 3 percent (an A100-40 says 39538, 40536 or 40960 MiB),
while slices of a device (vGPU) differ by half and more.
"""
HIDDEN_BYTES = GIB // 2
"""What an engine sees less than the label says, where nobody measured it (H100: 79.65 -> 79.18 GiB; L4: 22.49 -> 22.03; vLLM's logs)."""

Requirement = dict[str, Any]
"""One entry of matchExpressions in a node selector term."""


class NodeLabel(Schema):
    """A label by which nodes are recognised. Entries with the same key must all hold (a range); entries with different keys are alternatives."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.operator in ['Exists', 'DoesNotExist'] ? size(self.values) == 0 : size(self.values) > 0",
                "values are needed by the operators In, NotIn, Gt and Lt, and must be left out with Exists and DoesNotExist",
            ),
            rule(
                "!(self.operator in ['Gt', 'Lt']) || (size(self.values) == 1 && self.values[0].matches('^[0-9]+$'))",
                "the operators Gt and Lt need exactly one value, a whole number",
            ),
        )
    )

    key: str = Field(min_length=1, max_length=316, description="Label key, such as nvidia.com/gpu.product.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(default="In", description="As in a node selector.")
    values: list[Annotated[str, Field(max_length=63)]] = Field(default=[], max_length=64, description="What the label may say.")

    def requirement(self) -> Requirement:
        """As a node selector has it."""
        return {"key": self.key, "operator": self.operator, **({"values": list(self.values)} if self.values else {})}


class Taint(Schema):
    """A taint that nodes of this class carry, and that pods on them tolerate."""

    key: str = Field(min_length=1, max_length=316, description="Taint key.")
    value: str | None = Field(default=None, max_length=63, description="Taint value; absent means any.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None, description="Effect; absent means all.")


class AcceleratorSpec(Schema):
    """What one device of the class is, and how its nodes are found."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.vendor != 'nvidia' || self.computeCapability.matches('^[0-9]+[.][0-9]$')", "computeCapability of vendor nvidia is such as 9.0"
            ),
        )
    )

    vendor: Literal["nvidia", "amd", "intel", "other"] = Field(default="nvidia", description="Who made it.")
    memory: Quantity = Field(description="Memory of one device as its node's label says it, such as 81559Mi.")
    visible_memory: Quantity | None = Field(default=None, description="What an engine sees of it; absent means half a GiB less than memory.")
    compute_capability: str = Field(
        min_length=1, max_length=16, description="CUDA compute capability such as 9.0; for other vendors the architecture, such as gfx942."
    )
    memory_bandwidth: int | None = Field(default=None, ge=1, le=1_000_000, description="Memory bandwidth. (GB/s)")
    per_node: list[Annotated[int, Field(ge=1, le=128)]] = Field(
        default=[1], min_length=1, max_length=16, description="Devices that nodes of this class have, such as [1, 4, 8]."
    )
    interconnect: Literal["nvlink", "infinity-fabric", "pcie", "none"] = Field(
        default="pcie", description="What links the devices of a node; none means that they cannot be joined (MIG slices, shared devices)."
    )
    resource_name: str = Field(default="nvidia.com/gpu", min_length=3, max_length=316, description="Extended resource of one device.")
    node_labels: list[NodeLabel] = Field(
        default=[], max_length=32, description="How nodes are recognised: entries of one key must all hold, different keys are alternatives."
    )
    taints: list[Taint] = Field(default=[], max_length=16, description="Taints of these nodes, which pods on them tolerate.")
    price_per_hour: float | None = Field(default=None, ge=0, description="Price of one device; absent means unknown. (USD per hour)")
    fp8: bool = Field(default=False, description="Whether it multiplies in fp8 (weights and activations).")
    bf16: bool = Field(default=True, description="Whether it computes in bfloat16.")

    @property
    def memory_bytes(self) -> int:
        """Memory by the label. (bytes)"""
        return int(quantity(self.memory))

    @property
    def visible_bytes(self) -> int:
        """What an engine sees. (bytes)"""
        return int(quantity(self.visible_memory)) if self.visible_memory is not None else self.memory_bytes - HIDDEN_BYTES

    def node_terms(self) -> list[list[Requirement]]:
        """
        Node selector terms, of which one must hold.

        NVIDIA's own product label decides where a node has it: it tells slices (`-SHARED`, `-MIG-...`) from whole devices, which a cloud's labels do
        not; and such a node must also have about the memory that the class says.
        """
        by_key = groupby(sorted(self.node_labels, key=lambda label: label.key), key=lambda label: label.key)
        return [[label.requirement() for label in labels] + self._besides(key) for key, labels in by_key]

    def _besides(self, key: str) -> list[Requirement]:
        keys = {label.key for label in self.node_labels}
        if key not in (PRODUCT_LABEL, MEMORY_LABEL) and PRODUCT_LABEL in keys:
            return [{"key": PRODUCT_LABEL, "operator": "DoesNotExist"}]
        if key != PRODUCT_LABEL or MEMORY_LABEL in keys:
            return []
        mib = self.memory_bytes / MIB
        bounds = (("Gt", 1 - MEMORY_TOLERANCE), ("Lt", 1 + MEMORY_TOLERANCE))
        return [{"key": MEMORY_LABEL, "operator": operator, "values": [str(int(mib * factor))]} for operator, factor in bounds]


class AcceleratorStatus(Schema):
    """What the cluster has of it. Written by the operator."""

    nodes: int | None = Field(default=None, description="Nodes of this class.")
    free: int | None = Field(default=None, description="Devices on them that no pod asked for.")
    provisionable: bool | None = Field(default=None, description="Whether a provisioner of the cluster can add such nodes.")
