"""What a user reads: the status of an `InferenceEndpoint`. Written by the operator alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dedicated.api.reasons import Reason
from dedicated.api.schema import Schema, list_map

MAX_LOG_TAIL = 2048
"""Bytes of log tail on the status."""
MAX_EVIDENCE = 5
MAX_CRASHES = 10


class ConditionType(StrEnum):
    """The conditions; `Reconciling` and `Stalled` are present only while true (kstatus)."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ACTIVE = "Active"
    PLANNED = "Planned"
    ACCESSIBLE = "Accessible"
    WEIGHTS_CACHED = "WeightsCached"
    SCHEDULED = "Scheduled"
    ENGINE_READY = "EngineReady"


class Phase(StrEnum):
    """One word for people, derived from the conditions; read by no code."""

    BUILDING = "building"
    UP = "up"
    FAILED = "failed"
    SLEEPING = "sleeping"
    WAKING = "waking"
    PAUSED = "paused"


class Condition(Schema):
    """An observation."""

    type: str = Field(description="What is observed.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(min_length=1, max_length=64, description="Why, from the catalogue of reasons.")
    message: str = Field(default="", max_length=1024, description="One sentence with numbers and, where something is wrong, a next step.")
    observed_generation: int | None = Field(default=None, description="The generation of the spec that this speaks of.")
    last_transition_time: str | None = Field(default=None, description="When the status last changed.", json_schema_extra={"format": "date-time"})


class ModelStatus(Schema):
    """What the model name was resolved to."""

    revision: str = Field(description="Commit; of a folder in S3 a digest over the names, sizes and ETags of its files.")
    architecture: str | None = Field(default=None, description="Architecture from config.json.")
    parameters: int | None = Field(default=None, description="Number of parameters.")
    weight_bytes: int | None = Field(default=None, description="Bytes of the files that the engine loads.")
    entry: str | None = Field(default=None, description="The file that the engine opens, where it opens one (GGUF).")
    gated: bool | None = Field(default=None, description="Whether the hub asks for approved access.")
    license: str | None = Field(default=None, description="License as the repository states it.")
    source_hash: str = Field(description="Hash of what was resolved: asked again only when it changes.")


class PlanMemory(Schema):
    """Memory of one accelerator, or of the host where there is none. (bytes)"""

    budget_bytes: int = Field(description="What the engine may use.")
    weight_bytes: int = Field(description="Weights.")
    kv_cache_bytes: int = Field(description="KV cache of one request of maxModelLen.")
    activation_bytes: int = Field(description="Activations, at their peak.")
    overhead_bytes: int = Field(description="Runtime, graphs and communication.")
    headroom_bytes: int = Field(description="What is left; below zero where it is missing.")


class Measured(Schema):
    """What the engine itself said of its memory, in its log."""

    weight_bytes: int | None = Field(default=None, description="Weights of one accelerator. (bytes)")
    kv_cache_bytes: int | None = Field(default=None, description="KV cache of one accelerator. (bytes)")
    kv_cache_tokens: int | None = Field(default=None, description="Tokens that the KV cache holds.")
    max_model_len: int | None = Field(default=None, description="Context length that the engine chose. (tokens)")
    concurrency: float | None = Field(default=None, description="Requests of maxModelLen that are served at once.")


class RejectedClass(Schema):
    """An accelerator that is no answer, and why."""

    accelerator: str = Field(description="AcceleratorClass.")
    reason: Reason = Field(description="The cause, from the catalogue.")
    message: str = Field(default="", max_length=256, description="With numbers.")


class Plan(Schema):
    """What one replica runs on."""

    accelerator: str | None = Field(default=None, description="AcceleratorClass; cpu means none is needed. Absent where no class will do.")
    count: int | None = Field(default=None, description="Accelerators per replica.")
    tensor_parallel: int | None = Field(default=None, description="Accelerators that share each layer.")
    pipeline_parallel: int | None = Field(default=None, description="Groups of accelerators that share the layers among them.")
    max_model_len: int | None = Field(default=None, description="Context length. (tokens)")
    max_num_seqs: int | None = Field(default=None, description="Sequences served at once.")
    memory: PlanMemory | None = Field(default=None, description="Memory, estimated.")
    measured: Measured | None = Field(default=None, description="Memory, as the engine reported it at its start.")
    concurrency: float | None = Field(default=None, description="Requests of maxModelLen that fit into the KV cache at once, estimated.")
    price_per_hour: float | None = Field(default=None, description="Price of one replica. (USD per hour)")
    alternatives: list[str] = Field(default=[], description="Other classes that would do, best first; tried where this one has no room.")
    rejected: list[RejectedClass] = Field(default=[], description="Classes that will not do, and why.")
    message: str = Field(default="", max_length=512, description="The plan in one sentence.")
    inputs_hash: str = Field(default="", description="Hash of what was planned for: it is planned anew only when that changes.")


class PodStatus(Schema):
    """One pod of the endpoint."""

    name: str = Field(description="Pod name.")
    node: str | None = Field(default=None, description="Node it runs on.")
    address: str | None = Field(default=None, description="Pod IP.")
    ready: bool = Field(default=False, description="Whether the engine in it answers.")
    revision: str = Field(default="", description="Revision it belongs to.")


class Revisions(Schema):
    """Which revision answers, and which one is wanted."""

    serving: str | None = Field(default=None, description="Revision that answers requests.")
    target: str | None = Field(default=None, description="Revision that the spec asks for.")


class Diagnosis(Schema):
    """One failure, one cause."""

    reason: Reason = Field(description="The cause, from the catalogue.")
    message: str = Field(max_length=1024, description="What happened, with numbers.")
    next_step: str = Field(max_length=512, description="What to do about it.")
    retryable: bool = Field(description="Whether it is tried again by itself.")
    evidence: list[Annotated[str, Field(max_length=512)]] = Field(default=[], max_length=MAX_EVIDENCE, description="What it was concluded from.")
    container: str | None = Field(default=None, description="Container that failed.")
    exit_code: int | None = Field(default=None, description="Its exit code.")
    log_tail: str | None = Field(default=None, max_length=MAX_LOG_TAIL, description="Last lines of its log, redacted.")
    attempts: int = Field(default=1, description="How often this was tried.")
    next_attempt_at: str | None = Field(default=None, description="When it is tried again.", json_schema_extra={"format": "date-time"})
    observed_at: str | None = Field(default=None, description="When this was seen.", json_schema_extra={"format": "date-time"})
    given_up: bool = Field(default=True, description="Whether the attempt was given up; false for a crash after which the engine was started again.")
    crashes: list[str] = Field(default=[], max_length=MAX_CRASHES, description="When the engine crashed after it had served, in the last hour.")
    inputs_hash: str = Field(default="", description="Hash of what was tried; when it changes, it is tried again at once.")


class Drain(Schema):
    """A planned removal of pods: gateways route nothing to them, and say so, before they go. The epoch rises with each and never falls."""

    epoch: int = Field(default=0, ge=0, description="Number of the handover; a call wakes a sleeping endpoint by this number.")
    pods: list[str] = Field(default=[], description="Pods that are about to go: nothing may be sent to them. Empty where nothing is removed.")
    gone: list[str] = Field(default=[], max_length=32, description="Pods that were told to go last: nothing may be sent to them either.")
    reason: str | None = Field(default=None, max_length=64, description="Why they go, or why it sleeps; else absent.")
    at: str | None = Field(default=None, description="When it began, or was taken back.", json_schema_extra={"format": "date-time"})


class PhaseTiming(Schema):
    """One stretch of a start: schedule or node, image, fetch, load (which ends with the first health)."""

    phase: Literal["schedule", "node", "image", "fetch", "load"] = Field(description="What was waited for.")
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    seconds: float | None = Field(default=None, description="How long it took; absent while it lasts. (seconds)")
    bytes: int | None = Field(default=None, description="Bytes that were moved, where they are known.")
    tier: str | None = Field(default=None, max_length=16, description="Of a fetch: where the weights came from: node, s3 or hub.")


class Timeline(Schema):
    """How the start of what was built last went."""

    building: list[PhaseTiming] = Field(default=[], description="Its phases, in order.", json_schema_extra=list_map("phase"))


class WakeRecord(Schema):
    """One wake."""

    epoch: int = Field(default=0, description="The sleep that it ended, by its number.")
    trigger: str = Field(default="call", max_length=32, description="Who asked for it.")
    tier: str | None = Field(default=None, max_length=16, description="Where the weights came from: node, s3 or hub.")
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    seconds: float | None = Field(default=None, description="Until the engine answered, or the wake was given up. (seconds)")
    succeeded: bool | None = Field(default=None, description="Whether the engine answered; absent while it wakes.")
    reason: str | None = Field(default=None, max_length=64, description="Why it failed.")
    phases: list[PhaseTiming] = Field(default=[], description="Its phases, in order.", json_schema_extra=list_map("phase"))


class WakeSummary(Schema):
    """One wake of the past."""

    at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    tier: str | None = Field(default=None, max_length=16, description="Where the weights came from.")
    seconds: float = Field(description="How long it took. (seconds)")
    succeeded: bool = Field(description="Whether the engine answered.")


class WakeStatus(Schema):
    """Wakes of this endpoint: the one that goes on, the last one, and what they tell of the next."""

    current: WakeRecord | None = Field(default=None, description="The wake that goes on.")
    last: WakeRecord | None = Field(default=None, description="The last one that ended.")
    history: list[WakeSummary] = Field(default=[], max_length=5, description="The last ones, newest first.")
    expected_seconds: float | None = Field(default=None, description="How long a wake takes; absent where nothing tells. (seconds)")


class SleepStatus(Schema):
    """The sleep, and what all sleeps have saved."""

    since: str | None = Field(default=None, description="Asleep since; absent while awake or waking.", json_schema_extra={"format": "date-time"})
    seconds: float = Field(default=0, description="Slept before this sleep. (seconds)")
    accelerator_seconds: float = Field(default=0, description="Accelerators that were not held meanwhile, times seconds.")
    saved_usd: float | None = Field(default=None, description="What they would have cost at their class's price. (USD)")


class EndpointStatus(Schema):
    """What the operator has seen and done."""

    id: str | None = Field(default=None, description="Public id, also the model name on the API.")
    url: str | None = Field(
        default=None, max_length=512, description="Where applications call it, as an OpenAI client's base URL; where the gateway's address is known."
    )
    phase: Phase | None = Field(default=None, description="One word for people.")
    observed_generation: int | None = Field(default=None, description="The generation of the spec that this status speaks of.")
    conditions: list[Condition] = Field(default=[], description="Observations.", json_schema_extra=list_map("type"))
    model: ModelStatus | None = Field(default=None, description="What the model name was resolved to.")
    plan: Plan | None = Field(default=None, description="What one replica runs on.")
    replicas: int | None = Field(default=None, description="Pods that exist, for /scale.")
    ready_replicas: int | None = Field(default=None, description="Pods that answer.")
    selector: str | None = Field(default=None, description="Label selector of the pods, for /scale.")
    pods: list[PodStatus] = Field(default=[], description="The pods.", json_schema_extra=list_map("name"))
    revisions: Revisions | None = Field(default=None, description="Which revision answers, and which one is wanted.")
    diagnosis: Diagnosis | None = Field(default=None, description="Why it failed.")
    drain: Drain | None = Field(default=None, description="The last planned removal of pods.")
    last_activity_time: str | None = Field(
        default=None, description="When it was last called; told at transitions and each 5 minutes.", json_schema_extra={"format": "date-time"}
    )
    timeline: Timeline | None = Field(default=None, description="How the start of what was built last went.")
    wake: WakeStatus | None = Field(default=None, description="Wakes.")
    sleep: SleepStatus | None = Field(default=None, description="The sleep, and what sleeping has saved.")
