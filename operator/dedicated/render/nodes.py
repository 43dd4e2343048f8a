"""Which nodes a replica may run on, and what it takes of them: from the class of accelerator that the plan names."""

from __future__ import annotations

from typing import Any

from dedicated.render.endpoint import Wanted

GPU_RESOURCE = "nvidia.com/gpu"


def resource_name(wanted: Wanted) -> str:
    """The extended resource that one device of the class is."""
    return wanted.accelerator_class.resource_name if wanted.accelerator_class else GPU_RESOURCE


def affinity(wanted: Wanted) -> dict[str, Any]:
    """Nodes of the class, by any of the labels that tell it; empty where the class has none, or none is planned."""
    terms = wanted.accelerator_class.node_terms() if wanted.accelerator_class and wanted.accelerators else []
    if not terms:
        return {}
    selector = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def tolerations(wanted: Wanted) -> list[dict[str, Any]]:
    """Those of the spec, of the class, and of the taint that nodes with devices commonly carry."""
    found = [toleration.to_dict() for toleration in wanted.spec.hardware.tolerations]
    if not wanted.accelerators:
        return found
    taints = wanted.accelerator_class.taints if wanted.accelerator_class else []
    for taint in taints:
        effect = {"effect": taint.effect} if taint.effect else {}
        value = {"operator": "Equal", "value": taint.value} if taint.value is not None else {"operator": "Exists"}
        found.append({"key": taint.key, **value, **effect})
    common = {"key": resource_name(wanted), "operator": "Exists"}
    return found if common in found else [*found, common]
