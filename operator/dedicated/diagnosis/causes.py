"""
What a log can prove: each cause with its reason, its coarse class, and whether the same again may succeed.

`coarse` is what `dedicated diagnose` prints as `class` (a closed list, kept small so that scripts can branch on it). `retryable` differs from the
catalogue's where the log knows more: a download that the engine made itself may be whole the next time, a missing module never appears by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dedicated.api.reasons import CATALOGUE, Reason


class Coarse(StrEnum):
    """The classes of `dedicated diagnose`."""

    HOST_OOM = "host_oom"
    GPU_OOM_WEIGHTS = "gpu_oom_weights"
    GPU_OOM_RUNTIME = "gpu_oom_runtime"
    KV_TOO_SMALL = "kv_too_small"
    GATED_NO_TOKEN = "gated_no_token"
    GATED_DENIED = "gated_denied"
    BAD_TOKEN = "bad_token"
    MODEL_NOT_FOUND = "model_not_found"
    REVISION_NOT_FOUND = "revision_not_found"
    UNSUPPORTED_ARCHITECTURE = "unsupported_architecture"
    UNSUPPORTED_DTYPE_OR_QUANT = "unsupported_dtype_or_quant"
    TENSOR_PARALLEL_INVALID = "tensor_parallel_invalid"
    MAX_LEN_INVALID = "max_len_invalid"
    DISK_FULL = "disk_full"
    CORRUPT_WEIGHTS = "corrupt_weights"
    SHM_TOO_SMALL = "shm_too_small"
    NCCL_COMM = "nccl_comm"
    DRIVER_MISMATCH = "driver_mismatch"
    PORT_IN_USE = "port_in_use"
    BAD_ARGUMENT = "bad_argument"
    IMAGE_OR_EXEC_ERROR = "image_or_exec_error"
    NETWORK_HUB = "network_hub"
    RATE_LIMITED = "rate_limited"
    PERMISSION_DENIED = "permission_denied"
    PYTHON_EXCEPTION_OTHER = "python_exception_other"
    NONE_HEALTHY = "none_healthy"


@dataclass(frozen=True)
class Cause:
    """`sentence` and `next_step` are the catalogue's, or more exact ones; `serving` says that it also ends an engine that serves."""

    reason: Reason
    coarse: Coarse
    retryable: bool
    sentence: str
    next_step: str
    serving: bool = False


def _cause(reason: Reason, coarse: Coarse, *, retryable: bool | None = None, sentence: str = "", next_step: str = "", serving: bool = False) -> Cause:
    entry = CATALOGUE[reason]
    again = entry.retryable if retryable is None else retryable
    return Cause(reason, coarse, again, sentence or entry.sentence, next_step or entry.next_step, serving)


R, C = Reason, Coarse

# hub
GATED_NO_TOKEN = _cause(R.TOKEN_MISSING, C.GATED_NO_TOKEN)
GATED_DENIED = _cause(R.GATED_ACCESS_DENIED, C.GATED_DENIED)
GATED_PENDING = _cause(R.GATED_ACCESS_PENDING, C.GATED_DENIED)
TOKEN_INVALID = _cause(R.TOKEN_INVALID, C.BAD_TOKEN)
TOKEN_SCOPE = _cause(R.TOKEN_SCOPE_INSUFFICIENT, C.BAD_TOKEN)
TOKEN_SCOPE_GATED = _cause(R.TOKEN_SCOPE_INSUFFICIENT, C.GATED_DENIED)
MODEL_NOT_FOUND = _cause(R.MODEL_NOT_FOUND, C.MODEL_NOT_FOUND)
MODEL_DISABLED = _cause(R.MODEL_DISABLED, C.MODEL_NOT_FOUND)
FILES_MISSING = _cause(R.MODEL_FILES_MISSING, C.MODEL_NOT_FOUND)
REVISION_NOT_FOUND = _cause(R.REVISION_NOT_FOUND, C.REVISION_NOT_FOUND)
HUB_UNREACHABLE = _cause(R.HUB_UNAVAILABLE, C.NETWORK_HUB)
RATE_LIMITED = _cause(R.HUB_RATE_LIMITED, C.RATE_LIMITED)

# the model and the engine
ARCHITECTURE = _cause(
    R.UNSUPPORTED_ARCHITECTURE,
    C.UNSUPPORTED_ARCHITECTURE,
    sentence="The engine does not know the model's architecture.",
    next_step="Use an engine image that supports it (often a newer one), another engine kind, or another model.",
)
REMOTE_CODE = _cause(
    R.BAD_ENGINE_ARGUMENT,
    C.BAD_ARGUMENT,
    next_step="Read the model's own code; if you trust it, add --trust-remote-code to spec.engine.args.",
)
DTYPE = _cause(R.UNSUPPORTED_DTYPE, C.UNSUPPORTED_DTYPE_OR_QUANT)
QUANTIZATION = _cause(R.UNSUPPORTED_QUANTIZATION, C.UNSUPPORTED_DTYPE_OR_QUANT)
PARALLELISM = _cause(R.PARALLELISM_INVALID, C.TENSOR_PARALLEL_INVALID)
CONTEXT_TOO_LONG = _cause(R.CONTEXT_TOO_LONG, C.MAX_LEN_INVALID)
BAD_ARGUMENT = _cause(R.BAD_ENGINE_ARGUMENT, C.BAD_ARGUMENT)
CORRUPT = _cause(R.WEIGHTS_CORRUPT, C.CORRUPT_WEIGHTS, retryable=True)

# memory
HOST_OOM = _cause(R.HOST_OUT_OF_MEMORY, C.HOST_OOM, retryable=True, serving=True)
SIGKILLED = _cause(R.HOST_OUT_OF_MEMORY, C.HOST_OOM, retryable=True, serving=True)
"""Killed by somebody: most likely for memory, unless a probe failed."""
GPU_OOM_LOADING = _cause(R.GPU_OUT_OF_MEMORY_LOADING, C.GPU_OOM_WEIGHTS)
GPU_OOM_SERVING = _cause(R.GPU_OUT_OF_MEMORY_SERVING, C.GPU_OOM_RUNTIME, serving=True)
GPU_OOM_SAMPLER = _cause(
    R.GPU_OUT_OF_MEMORY_SERVING,
    C.GPU_OOM_RUNTIME,
    next_step="Lower spec.engine.maxNumSeqs: the sampler's buffers grow with it and with the vocabulary.",
)
GPU_OOM_GRAPHS = _cause(
    R.GPU_OUT_OF_MEMORY_SERVING,
    C.GPU_OOM_RUNTIME,
    next_step="Lower spec.engine.maxNumSeqs, or switch CUDA graphs off (--enforce-eager, --disable-cuda-graph).",
)
KV_TOO_SMALL = _cause(R.KV_CACHE_TOO_SMALL, C.KV_TOO_SMALL)
GPU_BUSY = _cause(R.GPU_MEMORY_BUSY, C.GPU_OOM_WEIGHTS)

# the machine
DISK_FULL = _cause(R.NODE_DISK_FULL, C.DISK_FULL, retryable=False)
SHM = _cause(R.SHARED_MEMORY_TOO_SMALL, C.SHM_TOO_SMALL, serving=True)
NCCL_SETUP = _cause(R.COLLECTIVE_COMM_FAILED, C.NCCL_COMM, retryable=False, serving=True)
NCCL_LOST = _cause(R.COLLECTIVE_COMM_FAILED, C.NCCL_COMM, serving=True)
DRIVER = _cause(R.DRIVER_MISMATCH, C.DRIVER_MISMATCH, serving=True)
NO_GPU = _cause(
    R.DRIVER_MISMATCH,
    C.DRIVER_MISMATCH,
    next_step="Ask for an accelerator in spec.hardware, and check the device plugin and runtimeClassName of the node.",
)
PORT = _cause(R.PORT_IN_USE, C.PORT_IN_USE, serving=True)
PERMISSION = _cause(R.PERMISSION_DENIED, C.PERMISSION_DENIED)
IMAGE_PULL = _cause(R.IMAGE_PULL_FAILED, C.IMAGE_OR_EXEC_ERROR)
IMAGE_ABSENT = _cause(R.IMAGE_NOT_FOUND, C.IMAGE_OR_EXEC_ERROR)
NOT_EXECUTABLE = _cause(R.IMAGE_NOT_EXECUTABLE, C.IMAGE_OR_EXEC_ERROR)
EVICTED_DISK = _cause(R.EVICTED, C.DISK_FULL, serving=True)
EVICTED_MEMORY = _cause(R.EVICTED, C.HOST_OOM, serving=True)

# the rest
IMAGE_LACKS = _cause(R.ENGINE_EXITED, C.PYTHON_EXCEPTION_OTHER, retryable=False, next_step="Use an engine image that holds what the message names.")
GPU_FAULT = _cause(R.ENGINE_EXITED, C.PYTHON_EXCEPTION_OTHER, serving=True)
SEGFAULT = _cause(R.ENGINE_EXITED, C.PYTHON_EXCEPTION_OTHER, serving=True)
PROBE_KILLED = _cause(
    R.PROBE_NEVER_PASSED,
    C.PYTHON_EXCEPTION_OTHER,
    next_step="Read the end of the log: the engine hung, or was too slow to answer its health check.",
)
EXITED = _cause(R.ENGINE_EXITED, C.PYTHON_EXCEPTION_OTHER, serving=True)
BROKEN = _cause(R.ENGINE_EXITED, C.PYTHON_EXCEPTION_OTHER, retryable=False)


_COARSE_OF: dict[Reason, Coarse] = {
    R.HOST_OUT_OF_MEMORY: C.HOST_OOM,
    R.IMAGE_PULL_FAILED: C.IMAGE_OR_EXEC_ERROR,
    R.IMAGE_NOT_FOUND: C.IMAGE_OR_EXEC_ERROR,
    R.IMAGE_NOT_EXECUTABLE: C.IMAGE_OR_EXEC_ERROR,
    R.TOKEN_MISSING: C.GATED_NO_TOKEN,
    R.TOKEN_INVALID: C.BAD_TOKEN,
    R.TOKEN_SCOPE_INSUFFICIENT: C.BAD_TOKEN,
    R.GATED_ACCESS_DENIED: C.GATED_DENIED,
    R.GATED_ACCESS_PENDING: C.GATED_DENIED,
    R.MODEL_NOT_FOUND: C.MODEL_NOT_FOUND,
    R.MODEL_DISABLED: C.MODEL_NOT_FOUND,
    R.REVISION_NOT_FOUND: C.REVISION_NOT_FOUND,
    R.HUB_UNAVAILABLE: C.NETWORK_HUB,
    R.HUB_RATE_LIMITED: C.RATE_LIMITED,
    R.WEIGHTS_CORRUPT: C.CORRUPT_WEIGHTS,
    R.NODE_DISK_FULL: C.DISK_FULL,
    R.SHARED_MEMORY_TOO_SMALL: C.SHM_TOO_SMALL,
    R.INVALID_SPEC: C.BAD_ARGUMENT,
}


def coarse_of(reason: Reason) -> Coarse:
    """The class of a reason that was not read from a log; what the list has no word for is the last of its failures."""
    return _COARSE_OF.get(reason, C.PYTHON_EXCEPTION_OTHER)
