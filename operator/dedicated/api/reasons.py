"""The closed catalogue of reasons: one sentence, one next step, and whether trying again can help. Never renamed after release."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dedicated.api.names import ANNOTATION_REFRESH, ANNOTATION_RETRY


class Reason(StrEnum):
    """Why an endpoint is as it is. Each has its entry in `CATALOGUE`."""

    # hub
    TOKEN_MISSING = "TokenMissing"
    TOKEN_INVALID = "TokenInvalid"
    TOKEN_SCOPE_INSUFFICIENT = "TokenScopeInsufficient"
    GATED_ACCESS_DENIED = "GatedAccessDenied"
    GATED_ACCESS_PENDING = "GatedAccessPending"
    MODEL_NOT_FOUND = "ModelNotFound"
    REVISION_NOT_FOUND = "RevisionNotFound"
    MODEL_DISABLED = "ModelDisabled"
    MODEL_FILES_MISSING = "ModelFilesMissing"
    MODEL_CHANGED = "ModelChanged"
    HUB_UNAVAILABLE = "HubUnavailable"
    HUB_RATE_LIMITED = "HubRateLimited"
    # plan
    CONFLICTING_ARGS = "ConflictingArgs"
    DOES_NOT_FIT = "DoesNotFit"
    TIGHT_FIT = "TightFit"
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
    UNSUPPORTED_QUANTIZATION = "UnsupportedQuantization"
    UNSUPPORTED_DTYPE = "UnsupportedDtype"
    PARALLELISM_INVALID = "ParallelismInvalid"
    CONTEXT_TOO_LONG = "ContextTooLong"
    NO_ACCELERATOR_ALLOWED = "NoAcceleratorAllowed"
    PRICE_ABOVE_LIMIT = "PriceAboveLimit"
    # place
    NO_CAPACITY = "NoCapacity"
    NODE_COMING = "NodeComing"
    QUEUED = "Queued"
    QUOTA_EXCEEDED = "QuotaExceeded"
    POD_REFUSED = "PodRefused"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    IMAGE_NOT_FOUND = "ImageNotFound"
    IMAGE_NOT_EXECUTABLE = "ImageNotExecutable"
    # weights
    WEIGHTS_FETCHING = "WeightsFetching"
    WEIGHTS_CORRUPT = "WeightsCorrupt"
    NODE_DISK_FULL = "NodeDiskFull"
    OBJECT_STORE_UNAVAILABLE = "ObjectStoreUnavailable"
    OBJECT_STORE_DENIED = "ObjectStoreDenied"
    CACHE_CORRUPT = "CacheCorrupt"
    # engine
    ENGINE_STARTING = "EngineStarting"
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    GPU_OUT_OF_MEMORY_LOADING = "GpuOutOfMemoryLoading"
    GPU_OUT_OF_MEMORY_SERVING = "GpuOutOfMemoryServing"
    KV_CACHE_TOO_SMALL = "KvCacheTooSmall"
    GPU_MEMORY_BUSY = "GpuMemoryBusy"
    SHARED_MEMORY_TOO_SMALL = "SharedMemoryTooSmall"
    COLLECTIVE_COMM_FAILED = "CollectiveCommFailed"
    DRIVER_MISMATCH = "DriverMismatch"
    BAD_ENGINE_ARGUMENT = "BadEngineArgument"
    PORT_IN_USE = "PortInUse"
    PORT_MISMATCH = "PortMismatch"
    PERMISSION_DENIED = "PermissionDenied"
    ENGINE_EXITED = "EngineExited"
    CRASH_LOOP = "CrashLoop"
    PROBE_NEVER_PASSED = "ProbeNeverPassed"
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded"
    ENGINE_MUTE = "EngineMute"
    NODE_LOST = "NodeLost"
    EVICTED = "Evicted"
    # life
    ALL_READY = "AllReady"
    SUSPENDED = "Suspended"
    NO_TRAFFIC = "NoTraffic"
    DRAINING = "Draining"
    WAKING = "Waking"
    WAKE_FAILED = "WakeFailed"
    UPDATING = "Updating"
    UPDATE_FAILED = "UpdateFailed"
    INVALID_SPEC = "InvalidSpec"
    INTERNAL_ERROR = "InternalError"


@dataclass(frozen=True)
class Entry:
    """What a person is told. `next_step` begins with a verb; `retryable` says that the same request may succeed later by itself."""

    sentence: str
    next_step: str
    retryable: bool


R = Reason
CATALOGUE: dict[Reason, Entry] = {
    R.TOKEN_MISSING: Entry(
        "The model needs a hub token and none can be used.",
        "Create a Secret with the token in this namespace, label it inference.dedicated.dev/use=hub-token and name it in spec.model.tokenSecretRef.",
        False,
    ),
    R.TOKEN_INVALID: Entry("The hub does not know the token.", "Put a valid token into the Secret that spec.model.tokenSecretRef names.", False),
    R.TOKEN_SCOPE_INSUFFICIENT: Entry(
        "The token is valid but may not read this repository.",
        "Give the token read access to the repository, or use another token.",
        False,
    ),
    R.GATED_ACCESS_DENIED: Entry(
        "The model is gated and this token's account has no access to it.",
        f"Ask for access on the model's page with the account that owns the token; once it is granted, set the annotation {ANNOTATION_RETRY}.",
        False,
    ),
    R.GATED_ACCESS_PENDING: Entry(
        "The model is gated and the request for access waits for its authors.",
        "Wait until the authors grant it: it is asked again by itself, at least each 15 minutes.",
        True,
    ),
    R.MODEL_NOT_FOUND: Entry(
        "There is no such model, or it is private.",
        "Check spec.model.huggingFace.repo or spec.model.s3.uri; for a private model set spec.model.tokenSecretRef.",
        False,
    ),
    R.REVISION_NOT_FOUND: Entry(
        "The model has no such revision.", "Set spec.model.huggingFace.revision to a branch, a tag or a commit that exists.", False
    ),
    R.MODEL_DISABLED: Entry("The hub has disabled this model.", "Use another model.", False),
    R.MODEL_FILES_MISSING: Entry(
        "The model lacks a file that the engine needs.",
        "Check spec.model.huggingFace.files and that the repository holds weights in a format of this engine.",
        False,
    ),
    R.MODEL_CHANGED: Entry(
        "The model's files in S3 are no longer those that were resolved.",
        f"Set the annotation {ANNOTATION_REFRESH} to take the files as they are now, or put back those that were there.",
        False,
    ),
    R.HUB_UNAVAILABLE: Entry("The hub does not answer.", "Nothing to do: it is asked again; check the network if this lasts.", True),
    R.HUB_RATE_LIMITED: Entry("The hub refuses more requests for now.", "Nothing to do: it is asked again; a token raises the limit.", True),
    R.CONFLICTING_ARGS: Entry(
        "An engine argument or variable is one that dedicated sets itself.", "Remove it from spec.engine and use the field of the spec.", False
    ),
    R.DOES_NOT_FIT: Entry(
        "No allowed accelerator holds the weights and the KV cache of one request.",
        "Allow a larger accelerator in spec.hardware.accelerators, raise spec.hardware.count, or lower spec.engine.maxModelLen.",
        False,
    ),
    R.TIGHT_FIT: Entry(
        "The model fits with so little to spare that the engine may run out of memory.",
        "Set spec.engine.kvCacheDtype to fp8, lower spec.engine.maxModelLen or maxNumSeqs, or allow a larger accelerator.",
        True,
    ),
    R.UNSUPPORTED_ARCHITECTURE: Entry(
        "The model's architecture is not one that is known.",
        "Use an engine image that supports it (often a newer one), another engine kind, or another model.",
        False,
    ),
    R.UNSUPPORTED_QUANTIZATION: Entry(
        "The engine or the accelerator cannot compute with the way in which the weights are stored.",
        "Use another checkpoint of the model, another engine kind, or a newer accelerator.",
        False,
    ),
    R.UNSUPPORTED_DTYPE: Entry(
        "The accelerator cannot compute with the model's data type.",
        "Allow an accelerator with bfloat16: compute capability 8.0 or higher.",
        False,
    ),
    R.PARALLELISM_INVALID: Entry(
        "The model cannot be divided over so many accelerators.",
        "Set spec.hardware.count to a number that divides the model's attention heads and fits on a node.",
        False,
    ),
    R.CONTEXT_TOO_LONG: Entry(
        "The context length that is asked for is longer than the model's own limit.",
        "Lower spec.engine.maxModelLen to the model's limit.",
        False,
    ),
    R.NO_ACCELERATOR_ALLOWED: Entry(
        "None of the allowed accelerators exists, or can run this engine at all.",
        "Name AcceleratorClasses of this cluster in spec.hardware.accelerators, or leave it empty to allow any.",
        False,
    ),
    R.PRICE_ABOVE_LIMIT: Entry(
        "What the model needs costs more than spec.hardware.maxPricePerHour.",
        "Raise spec.hardware.maxPricePerHour, or lower spec.engine.maxModelLen so that a smaller accelerator will do.",
        False,
    ),
    R.NO_CAPACITY: Entry("No node has room for the pod.", "Add a node with the hardware that is asked for, or ask for less in spec.hardware.", True),
    R.NODE_COMING: Entry("A provisioner adds a node for the pod.", "Nothing to do.", True),
    R.QUEUED: Entry("The pod waits in a queue.", "Nothing to do: see the queue that the label kueue.x-k8s.io/queue-name names.", True),
    R.QUOTA_EXCEEDED: Entry("A quota of the namespace does not allow the pod.", "Raise the ResourceQuota, or ask for less in spec.hardware.", True),
    R.POD_REFUSED: Entry(
        "The cluster refuses to make the pod.", "Read the message: an admission policy of this namespace has to allow the pod.", True
    ),
    R.IMAGE_PULL_FAILED: Entry("The engine image cannot be pulled.", "Check the registry and spec.engine.imagePullSecrets; it is tried again.", True),
    R.IMAGE_NOT_FOUND: Entry("The engine image does not exist.", "Correct spec.engine.image.", True),
    R.IMAGE_NOT_EXECUTABLE: Entry(
        "The engine image has no program that this node can run.",
        "Use an image with the engine as its entrypoint, built for the node's architecture.",
        False,
    ),
    R.WEIGHTS_FETCHING: Entry("The weights are on their way into the pod.", "Nothing to do.", True),
    R.WEIGHTS_CORRUPT: Entry(
        "The weights that arrived are not those that the hub described.", "Check the hub or its mirror for a damaged file.", False
    ),
    R.NODE_DISK_FULL: Entry("The node's disk is too small for the weights.", "Use a node with more ephemeral storage.", True),
    R.OBJECT_STORE_UNAVAILABLE: Entry(
        "The object store cannot be reached, or asked for fewer requests.", "Nothing to do: it is tried again; check the network if this lasts.", True
    ),
    R.OBJECT_STORE_DENIED: Entry(
        "The object store refuses the credentials, or has no such bucket.",
        "Correct the bucket, or the Secret with the credentials that may use it.",
        False,
    ),
    R.CACHE_CORRUPT: Entry(
        "The cache holds another content than its digest says.", "Nothing to do: what is wrong is fetched from the hub and put right.", True
    ),
    R.ENGINE_STARTING: Entry("The engine loads the model.", "Nothing to do.", True),
    R.HOST_OUT_OF_MEMORY: Entry(
        "The engine used more host memory than its limit and was killed.",
        "Raise spec.hardware.memory, or lower spec.engine.maxModelLen.",
        False,
    ),
    R.GPU_OUT_OF_MEMORY_LOADING: Entry(
        "The GPU's memory was full while the weights were loaded.",
        "Use an accelerator with more memory, more of them (spec.hardware.count), or a quantized model.",
        False,
    ),
    R.GPU_OUT_OF_MEMORY_SERVING: Entry(
        "The weights fitted, but the GPU's memory was full when the engine warmed up or served.",
        "Lower spec.engine.maxNumSeqs or spec.engine.maxModelLen, or use an accelerator with more memory.",
        False,
    ),
    R.KV_CACHE_TOO_SMALL: Entry(
        "The memory that the weights leave free holds less than one request of the full context length.",
        "Lower spec.engine.maxModelLen, or use an accelerator with more memory.",
        False,
    ),
    R.GPU_MEMORY_BUSY: Entry(
        "Another process holds memory of the GPU.",
        "Find what else runs on the GPU; it is tried again.",
        True,
    ),
    R.SHARED_MEMORY_TOO_SMALL: Entry(
        "The container's shared memory (/dev/shm) is too small.",
        "Give the pod more memory (spec.hardware.memory): its /dev/shm counts against it.",
        False,
    ),
    R.COLLECTIVE_COMM_FAILED: Entry(
        "The processes of one replica could not talk to each other.",
        "Read the NCCL lines of the log: interface, InfiniBand or peer access between the GPUs; or set spec.hardware.count to 1.",
        True,
    ),
    R.DRIVER_MISMATCH: Entry(
        "GPU, driver and engine image do not match.",
        "Use an engine image built for the node's driver and GPU, or another accelerator.",
        False,
    ),
    R.BAD_ENGINE_ARGUMENT: Entry(
        "The engine refuses one of its arguments.",
        "Correct spec.engine.args or spec.engine.env.",
        False,
    ),
    R.PORT_IN_USE: Entry("The engine's port is taken.", "Remove what else listens on it in the pod; it is tried again.", True),
    R.PORT_MISMATCH: Entry(
        "The engine listens somewhere else than where it is asked.",
        "Set spec.engine.port to the port that the engine listens on, and let it listen on 0.0.0.0.",
        False,
    ),
    R.PERMISSION_DENIED: Entry(
        "The engine may not read or write a file.",
        "Point the engine's caches to a folder that it may write (spec.engine.env), or use an image that runs without root.",
        False,
    ),
    R.ENGINE_EXITED: Entry("The engine ended by itself.", "Read status.diagnosis.logTail.", True),
    R.CRASH_LOOP: Entry("The engine ends again and again.", "Read status.diagnosis.logTail and correct spec.engine.", True),
    R.PROBE_NEVER_PASSED: Entry(
        "The engine runs but never became healthy.",
        "Read status.diagnosis.logTail; for a custom engine check spec.engine.port and spec.engine.healthPath.",
        True,
    ),
    R.START_DEADLINE_EXCEEDED: Entry("The pod did not start in time.", "Read the pod's events: a volume, a network or the node holds it up.", True),
    R.ENGINE_MUTE: Entry(
        "The engine has not answered the question for its load for minutes.",
        "Read the engine's log: its server hangs or its /metrics are turned off; it is started anew.",
        True,
    ),
    R.NODE_LOST: Entry("The node of the pod is gone or does not answer.", "Nothing to do: the pod starts on another node.", True),
    R.EVICTED: Entry("The node put the pod out.", "Read the message: the node was short of memory or disk; the pod starts again elsewhere.", True),
    R.ALL_READY: Entry("The endpoint answers.", "Nothing to do.", True),
    R.SUSPENDED: Entry("The endpoint is paused.", "Set spec.suspend to false to resume it.", True),
    R.NO_TRAFFIC: Entry("The endpoint sleeps, since nobody called it.", "Nothing to do: the next call wakes it.", True),
    R.DRAINING: Entry("Replicas are about to go, as soon as nothing is in flight to them.", "Nothing to do.", True),
    R.WAKING: Entry("The endpoint wakes.", "Nothing to do.", True),
    R.WAKE_FAILED: Entry(
        "The last wake failed; the endpoint sleeps again.", "Read status.diagnosis; a call after its nextAttemptAt tries again.", True
    ),
    R.UPDATING: Entry("A new revision starts; the old one serves until it is ready.", "Nothing to do.", True),
    R.UPDATE_FAILED: Entry("The new revision failed; the old one still serves.", "Correct the spec, or set it back to what serves.", False),
    R.INVALID_SPEC: Entry("The spec asks for something that cannot be.", "Correct the field that the message names.", False),
    R.INTERNAL_ERROR: Entry("The operator met an error of its own.", "Report the operator's log; it tries again.", True),
}
