"""
From a pod's facts to one cause: ordered checks, the first answer wins; what lies earlier in a pod's life is asked first.

A check returns None where it has nothing to say. `final` means that this attempt is given up; a finding that is not final explains the waiting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from dedicated.api.names import FETCH_CONTAINER
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import MAX_EVIDENCE, MAX_LOG_TAIL
from dedicated.core.quantities import human_seconds
from dedicated.diagnosis.capacity import class_s, no_room, placement_s
from dedicated.diagnosis.classify import Verdict, read
from dedicated.diagnosis.evidence import ContainerFacts, Finding, Limits, PodFacts, Termination
from dedicated.diagnosis.explain import MAX_EVIDENCE_LINE, Explained, explain, shortened
from dedicated.diagnosis.killed import gone, killed
from dedicated.diagnosis.ports import listening
from dedicated.diagnosis.tails import shown_tail
from dedicated.diagnosis.words import first_sentence

GOOD_RUN_S = 600.0
"""After so long the kubelet takes a container for a good one: pkg/kubelet/kuberuntime, twice its longest back-off of 5 minutes (1.34). (seconds)"""
PULL_S = 1800.0
"""How long the kubelet may fetch an image: 20 GB at 11 MB/s. (seconds)"""
Check = Callable[[PodFacts, Limits, float], Finding | None]

# Waiting reasons of the kubelet: k8s.io/kubernetes/pkg/kubelet/images/types.go and pkg/kubelet/kuberuntime/kuberuntime_container.go (1.34)
_PULL_TRYING = {"ErrImagePull", "RegistryUnavailable"}
_PULL_GIVEN_UP = {"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
_CONFIG_ERRORS = {"CreateContainerConfigError"}
_REFERENCE_WRONG = re.compile(r"not found|couldn't find key|runAsNonRoot|non-numeric user|will run as root|invalid", re.IGNORECASE)
"""What stays so until somebody changes it; the kubelet uses the same waiting reason for a secret that it has not read yet."""
_RUN_ERRORS = {"RunContainerError", "CreateContainerError"}
_NOT_FOUND = re.compile(r"not found|manifest unknown|does not exist|ErrImageNeverPull|InvalidImageName|couldn't parse image", re.IGNORECASE)
_NOT_EXECUTABLE = re.compile(
    r"executable file not found|exec format error|no such file or directory|permission denied|no command specified", re.IGNORECASE
)


def diagnose(pods: Iterable[PodFacts], limits: Limits, now: float) -> Finding | None:
    """The one cause why these pods (of one revision) are not all ready; a final one before one that still waits."""
    seen = list(pods)
    live = [pod for pod in seen if not pod.deleting]
    found = [finding for pod in live if not pod.ready and (finding := _of_pod(pod, limits, now))]
    if not live:
        found = [finding for pod in seen if (finding := gone(pod))]
    return next((finding for finding in found if finding.final), found[0] if found else None)


def _of_pod(pod: PodFacts, limits: Limits, now: float) -> Finding | None:
    return next((finding for check in CHECKS if (finding := check(pod, limits, now))), None)


def image_missing(pod: PodFacts, _limits: Limits, _now: float) -> Finding | None:
    """The image cannot be pulled."""
    for container in pod.containers:
        trying = container.waiting_reason in _PULL_TRYING
        if not trying and container.waiting_reason not in _PULL_GIVEN_UP:
            continue
        said = _pull_words(pod, container)
        reason = Reason.IMAGE_NOT_FOUND if _NOT_FOUND.search(said) else Reason.IMAGE_PULL_FAILED
        return Finding(
            reason,
            f"The image of container {container.name} cannot be pulled: {first_sentence(said)}",
            final=not trying,
            retryable=True,
            container=container.name,
            evidence=(container.waiting_reason,),
        )
    return None


def _pull_words(pod: PodFacts, container: ContainerFacts) -> str:
    """The kubelet's words on a failed pull: in back-off only the events still tell the cause."""
    pulls = [event.message for event in pod.events if event.reason == "Failed" and "pull image" in event.message]
    return max(pulls, key=len, default=f"{container.waiting_reason}: {container.waiting_message}")


def cannot_run(pod: PodFacts, _limits: Limits, _now: float) -> Finding | None:
    """The container's program does not exist or is not for this machine; or something that the container refers to is missing."""
    for container in pod.containers:
        if container.waiting_reason in _CONFIG_ERRORS and _REFERENCE_WRONG.search(container.waiting_message):
            said = first_sentence(container.waiting_message)
            reason = Reason.TOKEN_MISSING if container.name == FETCH_CONTAINER else Reason.INVALID_SPEC
            return Finding(reason, f"Container {container.name} cannot be configured: {said}", True, False, container.name)
        ended = container.failure
        said = (ended.message if ended else "") or container.waiting_message
        start_failed = (ended and ended.reason in {"StartError", "ContainerCannotRun"}) or container.waiting_reason in _RUN_ERRORS
        if start_failed and _NOT_EXECUTABLE.search(said):
            code = ended.exit_code if ended else None
            return Finding(
                Reason.IMAGE_NOT_EXECUTABLE,
                f"Container {container.name} cannot start: {first_sentence(said)}",
                final=True,
                retryable=False,
                container=container.name,
                exit_code=code,
            )
    return None


def out_of_memory(pod: PodFacts, limits: Limits, _now: float) -> Finding | None:
    """Killed for host memory; read before any exit code. While loading once is enough: the same again would need the same."""
    for container in pod.containers:
        ended = container.failure
        if ended and ended.reason == "OOMKilled":
            message = f"Container {container.name} used more memory than its limit and was killed{_after(ended)}."
            final = not limits.served or _looping(container, limits)
            return _failed(Reason.HOST_OUT_OF_MEMORY, message, container, ended, final=final, retryable=limits.served)
    return None


def fetch_failed(pod: PodFacts, limits: Limits, _now: float) -> Finding | None:
    """The weights did not arrive. `dedicated fetch` leaves its reason as its termination message."""
    container = pod.container(FETCH_CONTAINER)
    ended = container.failure if container else None
    if container is None or ended is None:
        return None
    reason, message, retryable = _told(ended)
    final = not retryable or container.restarts >= limits.restarts
    return _failed(reason, message, container, ended, final=final, retryable=retryable)


def _told(ended: Termination) -> tuple[Reason, str, bool]:
    try:
        told = json.loads(ended.message)
        return Reason(told["reason"]), str(told["message"]), bool(told["retryable"])
    except (ValueError, KeyError, TypeError):
        said = first_sentence(ended.message) or "it left no message"
        return Reason.HUB_UNAVAILABLE, f"Fetching the weights ended with exit code {ended.exit_code}: {said}", True


def node_lost(pod: PodFacts, _limits: Limits, now: float) -> Finding | None:
    """The node does not answer: what the pod's status says is old. The cluster puts the pod elsewhere, in its own time."""
    if pod.node is None or pod.node_silent_since is None:
        return None
    silent = f" for {human_seconds(now - pod.node_silent_since)}" if pod.node_silent_since else ""
    message = f"Node {pod.node} of pod {pod.name} has not been ready{silent}; the cluster replaces the pod after some minutes."
    return Finding(Reason.NODE_LOST, message, final=False, retryable=True, evidence=(f"node {pod.node}: not ready",))


def never_answered(pod: PodFacts, limits: Limits, now: float) -> Finding | None:
    """
    An engine that runs but is not healthy within its startup budget, whether we or the kubelet noticed first. One that still says something new is
    slow, not stuck: its budget begins again with each such line.
    """
    gave_up = any("Startup probe failed" in event.message for event in pod.events)
    for container in pod.containers:
        if container.init or container.started:
            continue
        ended = container.failure
        if container.running_since is not None and now - container.running_since >= limits.startup_s:
            if elsewhere := _listens_elsewhere(container, limits):
                return elsewhere
            if now - (container.progressed_at or 0.0) < limits.startup_s:
                return _slow(container, now)
            return _never_answered(container, now - container.running_since, None, limits)
        if gave_up and ended and ended.ran_s >= limits.startup_s:
            return _listens_elsewhere(container, limits) or _never_answered(container, ended.ran_s, ended, limits)
    return None


def _slow(container: ContainerFacts, now: float) -> Finding:
    ran, said = human_seconds(now - (container.running_since or now)), human_seconds(now - (container.progressed_at or now))
    message = f"Container {container.name} has been starting for {ran} and makes progress: it said something new {said} ago."
    return Finding(Reason.ENGINE_STARTING, message, final=False, retryable=True)


def _never_answered(container: ContainerFacts, ran_s: float, ended: Termination | None, limits: Limits) -> Finding:
    again = "started again after it had served, ran" if limits.served else "ran"
    message = f"Container {container.name} {again} for {human_seconds(ran_s)} and never answered its health check."
    return _failed(Reason.PROBE_NEVER_PASSED, message, container, ended, final=True)


def _listens_elsewhere(container: ContainerFacts, limits: Limits) -> Finding | None:
    """The engine is ready, by its own words, where nobody asks it."""
    told = listening(container.log_tail) if limits.port else None
    if told is None or (told.port == limits.port and not told.itself_only):
        return None
    only = " for its own pod only" if told.itself_only else ""
    message = f"Container {container.name} listens on port {told.port}{only}, and is asked on port {limits.port}."
    return _failed(Reason.PORT_MISMATCH, message, container, container.failure, final=True, lines=(shortened(told.line, MAX_EVIDENCE_LINE),))


def crashed(pod: PodFacts, limits: Limits, _now: float) -> Finding | None:
    """A container that ended by itself: its log says why, or how it ended does. What cannot mend is given up at once, the rest after a few runs."""
    for container in pod.containers:
        ended = container.failure
        if ended is None:
            continue
        told = _told_by_words(container, ended)
        if told is None or not told.certain:
            told = killed(pod, container, ended) or told
        return _crashed(container, ended, limits, told)
    return None


def _told_by_words(container: ContainerFacts, ended: Termination) -> Verdict | None:
    """What the log says, or the termination message: the end of a log that is gone, or the runtime's words where nothing started."""
    found = [verdict for text in (container.log_tail, ended.message, container.earlier_log) if (verdict := read(text, died=True).verdict)]
    return next((verdict for verdict in found if verdict.certain), found[0] if found else None)


def _crashed(container: ContainerFacts, ended: Termination, limits: Limits, told: Verdict | None) -> Finding:
    looping = _looping(container, limits)
    reason = told.cause.reason if told else Reason.ENGINE_EXITED
    if reason is Reason.ENGINE_EXITED and looping:
        reason = Reason.CRASH_LOOP
    words = explain(told) if told else Explained("", "", ())
    permanent = told is not None and told.certain and not told.cause.retryable and not limits.served
    found = _failed(
        reason,
        f"{words.message} {_ended(container, ended)}".strip(),
        container,
        ended,
        final=looping or permanent,
        retryable=not permanent,
        lines=words.evidence,
    )
    return replace(found, next_step=words.next_step, coarse=told.cause.coarse if told else None)


def _ended(container: ContainerFacts, ended: Termination) -> str:
    runs = _runs(container)
    times = f"{runs} times" if runs > 1 else "once"
    why = f" ({ended.reason})" if ended.reason not in ("", "Error", "Completed") else ""
    return f"Container {container.name} ended {times}, the last time with exit code {ended.exit_code}{why}{_after(ended)}."


def _after(ended: Termination) -> str:
    """How long it ran, where its beginning is known."""
    return f" after {human_seconds(ended.ran_s)}" if ended.started_at else ""


def _runs(container: ContainerFacts) -> int:
    """Runs that have ended."""
    return container.restarts + (1 if container.terminated else 0)


def _looping(container: ContainerFacts, limits: Limits) -> bool:
    """
    Whether it fails again and again. The kubelet forgets its back-off after ten good minutes, the count of restarts never: one that serves must have
    failed so often in quick succession, and one crash a day is none of that.
    """
    if _runs(container) < limits.restarts or not limits.served:
        return _runs(container) >= limits.restarts
    ended = container.failure
    if container.waiting_reason != "CrashLoopBackOff" or ended is None or (ended.started_at and ended.ran_s >= GOOD_RUN_S):
        return False
    recent = {at for at in limits.crashes if ended.finished_at - at < GOOD_RUN_S} | {float(int(ended.finished_at))}
    return not limits.crashes or len(recent) >= limits.restarts


def not_started(pod: PodFacts, limits: Limits, now: float) -> Finding | None:
    """Placed on a node, but no container has started: a volume, a network, the node."""
    if pod.scheduled_at is None or any(c.running_since or c.terminated or c.last for c in pod.containers):
        return None
    deadline = pod.scheduled_at + (max(limits.start_s, PULL_S) if _pulls(pod) else limits.start_s)
    if now < deadline:
        return None
    said = next((f"{e.reason}: {e.message}" for e in reversed(pod.events) if e.warning), "no event tells why")
    message = (
        f"Pod {pod.name} was placed on node {pod.node} but did not start within {human_seconds(deadline - pod.scheduled_at)}: {first_sentence(said)}"
    )
    return Finding(Reason.START_DEADLINE_EXCEEDED, message, final=True, retryable=True, evidence=(first_sentence(said),))


def _pulls(pod: PodFacts) -> bool:
    """Whether the kubelet is fetching an image, by the last thing that it said."""
    return bool(pod.events) and pod.events[-1].reason == "Pulling"


def _failed(
    reason: Reason,
    message: str,
    container: ContainerFacts,
    ended: Termination | None,
    *,
    final: bool,
    retryable: bool | None = None,
    lines: tuple[str, ...] = (),
) -> Finding:
    evidence = list(lines)
    evidence += [f"{container.name}: {ended.reason or 'ended'}, exit code {ended.exit_code}"] if ended else []
    evidence += [f"{container.name}: {container.restarts} restarts"] if container.restarts else []
    return Finding(
        reason,
        message,
        final=final,
        retryable=CATALOGUE[reason].retryable if retryable is None else retryable,
        container=container.name,
        exit_code=ended.exit_code if ended else None,
        log_tail=shown_tail(container.log_tail, MAX_LOG_TAIL),
        evidence=tuple(evidence[:MAX_EVIDENCE]),
    )


CHECKS: tuple[Check, ...] = (no_room, node_lost, image_missing, cannot_run, out_of_memory, fetch_failed, never_answered, crashed, not_started)


def next_deadline(pods: Iterable[PodFacts], limits: Limits, now: float) -> float | None:
    """When time alone changes what `diagnose` finds: the nearest deadline ahead. (seconds since the epoch)"""
    ahead = [at for pod in pods if not pod.ready and not pod.deleting for at in _deadlines(pod, limits) if at > now]
    return min(ahead, default=None)


def _deadlines(pod: PodFacts, limits: Limits) -> Iterator[float]:
    if pod.scheduled is False:
        yield pod.created_at + class_s(pod, limits)
        yield pod.created_at + placement_s(pod, limits)
    if pod.scheduled_at is not None:
        yield pod.scheduled_at + limits.start_s
        if _pulls(pod):
            yield pod.scheduled_at + max(limits.start_s, PULL_S)
    for container in pod.containers:
        if not container.init and not container.started and container.running_since is not None:
            yield container.running_since + limits.startup_s
            yield (container.progressed_at or 0.0) + limits.startup_s


def wants_log(container: ContainerFacts, limits: Limits, now: float) -> bool:
    """Whether this container's log tells something about a failure: only then is it asked for."""
    running_s = now - container.running_since if container.running_since is not None else 0.0
    stuck = not container.init and not container.started and running_s >= limits.startup_s
    return not container.ready and (container.failure is not None or stuck)


def tells_nothing(log: str) -> bool:
    """Whether a log does not name the cause of a failure."""
    verdict = read(log, died=True).verdict
    return verdict is None or not verdict.certain
