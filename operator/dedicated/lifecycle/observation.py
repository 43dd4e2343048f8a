"""The frozen snapshot that a decision is made from. Times are seconds since the epoch on the API server's clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dedicated.api.accelerator import AcceleratorSpec
from dedicated.api.endpoint import EndpointSpec
from dedicated.api.errors import DedicatedError
from dedicated.api.status import EndpointStatus, ModelStatus, Plan
from dedicated.diagnosis.evidence import Finding, PodFacts
from dedicated.weights.repository import Access


@dataclass(frozen=True)
class Workload:
    """The Deployment of one revision, as it is."""

    revision: str
    replicas: int
    created_at: float = 0.0
    refused: str = ""
    """Why its pods cannot be made, in the API server's words (condition ReplicaFailure)."""


@dataclass(frozen=True)
class Activity:
    """What gateways have written on the endpoint's activity Lease."""

    renewed_at: float | None = None
    """The last call that anybody has written down."""
    wake: int | None = None
    """The epoch that a call wants to end."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What each gateway says of a handover, by its annotation: an epoch, or busy."""


@dataclass(frozen=True)
class Gateway:
    """A gateway whose word a handover needs."""

    name: str
    gone: bool = False
    """Its node has not been ready for so long that nothing of it can be in flight."""


@dataclass(frozen=True)
class Load:
    """What the engine itself says of its requests. (busy: running and queued; None where no pod answered)"""

    busy: int | None
    mute_s: float = 0.0
    """How long one of its pods has not answered this question."""


@dataclass(frozen=True)
class Observation:
    """One endpoint's world at one time."""

    now: float
    name: str
    namespace: str
    uid: str
    generation: int
    spec: EndpointSpec
    status: EndpointStatus
    inputs_hash: str
    target: str | None = None
    """The revision that the spec asks for; None where the model is not known."""
    model: ModelStatus | None = None
    plan: Plan | None = None
    """What one replica runs on; None where nothing is planned yet."""
    accelerator_class: AcceleratorSpec | None = None
    """The class that the plan names, where there is such an object."""
    next_plan: Plan | None = None
    """What is tried next, where the planned class had no room in time."""
    problem: DedicatedError | None = None
    """Why the model, the right to read it, or the way to start the engine, is not there."""
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    pods: tuple[PodFacts, ...] = ()
    finding: Finding | None = None
    """What is wrong with the target's pods."""
    deadline: float | None = None
    """When time alone changes that."""
    capacity_grew_at: float = 0.0
    """When a node was last seen to appear or to grow."""
    access: Access | None = None
    """What this pass has proven of reading the model's files; None where it had no cause to ask."""
    lacks_token: str | None = None
    """The Secret with the hub token that the spec names, where no such Secret is labelled for it."""
    queue: str | None = None
    """The Kueue queue that the endpoint's label names."""
    namespace_uid: str = ""
    """UID of the endpoint's namespace, where something is made of it."""
    deleting: bool = False
    activity: Activity = field(default_factory=Activity)
    gateways: tuple[Gateway, ...] = ()
    """Gateways that exist."""
    load: Load | None = None
    """The engine's load; None where it was not asked."""
    gateway_url: str = ""
    """Where applications reach the gateway; empty where nobody has told."""
    renewal_s: float = 15.0
    """The shortest period between two renewals of a Lease."""

    @property
    def serving(self) -> str | None:
        """The revision that answers, as the status has it, if its Deployment still exists."""
        recorded = self.status.revisions.serving if self.status.revisions else None
        return recorded if recorded in self.workloads else None

    def ready(self, revision: str | None) -> int:
        """Pods of a revision that answer."""
        return sum(pod.ready and not pod.deleting for pod in self.pods if pod.revision == revision)

    def pods_left(self, revision: str | None) -> int:
        """Pods of a revision that still exist, going ones too."""
        return sum(pod.revision == revision for pod in self.pods)
