"""One endpoint as the API server has it, read once in a pass; and the clients that every pass shares."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from dedicated.adapters.hub import Hub
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.load import EngineLoads
from dedicated.adapters.recent import Recent
from dedicated.adapters.records import Records
from dedicated.adapters.store import Store
from dedicated.adapters.witnesses import Witnesses
from dedicated.api.endpoint import EndpointSpec
from dedicated.api.status import EndpointStatus
from dedicated.diagnosis.evidence import Limits
from dedicated.render.platform import Platform

Manifest = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Clients:
    """What every pass shares."""

    kube: KubeApi
    hub: Hub
    store: Store
    platform: Platform
    system_key: bytes
    limits: Limits
    inventory: InventoryReader
    recent: Recent = field(default_factory=Recent)
    records: Records = field(default_factory=Records)
    witnesses: Witnesses | None = None
    """What gateways tell; None where there are none."""
    loads: EngineLoads = field(default_factory=EngineLoads)
    renewal_s: float = 15.0
    """The shortest period between two renewals of an activity Lease."""


class EndpointView:
    """Spec, status and metadata of one endpoint, parsed."""

    def __init__(self, clients: Clients, endpoint: Manifest) -> None:
        self._recent = clients.recent
        self.raw = endpoint
        self.meta: Manifest = endpoint["metadata"]
        self.spec: EndpointSpec = self.once("spec", (), lambda: EndpointSpec.model_validate(endpoint["spec"]))
        self.old_status: Manifest = endpoint.get("status") or {}
        self.status = status_of(self.old_status)
        self.annotations: Mapping[str, str] = self.meta.get("annotations") or {}
        self.marks = tuple(sorted(self.annotations.items()))

    def once(self, what: str, key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
        """What follows from the spec and this key alone: made anew when one of them changed."""
        return self._recent.of(what, self.meta["uid"], (self.meta.get("generation"), *key), make)


def status_of(raw: Manifest) -> EndpointStatus:
    """The status as it was left. One that a newer operator left may hold a reason that this one does not know: then that part is made anew."""
    for left_out in ((), ("diagnosis", "phase"), ("diagnosis", "phase", "plan")):
        try:
            return EndpointStatus.model_validate({key: value for key, value in raw.items() if key not in left_out})
        except ValidationError:
            continue
    return EndpointStatus()
