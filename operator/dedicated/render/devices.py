"""
How a replica asks for its accelerators: as an extended resource, which a device plugin counts; or by a claim (dynamic resource allocation,
resource.k8s.io/v1), where the cluster has a driver's DeviceClass and no device plugin. Which of them is decided once for a cluster, by discovery.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from dedicated.api import names
from dedicated.api.accelerator import MEMORY_TOLERANCE, AcceleratorSpec
from dedicated.core.quantities import MIB
from dedicated.render.endpoint import Wanted
from dedicated.render.nodes import resource_name
from dedicated.render.platform import Platform

Manifest = dict[str, Any]

DEVICE_CLASSES = {"nvidia": "gpu.nvidia.com"}
"""DeviceClass, and name of the driver, by vendor (NVIDIA's DRA driver, deployments/helm/nvidia-dra-driver-gpu and deviceinfo.go)."""
REQUEST = "accelerator"


@dataclass(frozen=True)
class Devices:
    """What goes into the container, into the pod, and beside them."""

    resources: Manifest = field(default_factory=dict)
    claims: list[Manifest] = field(default_factory=list)
    pod_claims: list[Manifest] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)


def claims_are_used(device_classes: Collection[str], extended_resources: Collection[str]) -> bool:
    """Whether devices are asked for by claims: a driver is installed, and no device plugin counts the same devices."""
    return DEVICE_CLASSES["nvidia"] in device_classes and "nvidia.com/gpu" not in extended_resources


def devices(wanted: Wanted, platform: Platform) -> Devices:
    """How this replica asks for its accelerators."""
    if not wanted.accelerators:
        return Devices()
    found = wanted.accelerator_class
    if platform.claims and found is not None and found.vendor in DEVICE_CLASSES:
        return _claimed(wanted, found)
    return Devices(resources={resource_name(wanted): str(wanted.accelerators)})


def _claimed(wanted: Wanted, accelerator: AcceleratorSpec) -> Devices:
    name, driver = wanted.child(f"{wanted.revision}-{REQUEST}"), DEVICE_CLASSES[accelerator.vendor]
    exactly = {"deviceClassName": driver, "count": wanted.accelerators, "selectors": [{"cel": {"expression": _selector(driver, accelerator)}}]}
    template = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": wanted.meta(name, **{names.LABEL_REVISION: wanted.revision}),
        "spec": {"spec": {"devices": {"requests": [{"name": REQUEST, "exactly": exactly}]}}},
    }
    return Devices({}, [{"name": REQUEST}], [{"name": REQUEST, "resourceClaimTemplateName": name}], [template])


def _selector(driver: str, accelerator: AcceleratorSpec) -> str:
    """A device of the class: by its memory, within the tolerance of labels, and by what it computes."""
    mib = accelerator.memory_bytes / MIB
    least, most = int(mib * (1 - MEMORY_TOLERANCE)), int(mib * (1 + MEMORY_TOLERANCE))
    memory = f"device.capacity['{driver}'].memory"
    bounds = f"{memory}.compareTo(quantity('{least}Mi')) >= 0 && {memory}.compareTo(quantity('{most}Mi')) <= 0"
    compute = f"device.attributes['{driver}'].cudaComputeCapability.compareTo(semver('{accelerator.compute_capability}.0')) == 0"
    return f"{bounds} && {compute}"
