"""The ways to spread a replica over devices, best first."""

from __future__ import annotations

from functools import lru_cache

from dedicated.api.endpoint import EngineKind
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.memory import Layout
from dedicated.planner.request import PlanRequest

PCIE_RANKS = 4
"""Ranks that split layers over PCIe before stages are better: each layer's sums cross the bus twice (vLLM's guide to parallelism)."""
MOST_NODES = 8
"""Machines that are tried where one is not enough."""


def counts_of(request: PlanRequest, accelerator: Accelerator) -> list[int]:
    """Numbers of devices to try: the one that is asked for, or those of one node, small ones first."""
    if request.count is not None:
        return [request.count]
    if request.tensor_parallel or request.pipeline_parallel:
        return [(request.tensor_parallel or 1) * (request.pipeline_parallel or 1)]
    powers = [2**power for power in range(8) if 2**power <= accelerator.most_per_node]
    return sorted({*powers, *accelerator.per_node})


def counts_over_nodes(request: PlanRequest, accelerator: Accelerator) -> list[int]:
    """Numbers of devices of several whole nodes, where the request leaves the number open."""
    if request.count is not None or request.tensor_parallel or request.pipeline_parallel or not accelerator.joinable:
        return []
    return [accelerator.most_per_node * nodes for nodes in (2, 3, 4, 6, MOST_NODES)]


def nodes_for(count: int, accelerator: Accelerator) -> int:
    """Fewest machines that hold so many devices; several machines are taken whole. 0 where that leaves a remainder."""
    most = accelerator.most_per_node
    if count <= most:
        return 1
    sizes = [size for size in accelerator.per_node if count % size == 0 and (size > 1 or most == 1)]
    return count // max(sizes) if sizes else 0


def layouts_of(count: int, accelerator: Accelerator, request: PlanRequest) -> list[Layout]:
    """Layouts of exactly so many devices; those that are asked for only, if any are."""
    nodes = nodes_for(count, accelerator)
    if request.engine is EngineKind.LLAMACPP:
        return [Layout(1, count, nodes)]
    found = _ordered(count, nodes, accelerator.linked)
    tp, pp = request.tensor_parallel, request.pipeline_parallel
    return [layout for layout in found if tp in (None, layout.tp) and pp in (None, layout.pp)]


@lru_cache(maxsize=512)
def _ordered(count: int, nodes: int, linked: bool) -> tuple[Layout, ...]:
    """
    Tensor parallelism inside a node, pipeline between nodes. Linked devices split layers as far as the node goes; over PCIe up to `PCIE_RANKS`.
    """
    inside = count // max(nodes, 1)
    most = inside if linked else min(inside, PCIE_RANKS)
    divisors = [tp for tp in range(1, count + 1) if count % tp == 0]
    return tuple(Layout(tp, count // tp, nodes) for tp in sorted(divisors, key=lambda tp: (tp > most, tp if tp > most else -tp)))
