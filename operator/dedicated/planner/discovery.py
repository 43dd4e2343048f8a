"""Which accelerator classes a cluster has now, which of their devices are free, and which classes a provisioner could add."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dedicated.api.accelerator import AcceleratorSpec, Requirement


@dataclass(frozen=True)
class NodeFacts:
    """
    A node as discovery sees it.

    Args:
        allocatable: Extended resources, in devices.
        requested: Of these, what its pods ask for.
        usable: Ready and not cordoned.
    """

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    requested: Mapping[str, int] = field(default_factory=dict)
    usable: bool = True


@dataclass(frozen=True)
class NodeTemplate:
    """Nodes that a provisioner could add (a Karpenter NodePool, a node group): for each label, the values that they may have."""

    name: str
    labels: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ClassState:
    """
    What a cluster has of a class.

    Args:
        nodes: Usable nodes. devices: On them. free: Of these, not asked for.
        most_free: Free on one node: the largest replica that starts now.
        most_per_node: Devices of the largest node: the largest replica that could start here at all.
        provisionable: Whether a template describes such nodes.
    """

    nodes: int = 0
    devices: int = 0
    free: int = 0
    most_free: int = 0
    most_per_node: int = 0
    provisionable: bool = False

    @property
    def exists(self) -> bool:
        """Whether there are such devices, or could be."""
        return self.devices > 0 or self.provisionable


def discover(nodes: Iterable[NodeFacts], classes: Mapping[str, AcceleratorSpec], templates: Iterable[NodeTemplate] = ()) -> dict[str, ClassState]:
    """What the cluster has of every class. A node counts for each class that describes it; a class without labels describes none."""
    here, possible = list(nodes), list(templates)
    return {name: _state(spec, here, possible) for name, spec in classes.items()}


def _state(spec: AcceleratorSpec, nodes: list[NodeFacts], templates: list[NodeTemplate]) -> ClassState:
    terms = spec.node_terms()
    mine = [node for node in nodes if node.usable and any(holds(term, _single(node.labels)) for term in terms)]
    devices = [node.allocatable.get(spec.resource_name, 0) for node in mine]
    free = [max(has - node.requested.get(spec.resource_name, 0), 0) for has, node in zip(devices, mine, strict=True)]
    return ClassState(
        nodes=sum(1 for has in devices if has),
        devices=sum(devices),
        free=sum(free),
        most_free=max(free, default=0),
        most_per_node=max(devices, default=0),
        provisionable=any(holds(term, template.labels) for template in templates for term in terms),
    )


def _single(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {key: (value,) for key, value in labels.items()}


def holds(term: Iterable[Requirement], labels: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether labels that may have these values can meet every requirement of a node selector term."""
    return all(_OPERATORS[str(one["operator"])](labels.get(str(one["key"]), ()), list(one.get("values", []))) for one in term)


def _numbers(values: Iterable[str]) -> list[int]:
    return [int(value) for value in values if value.lstrip("-").isdecimal()]


def _above(has: tuple[str, ...], bound: list[str]) -> bool:
    return any(number > limit for number in _numbers(has) for limit in _numbers(bound))


def _below(has: tuple[str, ...], bound: list[str]) -> bool:
    return any(number < limit for number in _numbers(has) for limit in _numbers(bound))


_OPERATORS: dict[str, Callable[[tuple[str, ...], list[str]], bool]] = {
    "In": lambda has, values: any(value in values for value in has),
    "NotIn": lambda has, values: not has or any(value not in values for value in has),
    "Exists": lambda has, _values: bool(has),
    "DoesNotExist": lambda has, _values: not has,
    "Gt": _above,
    "Lt": _below,
}
"""Operators of node selector terms (k8s.io/component-helpers scheduling/corev1/nodeaffinity)."""
