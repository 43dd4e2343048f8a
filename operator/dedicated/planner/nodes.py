"""Nodes, pods and node pools, as the API server stores them, as the facts that discovery asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from dedicated.core.quantities import quantity
from dedicated.planner.discovery import NodeFacts, NodeTemplate

Object = Mapping[str, Any]
_FINISHED = ("Succeeded", "Failed")


def of_node(node: Object, requested: Mapping[str, int]) -> NodeFacts:
    """
    A node.

    Args:
        requested: What its pods ask for; see `requests_by_node`.
    """
    metadata, spec, status = node.get("metadata") or {}, node.get("spec") or {}, node.get("status") or {}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    return NodeFacts(
        name=str(metadata.get("name", "")),
        labels=metadata.get("labels") or {},
        allocatable=_devices(status.get("allocatable") or {}),
        requested=requested,
        usable=ready and not spec.get("unschedulable", False),
    )


def requests_by_node(pods: Iterable[Object]) -> dict[str, Counter[str]]:
    """Extended resources that the unfinished pods of each node ask for; their init containers, which run before the others, are left out."""
    found: dict[str, Counter[str]] = {}
    for pod in pods:
        spec, node = pod.get("spec") or {}, (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in _FINISHED:
            counted = found.setdefault(node, Counter())
            for container in spec.get("containers") or ():
                counted.update(_devices((container.get("resources") or {}).get("limits") or {}))
    return found


def _devices(resources: Mapping[str, Any]) -> dict[str, int]:
    """Of a list of resources, the extended ones: their names have a domain, and they come in whole numbers."""
    return {name: int(quantity(value)) for name, value in resources.items() if "/" in name and not name.startswith("hugepages-")}


def of_node_pool(pool: Object) -> NodeTemplate:
    """Nodes that a Karpenter NodePool could add: the labels of its template, and its requirements with the operator In (karpenter.sh/v1)."""
    template = (pool.get("spec") or {}).get("template") or {}
    labels = {key: (str(value),) for key, value in ((template.get("metadata") or {}).get("labels") or {}).items()}
    wanted = [one for one in (template.get("spec") or {}).get("requirements") or () if one.get("operator") == "In"]
    required = {str(one.get("key")): tuple(map(str, one.get("values") or ())) for one in wanted}
    return NodeTemplate(str((pool.get("metadata") or {}).get("name", "")), {**labels, **required})
