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

    revision: str = Field(description="Commit.")
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


class EndpointStatus(Schema):
    """What the operator has seen and done."""

    id: str | None = Field(default=None, description="Public id, also the model name on the API.")
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
