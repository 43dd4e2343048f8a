"""The language of the tests: endpoints, pods and observations in domain words. Every builder takes only what the test speaks of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dedicated.api.endpoint import EndpointSpec
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import Diagnosis, EndpointStatus, ModelStatus, Phase, Revisions
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import ContainerFacts, Finding, Limits, PodFacts, Termination
from dedicated.lifecycle.observation import Observation, Workload
from dedicated.render.endpoint import Wanted
from dedicated.render.platform import Platform

NOW = 1_800_000_000.0
UID = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"
COMMIT = "a" * 40
TARGET = "target00"
OLD = "old00000"

LIMITS = Limits(placement_s=600, start_s=300, startup_s=600)
PLATFORM = Platform(fetch_image="localhost/dedicated:test")


def a_spec(**changes: Any) -> EndpointSpec:
    """A valid spec of a custom engine on CPU; keyword arguments replace top-level fields (as in YAML)."""
    spec: dict[str, Any] = {
        "model": {"huggingFace": {"repo": "acme/tiny"}},
        "engine": {"kind": "custom", "image": "localhost/engine:1", "port": 8000, "healthPath": "/health"},
        "hardware": {"accelerators": ["cpu"]},
        "access": {"owner": "alice"},
    }
    return EndpointSpec.model_validate({**spec, **changes})


def a_model(**changes: Any) -> ModelStatus:
    """A resolved model of one GiB."""
    return ModelStatus.model_validate({"revision": COMMIT, "weight_bytes": 1024**3, "source_hash": "source", **changes})


def wanted(spec: EndpointSpec | None = None, **changes: Any) -> Wanted:
    """What the manifests of an endpoint named llama in team-a are made from."""
    base = Wanted("llama", "team-a", UID, "abcd1234", spec or a_spec(), COMMIT, "tiny.gguf", 1024**3)
    return replace(base, **changes)


def an_observation(**changes: Any) -> Observation:
    """An endpoint whose model is known and of which nothing exists yet."""
    base = Observation(
        now=NOW,
        name="llama",
        namespace="team-a",
        uid=UID,
        generation=1,
        spec=a_spec(),
        status=EndpointStatus(),
        inputs_hash="inputs",
        target=TARGET,
        model=a_model(),
    )
    return replace(base, **changes)


def a_pod(revision: str = TARGET, *, ready: bool = False, **changes: Any) -> PodFacts:
    """A pod that was placed a minute ago."""
    base = PodFacts(f"llama-{revision}-x", revision, NOW - 60, node="node-1", scheduled=True, scheduled_at=NOW - 60, ready=ready)
    return replace(base, **changes)


def an_engine(**changes: Any) -> ContainerFacts:
    """The engine's container."""
    return replace(ContainerFacts("engine"), **changes)


def ended(exit_code: int, reason: str = "Error", message: str = "", ran_s: float = 5.0) -> Termination:
    """How a container ended, a second ago."""
    return Termination(exit_code, reason, message, NOW - 1 - ran_s, NOW - 1)


def a_finding(reason: Reason = Reason.CRASH_LOOP, *, final: bool = True, retryable: bool = True, **changes: Any) -> Finding:
    """A cause."""
    return replace(Finding(reason, "It broke.", final, retryable), **changes)


def workloads(**replicas: int) -> dict[str, Workload]:
    """Deployments by revision."""
    return {revision: Workload(revision, count) for revision, count in replicas.items()}


def serving(revision: str = OLD, phase: Phase = Phase.UP, **changes: Any) -> EndpointStatus:
    """The status of an endpoint of which this revision serves."""
    return EndpointStatus(phase=phase, revisions=Revisions(serving=revision), **changes)


def failed_before(
    reason: Reason = Reason.HOST_OUT_OF_MEMORY, *, inputs: str = "inputs", next_in_s: float | None = None, ago_s: float = 60.0
) -> EndpointStatus:
    """The status of an endpoint that was given up."""
    due = rfc3339(NOW + next_in_s) if next_in_s is not None else None
    record = Diagnosis(
        reason=reason,
        message="It broke.",
        next_step=CATALOGUE[reason].next_step,
        retryable=due is not None,
        next_attempt_at=due,
        observed_at=rfc3339(NOW - ago_s),
        inputs_hash=inputs,
    )
    return EndpointStatus(phase=Phase.FAILED, diagnosis=record)
