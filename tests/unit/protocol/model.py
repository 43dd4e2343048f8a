"""
The protocol of sleep and wake as a state machine whose every decision is made by the real code.

The operator's part is `lifecycle.life.decide` and `lifecycle.status.report`; a gateway's is `gateway.handover` and `gateway.standing`. What is
modelled here is only the world between them: one Deployment, its pods, the Lease, watches that are late, writes that get lost, processes that die.
A state is a tuple, so that states can be remembered; `steps` yields every thing that can happen next.

Time is left to chance: a Lease may become old at any moment, and every pass of the operator comes both before and after any deadline. So nothing that
is proven here rests on a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from dedicated.api.names import ack_annotation
from dedicated.api.status import Condition, Drain, EndpointStatus, Revisions, SleepStatus, WakeRecord, WakeStatus
from dedicated.core.clock import rfc3339
from dedicated.gateway import handover
from dedicated.gateway.addresses import Replica
from dedicated.gateway.standing import standing
from dedicated.lifecycle.drain import wants_last_word
from dedicated.lifecycle.life import decide
from dedicated.lifecycle.observation import Activity, Gateway, Observation
from dedicated.lifecycle.status import report
from tests.support.builders import NOW, TARGET, a_pod, a_spec, an_observation, workloads

LONG_AGO, JUST_NOW = NOW - 100_000, NOW - 1
SPEC = a_spec(scaling={"idleAfter": "5m", "minAwake": "1m"})


class Broken(AssertionError):
    """A rule of the protocol does not hold."""


class Status(NamedTuple):
    """What of an endpoint's status the protocol is about."""

    epoch: int = 0
    pods: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    reason: str | None = None
    asleep: bool = False
    waking: int | None = None
    state: str = "up"


class Lease(NamedTuple):
    """The activity Lease."""

    fresh: bool = True
    wake: int | None = None
    words: tuple[tuple[str, str], ...] = ()


class G(NamedTuple):
    """One gateway: what Envoy carries, and what the decision service knows."""

    name: str
    life: str = "ready"
    """absent, made (its pod exists), ready, dead"""
    view: Status = Status()
    slices: frozenset[str] = frozenset()
    flight: str | None = None
    knows: bool = True
    unwritten: bool = False
    held: int = 0
    want: int | None = None
    parted: bool = False


class State(NamedTuple):
    """The whole world."""

    status: Status
    replicas: int
    pods: tuple[tuple[str, str], ...]
    """Name and life (starting, ready) of each; a ghost was removed, and the operator still sees it ready."""
    made: int
    lease: Lease
    gateways: tuple[G, ...]
    plan: tuple[str, int, Status] | None = None
    """What the operator is about to do: its next write, the replicas and the status that it decided."""
    op_lease: Lease = Lease()
    op_gateways: frozenset[str] = frozenset()
    calls: int = 2
    faults: int = 1
    sleeps: int = 0
    wakes: int = 0


class Rules(NamedTuple):
    """What may happen."""

    calls: int = 2
    faults: int = 1
    most_epochs: int = 2
    """Handovers to sleep; each may be taken back."""
    only_at: str | None = None
    """The gateway at which faults happen; None: at all of them, and at the operator."""
    late_lease: bool = True
    """Whether the operator's watch of the Lease may be late; its watch of gateways always may."""


def start(rules: Rules, *, second: str = "none") -> State:
    """Up, idle, one gateway ready; the second one is as told: none, absent (it may start), ready."""
    up = Status()
    first = G("a", view=up, slices=frozenset({"p0"}))
    other = G("b", life=second, view=up, slices=frozenset({"p0"}) if second == "ready" else frozenset())
    gateways = (first,) if second == "none" else (first, other)
    names = frozenset(g.name for g in gateways if g.life == "ready")
    return State(up, 1, (("p0", "ready"),), 1, Lease(), gateways, op_gateways=names, calls=rules.calls, faults=rules.faults)


def steps(s: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Everything that can happen next."""
    if s.lease.fresh:
        yield "the Lease grows old", s._replace(lease=s.lease._replace(fresh=False))
    yield from _operator(s, rules)
    yield from _kubelet(s)
    for index, g in enumerate(s.gateways):
        for what, after in _gateway(s, g, rules):
            yield f"{g.name}: {what}", _with(after, index)
    if s.faults and s.plan is not None and rules.only_at is None:
        yield "the operator dies", s._replace(plan=None, faults=s.faults - 1)


class After(NamedTuple):
    """A state in which one gateway is to be replaced."""

    state: State
    gateway: G


def _with(after: After, index: int) -> State:
    found = list(after.state.gateways)
    found[index] = after.gateway
    return after.state._replace(gateways=tuple(found))


# the operator


def _operator(s: State, rules: Rules) -> Iterator[tuple[str, State]]:
    if not rules.late_lease:
        s = s._replace(op_lease=s.lease)
    if s.op_lease != s.lease:
        yield "the operator hears of the Lease", s._replace(op_lease=s.lease)
    exist = frozenset(g.name for g in s.gateways if g.life in ("made", "ready"))
    if s.op_gateways != exist:
        yield "the operator hears of gateways", s._replace(op_gateways=exist)
    if s.plan is None:
        for late in (False,) if any(life == "ghost" for _, life in s.pods) else (False, True):
            told, replicas, status = decided(s.status, s.replicas, s.pods, _seen_by_operator(s, exist, late))
            if (replicas, status) != (s.replicas, s.status) and not (told == "sleep" and s.status.epoch >= rules.most_epochs):
                yield (
                    f"the operator decides{' after the deadline' if late else ''}",
                    s._replace(plan=("report" if replicas == s.replicas else "apply", replicas, status)),
                )
        return
    write, replicas, status = s.plan
    if write == "apply":
        yield "the operator scales", _scaled(s, replicas)._replace(plan=("report", replicas, status))
    else:
        yield "the operator reports", s._replace(status=status, plan=None)


class Seen(NamedTuple):
    """What the operator's pass sees besides the status and the pods."""

    lease: Lease
    gateways: frozenset[str]
    late: bool


def _seen_by_operator(s: State, exist: frozenset[str], late: bool) -> Seen:
    """From its watches; and past them where the real code asks for the last word."""
    seen = Seen(s.op_lease, s.op_gateways, late)
    return Seen(s.lease, exist, late) if asks(s.status, s.replicas, s.pods, seen) else seen


@cache
def asks(status: Status, replicas: int, pods: tuple[tuple[str, str], ...], seen: Seen) -> bool:
    """Whether the real code wants the last word."""
    return wants_last_word(observation(status, replicas, pods, seen))


@cache
def decided(status: Status, replicas: int, pods: tuple[tuple[str, str], ...], seen: Seen) -> tuple[str, int, Status]:
    """The real decision, and the real status that tells it."""
    observed = observation(status, replicas, pods, seen)
    decision = decide(observed)
    told = report(observed, decision)
    drain = told.drain or Drain()
    found = Status(
        drain.epoch,
        frozenset(drain.pods),
        frozenset(drain.gone),
        drain.reason,
        bool(told.sleep and told.sleep.since),
        told.wake.current.epoch if told.wake and told.wake.current else None,
        standing([condition.to_dict() for condition in told.conditions]).state.value,
    )
    begins = drain.epoch > status.epoch and drain.reason == "NoTraffic"
    return "sleep" if begins else "", decision.replicas.get(TARGET, 0), found


@cache
def observation(status: Status, replicas: int, pods: tuple[tuple[str, str], ...], seen: Seen) -> Observation:
    """The real observation of this world."""
    words = {ack_annotation(name): word for name, word in seen.lease.words}
    base = an_observation(
        spec=SPEC,
        status=_status(status, seen.late),
        workloads=workloads(**{TARGET: replicas}),
        pods=tuple(
            a_pod(
                name=name,
                ready=life in ("ready", "ghost"),
            )
            for name, life in pods
        ),
        activity=Activity(JUST_NOW if seen.lease.fresh else LONG_AGO, seen.lease.wake, words),
        gateways=tuple(Gateway(name) for name in sorted(seen.gateways)),
    )
    return replace(base, now=NOW)


def _status(status: Status, late: bool) -> EndpointStatus:
    at, up = rfc3339(LONG_AGO if late else JUST_NOW), status.state == "up"
    condition = Condition(
        type="Active", status="True" if up else "False", reason="AllReady" if up else "NoTraffic", last_transition_time=rfc3339(LONG_AGO)
    )
    current = None if status.waking is None else WakeRecord(epoch=status.waking, started_at=at)
    return EndpointStatus(
        conditions=[condition],
        revisions=Revisions(serving=TARGET),
        drain=Drain(epoch=status.epoch, pods=sorted(status.pods), gone=sorted(status.gone), reason=status.reason, at=at) if status.epoch else None,
        sleep=SleepStatus(since=at if status.asleep else None),
        wake=WakeStatus(current=current) if current else None,
    )


def _scaled(s: State, replicas: int) -> State:
    """The Deployment is scaled: no pod that goes may have anything in flight, and one sleep is ended by one wake."""
    if replicas == s.replicas:
        return s
    if replicas:
        if s.wakes >= s.sleeps:
            raise Broken("woken twice")
        return s._replace(replicas=1, pods=(*s.pods, (f"p{s.made}", "starting")), made=s.made + 1, wakes=s.wakes + 1)
    busy = [g.name for g in s.gateways if g.flight is not None and g.life == "ready"]
    if busy:
        raise Broken(f"put to sleep with a call in flight at {busy}")
    ghosts = tuple((name, "ghost") for name, _ in s.pods)
    return s._replace(replicas=0, pods=ghosts, sleeps=s.sleeps + 1)


def _kubelet(s: State) -> Iterator[tuple[str, State]]:
    for index, (name, life) in enumerate(s.pods):
        others = (*s.pods[:index], *s.pods[index + 1 :])
        if life == "ghost":
            yield f"that {name} is ready no more is heard", s._replace(pods=others)
        if life == "starting":
            yield f"{name} is ready", s._replace(pods=tuple(sorted((*others, (name, "ready")))))


# a gateway


def _gateway(s: State, g: G, rules: Rules) -> Iterator[tuple[str, After]]:
    if g.life == "absent":
        yield "its pod is made", After(s, g._replace(life="made"))
    elif g.life == "made":
        yield "it lists, and is ready", After(s, g._replace(life="ready", view=s.status, slices=_ready(s)))
    elif g.life == "ready":
        yield from _watches(s, g)
        yield from _calls(s, g)
        yield from _writes(s, g)
        if rules.only_at in (None, g.name):
            yield from _faults(s, g)


def _ready(s: State) -> frozenset[str]:
    return frozenset(name for name, life in s.pods if life == "ready")


def _watches(s: State, g: G) -> Iterator[tuple[str, After]]:
    if g.parted:
        return
    if g.view != s.status:
        yield "hears of the status", After(s, g._replace(view=s.status))
    if g.slices != _ready(s):
        yield "hears of addresses", After(s, g._replace(slices=_ready(s)))
    if not g.knows:
        yield "has heard of what is in flight", After(s, g._replace(knows=True))


def _calls(s: State, g: G) -> Iterator[tuple[str, After]]:
    if s.calls and g.flight is None:
        yield "a call", _called(s._replace(calls=s.calls - 1), g._replace(held=g.held + 1))
    if g.held and g.flight is None and _target(s, g):
        yield "lets a held call go", _called(s, g)
    if g.flight is not None:
        yield "the call ends", After(s, g._replace(flight=None, unwritten=True))


def _target(s: State, g: G) -> str | None:
    """Where a call would go: what the real code lets through; of an endpoint that is not up, what answers a probe just now."""
    known = [Replica(name, name) for name in sorted(g.slices)]
    found = [replica.pod for replica in handover.routable(known, drain_of(g.view))]
    return next((pod for pod in found if g.view.state == "up" or (pod, "ready") in s.pods), None)


def drain_of(view: Status) -> handover.Drain:
    """A gateway's view of the handover."""
    return handover.Drain(view.epoch, view.pods, view.reason or "", view.gone)


def _called(s: State, g: G) -> After:
    """One held call: it is routed, or it asks for a wake and stays."""
    pod = _target(s, g)
    if pod is None:
        wakes = handover.wakes(drain_of(g.view), g.view.state == "sleeping")
        return After(s, g._replace(want=g.view.epoch) if wakes else g)
    if (pod, "ready") not in s.pods or not s.replicas:
        raise Broken(f"a call was sent to {pod}, which is being removed")
    return After(s, g._replace(held=g.held - 1, flight=pod, unwritten=True))


def _writes(s: State, g: G) -> Iterator[tuple[str, After]]:
    if g.parted:
        return
    if g.unwritten:
        renewed = s._replace(lease=s.lease._replace(fresh=True))
        yield "writes activity", After(renewed, g._replace(unwritten=False))
    want = g.view.epoch if g.held and handover.wakes(drain_of(g.view), g.view.state == "sleeping") else None
    epoch = handover.wake_to_write(want, s.lease.wake, None)
    if epoch is not None:
        yield "writes a wake", After(s._replace(lease=s.lease._replace(wake=epoch)), g._replace(want=None))
    words = dict(s.lease.words)
    due = g.unwritten or epoch is not None
    in_flight = int(g.flight is not None and g.flight in g.view.pods)
    said = handover.acknowledgement(drain_of(g.view), handover.Seen(g.knows, in_flight, due))
    word = handover.to_write(said, words.get(g.name))
    if word is not None:
        told = tuple(sorted({**words, g.name: word}.items()))
        yield f"says {word}", After(s._replace(lease=s.lease._replace(words=told)), g)


def _faults(s: State, g: G) -> Iterator[tuple[str, After]]:
    if g.parted:
        yield "is reached again", After(s, g._replace(parted=False))
    if not s.faults:
        return
    less = s._replace(faults=s.faults - 1)
    yield "dies", After(less, G(g.name, life="dead"))
    yield "its decision service dies", After(less, g._replace(knows=False, unwritten=False, held=0, want=None, view=s.status, slices=_ready(s)))
    yield "its Envoy dies", After(less, g._replace(flight=None, held=0, want=None))
    if not g.parted:
        yield "is cut off", After(less, g._replace(parted=True))
    if g.unwritten:
        yield "writes activity, and the answer is lost", After(less._replace(lease=s.lease._replace(fresh=True)), g)
