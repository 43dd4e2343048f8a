"""
Ends that no log tells: a signal from outside, a node that put the pod out, a node that is gone.

An exit code above 128 is a signal: 137 is SIGKILL, 139 SIGSEGV, 135 SIGBUS. SIGKILL comes from the kubelet (which leaves an Event) or from the kernel
when memory is short; the kubelet calls the second OOMKilled only where it was the container's own limit and its first process.
"""

from __future__ import annotations

import re

from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.diagnosis import causes
from dedicated.diagnosis.causes import Coarse
from dedicated.diagnosis.classify import Verdict, read
from dedicated.diagnosis.evidence import ContainerFacts, Finding, PodFacts, Termination
from dedicated.diagnosis.words import first_sentence

SIGBUS_EXIT, SIGKILL_EXIT, SIGSEGV_EXIT = 135, 137, 139

# Events of the kubelet: pkg/kubelet/events/event.go, pkg/kubelet/oom, node-problem-detector's kernel monitor (1.34)
_OOM_EVENTS = {"OOMKilling", "SystemOOM"}
_PROBE_KILL = re.compile(r"failed (?:liveness|startup) probe", re.IGNORECASE)
# pod.status.reason, and reasons of the condition DisruptionTarget: pkg/apis/core/types.go, pkg/kubelet/nodeshutdown (1.34)
_PUT_OUT = {"Evicted", "TerminationByKubelet", "Preempting", "PreemptionByScheduler", "EvictionByEvictionAPI"}
_NODE_GONE = {"NodeLost", "DeletionByTaintManager", "DeletionByPodGC", "NodeShutdown", "Terminated", "Shutdown"}
_DISK = re.compile(r"ephemeral|inodes|emptydir|disk", re.IGNORECASE)
_MEMORY = re.compile(r"memory", re.IGNORECASE)


def killed(pod: PodFacts, container: ContainerFacts, ended: Termination) -> Verdict | None:
    """What the exit code and the events say of an end that the log does not explain."""
    if any(event.reason in _OOM_EVENTS for event in pod.events):
        return _verdict(causes.HOST_OOM, next(event.message for event in pod.events if event.reason in _OOM_EVENTS))
    probe = next((event.message for event in reversed(pod.events) if event.reason == "Killing" and _PROBE_KILL.search(event.message)), None)
    if probe and ended.exit_code > 128:
        return _verdict(causes.PROBE_KILLED, probe)
    if ended.exit_code == SIGBUS_EXIT:
        return _verdict(causes.SHM, "exit code 135 (SIGBUS)")
    if ended.exit_code == SIGSEGV_EXIT:
        return _verdict(causes.SEGFAULT, "exit code 139 (SIGSEGV)")
    by_kubelet = any(event.reason == "Killing" for event in pod.events)
    if ended.exit_code == SIGKILL_EXIT and not by_kubelet and not read(container.log_tail).stopped:
        return _verdict(causes.HOST_OOM, "exit code 137 (SIGKILL), and nothing in the cluster says that it killed it")
    return None


def _verdict(cause: causes.Cause, line: str) -> Verdict:
    return Verdict(cause, line, ())


def gone(pod: PodFacts) -> Finding | None:
    """Why a pod that is no more was ended from outside."""
    said = first_sentence(pod.message or pod.reason)
    if pod.reason in _PUT_OUT:
        coarse = Coarse.DISK_FULL if _DISK.search(pod.message) else Coarse.HOST_OOM if _MEMORY.search(pod.message) else None
        return _gone(pod, Reason.EVICTED, f"Pod {pod.name} was put out of its node: {said}", coarse)
    if pod.reason in _NODE_GONE:
        return _gone(pod, Reason.NODE_LOST, f"The node {pod.node or ''} of pod {pod.name} is gone: {said}".replace("  ", " "), None)
    return None


def _gone(pod: PodFacts, reason: Reason, message: str, coarse: Coarse | None) -> Finding:
    return Finding(reason, message, final=False, retryable=CATALOGUE[reason].retryable, evidence=(f"{pod.name}: {pod.reason}",), coarse=coarse)
