"""What a user asks for: the spec of an `InferenceEndpoint`. hack/gen_crds.py renders crds/ from these types; the operator never writes them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dedicated.api.schema import Duration, FreeForm, Quantity, Schema, list_map, rule, rules

ANY_ACCELERATOR = "nvidia.com/gpu"
"""What a plan names where the cluster has no AcceleratorClass: any device of this extended resource."""
CPU = "cpu"
"""The accelerator name that stands for 'none needed'."""


class EngineKind(StrEnum):
    """Which server answers the calls."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"
    CUSTOM = "custom"


class Strategy(StrEnum):
    """`surge` starts the new revision beside the old one; `replace` frees the hardware first."""

    SURGE = "surge"
    REPLACE = "replace"


class Files(Schema):
    """Which files of the repository are wanted, by glob; by default those that the engine needs."""

    include: list[Annotated[str, Field(max_length=256)]] = Field(
        default=[], max_length=64, description="Globs of files to fetch; empty means those that the engine needs."
    )
    exclude: list[Annotated[str, Field(max_length=256)]] = Field(default=[], max_length=64, description="Globs of files to leave out.")


class HuggingFace(Schema):
    """A repository on the Hugging Face Hub, or on what `HF_ENDPOINT` points to."""

    repo: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$",
        max_length=193,
        description="Repository, such as meta-llama/Llama-3.1-8B-Instruct.",
    )
    revision: str = Field(
        default="main",
        min_length=1,
        max_length=255,
        description="Branch, tag or commit; resolved to a commit once per change of spec.model.",
    )
    files: Files = Field(default=Files(), description="Which files are fetched.")


class SecretRef(Schema):
    """A Secret in the endpoint's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")


class SecretKeyRef(SecretRef):
    """One key of a Secret in the endpoint's namespace."""

    key: str = Field(default="HF_TOKEN", min_length=1, max_length=253, description="Key in the Secret.")


class S3(Schema):
    """A folder of model files in an S3 bucket of the user's own."""

    uri: str = Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$", max_length=1024, description="s3://bucket/prefix")
    credentials_secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret with the credentials to read it, labelled inference.dedicated.dev/use=s3-source; without it: as anybody may.",
    )


class Model(Schema):
    """Where the weights come from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.huggingFace) != has(self.s3)",
                "spec.model needs exactly one source: set huggingFace or s3, not both and not neither",
            )
        )
    )

    hugging_face: HuggingFace | None = Field(default=None, description="A repository on the Hugging Face Hub.")
    s3: S3 | None = Field(default=None, description="A folder of model files in an S3 bucket of your own.")
    token_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Hub token; the Secret is labelled inference.dedicated.dev/use=hub-token."
    )


class Engine(Schema):
    """The server process."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.kind != 'custom' || (has(self.port) && has(self.healthPath) && has(self.image))",
                "spec.engine.kind custom needs image, port and healthPath",
            ),
            rule(
                "self.kind == 'custom' || (!has(self.port) && !has(self.healthPath))",
                "spec.engine.port and spec.engine.healthPath belong to kind custom only; remove them",
            ),
        )
    )

    kind: EngineKind = Field(default=EngineKind.VLLM, description="vllm, sglang, llamacpp or custom.")
    image: str | None = Field(default=None, min_length=1, max_length=512, description="Container image; default per kind from the operator.")
    image_pull_secrets: list[SecretRef] = Field(
        default=[], max_length=16, description="Secrets to pull the image with.", json_schema_extra=list_map("name")
    )
    args: list[Annotated[str, Field(max_length=4096)]] = Field(
        default=[], max_length=128, description="Arguments appended last; one that dedicated also sets is an error."
    )
    env: list[FreeForm] = Field(
        default=[],
        max_length=128,
        description="Environment variables (EnvVar list); Secrets count only when labelled inference.dedicated.dev/use=engine-env.",
    )
    max_model_len: int | None = Field(default=None, ge=1, le=100_000_000, description="Context length in tokens; absent means the model's own.")
    max_num_seqs: int | None = Field(default=None, ge=1, le=65_536, description="Sequences served at once.")
    kv_cache_dtype: str = Field(default="auto", pattern=r"^[a-z0-9_]{1,32}$", description="Data type of the KV cache.")
    port: int | None = Field(default=None, ge=1, le=65_535, description="custom only: the port that the engine listens on.")
    health_path: str | None = Field(
        default=None, pattern=r"^/[^\s]*$", max_length=256, description="custom only: path that answers 200 when the engine is ready."
    )


class Toleration(Schema):
    """A taint of a node that the pod accepts."""

    key: str | None = Field(default=None, max_length=316, description="Taint key; absent with operator Exists means all.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="Exists or Equal.")
    value: str | None = Field(default=None, max_length=63, description="Taint value for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(default=None, description="Effect; absent means all.")
    toleration_seconds: int | None = Field(default=None, description="For NoExecute: how long the pod stays. (seconds)")


class Hardware(Schema):
    """What the engine runs on, per replica."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!('cpu' in self.accelerators) || size(self.accelerators) == 1",
                "spec.hardware.accelerators: cpu stands alone; remove it or the other accelerators",
            ),
            rule(
                "!('cpu' in self.accelerators) || !has(self.count)",
                "spec.hardware.count counts accelerators; remove it where accelerators is [cpu]",
            ),
        )
    )

    accelerators: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        default=[], max_length=32, description="AcceleratorClass names allowed; empty means any; [cpu] means none is needed."
    )
    count: int | None = Field(default=None, ge=1, le=64, description="Accelerators per replica; absent means planned.")
    max_price_per_hour: float | None = Field(default=None, ge=0, description="Highest price per replica. (USD per hour)")
    cpu: Quantity | None = Field(default=None, description="CPU per replica; absent means planned.")
    memory: Quantity | None = Field(default=None, description="Host memory per replica; absent means planned.")
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default={}, description="Labels that the node must have.", json_schema_extra={"maxProperties": 32}
    )
    tolerations: list[Toleration] = Field(default=[], max_length=32, description="Taints that are accepted.")
    priority_class_name: str | None = Field(default=None, min_length=1, max_length=253, description="PriorityClass of the pod.")
    runtime_class_name: str | None = Field(default=None, min_length=1, max_length=253, description="RuntimeClass of the pod.")


class Scaling(Schema):
    """When an idle endpoint goes to sleep."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "duration(self.idleAfter) == duration('0s') || duration(self.idleAfter) >= duration('60s')",
                "spec.scaling.idleAfter must be 0s (never sleep) or at least 60s",
            )
        )
    )

    idle_after: Duration = Field(default="15m", description="Asleep after this long without a request; 0s means never.")
    min_awake: Duration = Field(default="5m", description="Stays awake at least this long.")


class Wake(Schema):
    """What happens to requests that meet a sleeping endpoint. Caps hold per gateway replica."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("duration(self.maxHold) <= duration('15m')", "spec.wake.maxHold must be at most 15m"),
            rule("duration(self.hold) <= duration(self.maxHold)", "spec.wake.hold must not be longer than spec.wake.maxHold"),
        )
    )

    hold: Duration = Field(default="0s", description="How long a request is held by default; 0s answers 503 with Retry-After at once.")
    max_hold: Duration = Field(default="10m", description="The longest hold that a caller may ask for; at most 15m.")
    max_held_requests: int = Field(default=100, ge=0, le=100_000, description="Requests held at once.")
    max_held_bytes: Quantity = Field(default="64Mi", description="Bytes of held request bodies.")


class Update(Schema):
    """How a changed spec replaces what runs."""

    model_config = ConfigDict(json_schema_extra=rules(rule("duration(self.drain) <= duration('1h')", "spec.update.drain must be at most 1h")))

    strategy: Strategy = Field(default=Strategy.SURGE, description="surge or replace.")
    drain: Duration = Field(default="2m", description="How long requests in flight may take to end before their pod goes; at most 1h.")


class Access(Schema):
    """Who may call it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.visibility != 'shared' || has(self.displayName)",
                "spec.access.displayName is required where visibility is shared: it is the name in the catalogue",
            )
        )
    )

    owner: str = Field(min_length=1, max_length=253, description="Who may call it and see its logs.")
    visibility: Literal["private", "shared"] = Field(default="private", description="shared puts it into the catalogue.")
    display_name: str | None = Field(default=None, min_length=1, max_length=128, description="Name in the catalogue; unique among shared endpoints.")


class EndpointSpec(Schema):
    """What the user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.model) || self.engine.kind == 'custom'", "spec.model is required unless spec.engine.kind is custom"),
            rule(
                "!('cpu' in self.hardware.accelerators) || self.engine.kind in ['llamacpp', 'custom']",
                "spec.hardware.accelerators [cpu] runs with spec.engine.kind llamacpp or custom only",
            ),
        )
    )

    model: Model | None = Field(default=None, description="Where the weights come from; may be absent for engine kind custom.")
    engine: Engine = Field(default=Engine(), description="The server process.")
    hardware: Hardware = Field(default=Hardware(), description="What it runs on.")
    replicas: int = Field(default=1, ge=1, le=1000, description="Serving replicas while awake.")
    scaling: Scaling = Field(default=Scaling(), description="When it goes to sleep.")
    wake: Wake = Field(default=Wake(), description="What happens to requests that meet it asleep.")
    update: Update = Field(default=Update(), description="How changes are rolled out.")
    access: Access = Field(description="Who may call it.")
    suspend: bool = Field(default=False, description="Paused: no pods, and no request wakes it.")
