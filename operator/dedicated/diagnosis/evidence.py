"""The facts that a cause is concluded from. Times are seconds since the epoch, as the API server wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.reasons import Reason
from dedicated.diagnosis.causes import Coarse


@dataclass(frozen=True)
class Termination:
    """How a container ended."""

    exit_code: int
    reason: str = ""
    message: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether that was a failure."""
        return self.exit_code != 0 or self.reason == "OOMKilled"

    @property
    def ran_s(self) -> float:
        """How long it ran. (seconds)"""
        return max(0.0, self.finished_at - self.started_at)


@dataclass(frozen=True)
class ContainerFacts:
    """One container of a pod: at most one of waiting, running and terminated speaks of now; `last` of the run before."""

    name: str
    init: bool = False
    started: bool = False
    """Its startup probe has passed in this run."""
    ready: bool = False
    restarts: int = 0
    waiting_reason: str = ""
    waiting_message: str = ""
    running_since: float | None = None
    terminated: Termination | None = None
    last: Termination | None = None
    log_tail: str = ""
    """Of the run that failed or hangs."""
    earlier_log: str = ""
    """Of the run before that, where it was asked for."""
    progressed_at: float | None = None
    """When a run that hangs last said something new."""

    @property
    def failure(self) -> Termination | None:
        """The newest run that ended badly: killed for memory counts whatever its exit code (seen: OOMKilled with exit code 0)."""
        return next((ended for ended in (self.terminated, self.last) if ended and ended.bad), None)


@dataclass(frozen=True)
class ContainerLog:
    """What was read of a container's logs: of the run in question, of the one before, and when the first last said something new."""

    tail: str = ""
    earlier: str = ""
    progressed_at: float | None = None


@dataclass(frozen=True)
class EventFacts:
    """A core Event about a pod."""

    reason: str
    message: str
    warning: bool
    at: float = 0.0


@dataclass(frozen=True)
class PodFacts:
    """One pod. `scheduled` is None where the scheduler has not looked yet."""

    name: str
    revision: str
    created_at: float
    phase: str = "Pending"
    node: str | None = None
    node_silent_since: float | None = None
    """Since when the node is not ready; None while it is."""
    address: str | None = None
    ready: bool = False
    ready_at: float | None = None
    """Since when it is ready."""
    deleting: bool = False
    scheduled: bool | None = None
    scheduled_at: float | None = None
    gated: bool = False
    """Something keeps it from the scheduler, such as a queue that has not admitted it."""
    unschedulable_message: str = ""
    reason: str = ""
    message: str = ""
    containers: tuple[ContainerFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()

    def container(self, name: str) -> ContainerFacts | None:
        """The container of this name."""
        return next((container for container in self.containers if container.name == name), None)


@dataclass(frozen=True)
class Limits:
    """Deadlines. (seconds)"""

    placement_s: float
    """From the pod's creation until a node must have room."""
    start_s: float
    """From placement until the first container must have started."""
    startup_s: float = 0.0
    """From the engine's start until it must answer."""
    capacity_s: float = 60.0
    """From the pod's creation until another class of accelerator is tried, if there is one."""
    coming_s: float = 600.0
    """The same while a provisioner adds a node."""
    restarts: int = 3
    """Failed runs after which an attempt is given up."""
    served: bool = False
    """Whether this revision has answered before: then one crash is no reason to give it up."""
    crashes: tuple[float, ...] = ()
    """When it crashed since, as the status has it; oldest first. (seconds since the epoch)"""
    port: int = 0
    """Where the engine is asked; 0 where its arguments say so."""


@dataclass(frozen=True)
class Finding:
    """A cause. `final` gives this attempt up; otherwise it is what an attempt that still may succeed waits for."""

    reason: Reason
    message: str
    final: bool
    retryable: bool
    container: str | None = None
    exit_code: int | None = None
    log_tail: str = ""
    evidence: tuple[str, ...] = ()
    elsewhere: bool = False
    """Whether another class of accelerator is worth a try by now."""
    next_step: str = ""
    """More exact than the catalogue's, where the log knows more."""
    coarse: Coarse | None = None
    """The class, where it was read from a log."""
