"""
How engines, libraries and the kubelet word their failures: a table, and nothing else. Its rules are applied by `classify`.

A row is a regular expression on the line's text **in lower case**, the engine that writes it, and where the wording was read. Rows stand under the
cause they prove, with the role that they play. Of the rows that fit one line the first counts, so the exact ones stand above the general ones.

Longer than 300 lines because it is data: each row is one thing that the world says.
"""

# ruff: noqa: E501 - a row is one line, however long its pattern.
from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

from dedicated.diagnosis import causes as c
from dedicated.diagnosis.causes import Cause


class Role(IntEnum):
    """How much a line proves. Of several, the highest role wins; of one role, the earliest line."""

    WRAPPER = 0
    """Tells that something died, not why: `Engine core initialization failed`."""
    COLLATERAL = 1
    """What others see when one process dies: a closed connection."""
    EXCEPTION = 2
    """Some exception."""
    SYMPTOM = 3
    """A true failure behind which another cause often stands: an NCCL error after a rank ran out of memory."""
    CAUSE = 4
    """Names the cause."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One row. `needle` is a literal part of the pattern: a text without it need not be searched."""

    text: str
    needle: str
    cause: Cause
    role: Role
    engine: str
    source: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when it is first needed: all of them take a tenth of a second."""
        return _compiled(self.text)


_compiled = cache(re.compile)
_GROUP = re.compile(r"\((?:[^()\\]|\\.)*\)[?*]?")
_NO_LITERAL = re.compile(r"\[(?:[^\]\\]|\\.)*\][?*+]?(?:\{[\d,]+\})?|(?:\\.|[^\\])(?:[?*]|\{[\d,]+\})|\\[a-zA-Z]\+?|[.^$+]")


def needle_of(pattern: str) -> str:
    """The longest literal run of a pattern without alternatives at its top level."""
    before = ""
    while before != pattern:
        before, pattern = pattern, _GROUP.sub("\0", pattern)
    return max(_NO_LITERAL.sub("\0", pattern).replace("\\", "").split("\0"), key=len)


def _rows(cause: Cause, *rows: tuple[str, str, str], role: Role = Role.CAUSE) -> tuple[Signature, ...]:
    """Rows of one cause: engine, pattern, source."""
    return tuple(Signature(pattern, needle_of(pattern), cause, role, engine, source) for engine, pattern, source in rows)


# Sources: a path is in the engine's or library's own repository; name#number is an issue or pull request of it on GitHub.
_CONTAINER = (
    *_rows(
        c.HOST_OOM,
        ("kubelet", r"oomkilled(?!\"?: ?false)", "kubelet: state.terminated.reason; vllm#3895"),
        ("kernel", r"out of memory: killed process", "mm/oom_kill.c"),
        ("kernel", r"oom-kill:constraint=", "mm/oom_kill.c"),
        ("kernel", r"memory cgroup out of memory", "mm/oom_kill.c"),
        ("kubelet", r"system oom encountered", "kubelet: event SystemOOM"),
        ("ollama", r"requires more system memory", "ollama server/sched.go"),
        ("ray", r"task was killed due to the node running low on memory", "ray: OutOfMemoryError"),
        ("ray", r"workers? \(tasks ?/ ?actors\) killed due to memory pressure", "ray: node manager"),
        ("torch", r"signal 9 \(sigkill\) received by pid", "torch/distributed/elastic/multiprocessing/api.py"),
        ("tgi", r"shard process was signaled to shutdown with signal 9", "TGI launcher/src/main.rs"),
        ("torch", r"defaultcpuallocator: (?:can't|not enough) (?:allocate )?memory", "c10/core/impl/alloc_cpu.cpp"),
        ("torch", r"defaultcpuallocator: not enough memory", "c10/core/impl/alloc_cpu.cpp"),
        ("any", r"^(?!.*(?:ibv_|mlock)).*cannot allocate memory", "errno 12 (ENOMEM); of InfiniBand and mlock it is a limit of locked memory"),
        ("python", r"unable to allocate [\d.]+ [kmgt]ib for an array", "numpy: _ArrayMemoryError"),
        ("any", r"std::bad_alloc", "C++ library"),
        ("rust", r"memory allocation of \d+ bytes failed", "Rust alloc error handler"),
        ("llamacpp", r"ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate", "ggml/src/ggml-backend.cpp"),
        ("llamacpp", r"ggml_aligned_malloc: insufficient memory", "ggml/src/ggml.c"),
        ("llamacpp", r"unable to allocate cpu\w* buffer", "llama.cpp src/llama-model.cpp"),
        ("llamacpp", r"failed to allocate cpu\w* buffer", "ggml/src/ggml-alloc.c"),
        ("python", r"^memoryerror\b", "CPython"),
        ("vllm", r"too large swap space\. .{0,60} out of", "vllm/config/cache.py"),
    ),
    *_rows(c.SIGKILLED, ("kubelet", r"exit code:\s+137", "kubectl describe; 128 + SIGKILL"), role=Role.SYMPTOM),
    *_rows(
        c.HOST_OOM,
        ("shell", r"^(?:\S+: line \d+:\s+)?\d*\s*killed(?:\s+\S.*)?$", "bash: a child ended by SIGKILL, also where an engine ends its own children"),
        ("vllm", r"failed core proc\(s\): \{.{0,200}: -9\b", "vllm/v1/engine/utils.py: exit codes of its children"),
        ("any", r"exit ?(?:code|status)\s*[:= ]\s*-9\b", "a child ended by SIGKILL: sglang entrypoints/engine.py, vllm, torch elastic"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.EVICTED_DISK,
        ("kubelet", r"the node was low on resource: (?:ephemeral-storage|inodes)", "kubernetes-engine-samples#1581"),
        ("kubelet", r"ephemeral local storage usage exceeds the total limit", "pkg/kubelet/eviction/helpers.go"),
        ("kubelet", r"usage of emptydir volume .* exceeds the limit", "pkg/kubelet/eviction/helpers.go"),
        ("kubelet", r"node had condition: \[diskpressure", "kubelet: eviction at admission"),
    ),
    *_rows(
        c.EVICTED_MEMORY,
        ("kubelet", r"the node was low on resource: memory", "node-pressure-eviction docs"),
        ("kubelet", r"node had condition: \[memorypressure", "kubelet: eviction at admission"),
    ),
    *_rows(
        c.IMAGE_ABSENT,
        ("kubelet", r"failed to pull .*not found", "containerd: pull"),
        ("registry", r"manifest unknown", "OCI distribution spec: error codes"),
        ("registry", r"manifest for .* not found", "docker"),
        ("kubelet", r"invalidimagename", "pkg/kubelet/images/types.go"),
        ("kubelet", r"errimageneverpull", "pkg/kubelet/images/types.go"),
    ),
    *_rows(
        c.IMAGE_PULL,
        ("kubelet", r"imagepullbackoff", "pkg/kubelet/images/types.go"),
        ("kubelet", r"errimagepull", "pkg/kubelet/images/types.go"),
        ("kubelet", r"failed to pull (?:and unpack )?image", "containerd: pull"),
        ("kubelet", r"back-off pulling image", "pkg/kubelet/images/image_manager.go"),
        ("registry", r"pull access denied", "docker"),
        ("registry", r"unauthorized: authentication required", "OCI distribution spec: error codes"),
        ("registry", r"failed to (?:authorize|fetch (?:anonymous|oauth) token)", "containerd: resolver"),
        ("registry", r"no matching manifest for \S+ in the manifest list", "docker: another architecture"),
        ("registry", r"toomanyrequests: you have reached your", "Docker Hub"),
    ),
    *_rows(
        c.NO_GPU,
        ("runtime", r"nvidia-container-cli: (?:initialization|device|detection) error", "libnvidia-container"),
        ("runtime", r"could not select device driver .{0,40}gpu", "docker without the NVIDIA runtime"),
        ("runtime", r"unresolvable cdi devices", "NVIDIA container toolkit"),
    ),
    *_rows(c.DRIVER, ("runtime", r"unsatisfied condition: cuda", "libnvidia-container: requirement error")),
    *_rows(
        c.IMAGE_LACKS,
        ("shell", r"nvcc: (?:command )?not found", "shell: no CUDA toolkit in the image"),
        ("shell", r"(?:gcc|g\+\+|ninja|cmake)'?: (?:command )?not found", "shell: no compiler in the image"),
    ),
    *_rows(
        c.NOT_EXECUTABLE,
        ("runtime", r"exec format error", "errno 8 (ENOEXEC)"),
        ("runtime", r"executable file not found in \$path", "runc"),
        ("runtime", r"exec: .*: (?:no such file or directory|permission denied)", "runc"),
        ("runtime", r"no command specified", "docker"),
        ("shell", r"^(?:exec |\[fatal tini \(\d+\)\] exec ).{1,120}(?:no such file or directory|permission denied)", "shell, tini"),
        ("shell", r"^\S+: (?:line )?\d+: (?:exec: )?\S+: not found$", "dash"),
        ("shell", r"^\S+:.{0,80}: command not found$", "bash"),
        ("shell", r"^(?:/usr/bin/)?env: .{1,80}: no such file or directory", "coreutils"),
        ("python", r"can't open file .*\[errno 2\]", "CPython"),
        ("python", r"^\S*python\S*: no module named \S+$", "CPython: python -m"),
        ("python", r"error while finding module specification for", "CPython: runpy"),
        ("loader", r"version .?glibc(?:xx)?_[\d.]+.? not found", "ld.so"),
        ("loader", r"error while loading shared libraries: libcuda\.so", "ld.so"),
        ("loader", r"error while loading shared libraries:", "ld.so"),
        ("loader", r": symbol lookup error: ", "ld.so"),
        ("any", r"illegal instruction", "SIGILL: a CPU that the build is not for"),
    ),
    *_rows(
        c.NOT_EXECUTABLE,
        ("runtime", r"oci runtime create failed", "runc"),
        ("runtime", r"failed to create (?:containerd task|shim task|containerd container)", "containerd"),
        role=Role.SYMPTOM,
    ),
)

_HUB = (
    *_rows(
        c.GATED_PENDING,
        ("hub", r"request to access model .{0,200} is awaiting a review", "huggingface.co: gated repositories"),
        ("hub", r"awaiting a review from the repo authors", "huggingface.co: gated repositories"),
    ),
    *_rows(
        c.GATED_DENIED,
        ("hub", r"you are not in the authorized list", "huggingface_hub errors.py; huggingface_hub#2586"),
        ("hub", r"request to access model .{0,200} (?:has been|was) rejected", "huggingface.co: gated repositories"),
        ("hub", r"gatedrepoerror: 403", "huggingface_hub utils/_http.py"),
    ),
    *_rows(
        c.TOKEN_SCOPE_GATED,
        ("hub", r"enable access to public gated repositories in your fine-grained token", "huggingface.co: fine-grained tokens"),
    ),
    *_rows(
        c.GATED_NO_TOKEN,
        ("hub", r"access to model \S+ is restricted.{0,40}must (?:have access to it and )?be authenticated", "huggingface_hub#1202; basaran#289"),
        ("hub", r"access to model \S+ is restricted\. please log in", "huggingface.co"),
        ("hub", r"gatedrepoerror: 401", "huggingface_hub utils/_http.py"),
        ("hub", r"token is required .{0,40}but no token found", "huggingface_hub utils/_headers.py"),
        ("hub", r"localtokennotfounderror", "huggingface_hub errors.py"),
    ),
    *_rows(
        c.TOKEN_INVALID,
        ("hub", r"invalid credentials in authorization header", "huggingface_hub utils/_http.py"),
        ("hub", r"invalid user token", "huggingface_hub hf_api.py"),
        ("hub", r"user access token .* is expired", "huggingface.co"),
        ("hub", r"(?:the )?token .{0,60}(?:has expired|is expired|is not valid|is invalid)", "huggingface.co"),
        ("hub", r"invalid token passed", "huggingface_hub _login.py"),
        ("hub", r"illegal header value b'bearer", "h11: a token with a line break"),
    ),
    *_rows(
        c.MODEL_DISABLED,
        ("hub", r"access to this resource is disabled", "huggingface_hub utils/_http.py"),
        ("hub", r"disabledrepoerror", "huggingface_hub errors.py"),
    ),
    *_rows(
        c.REVISION_NOT_FOUND,
        ("hub", r"revisionnotfounderror", "huggingface_hub errors.py"),
        ("hub", r"revision not found for url", "huggingface_hub utils/_http.py"),
        ("transformers", r"is not a valid git identifier", "transformers utils/hub.py"),
        ("hub", r"invalid rev id", "huggingface.co"),
    ),
    *_rows(
        c.RATE_LIMITED,
        ("hub", r"429 client error", "huggingface_hub utils/_http.py"),
        ("hub", r"client error '429", "httpx in huggingface_hub 1.x"),
        ("hub", r"429[: ]+too many requests", "RFC 6585"),
        ("hub", r"we had to rate limit", "huggingface.co"),
        ("hub", r"you have (?:exceeded|reached) your .{0,40}rate limit", "hub-docs rate-limits.md"),
        ("hub", r"too many retries.{0,80}429", "hf_transfer"),
    ),
    *_rows(
        c.TOKEN_SCOPE,
        ("hub", r"403 forbidden: .{0,120}(?:token|permission|authoriz)", "huggingface_hub utils/_http.py"),
        ("hub", r"token .{0,80}(?:does not have|lacks|without) .{0,40}(?:permission|scope|access)", "huggingface.co: fine-grained tokens"),
    ),
    *_rows(
        c.MODEL_NOT_FOUND,
        ("hub", r"repositorynotfounderror", "huggingface_hub errors.py"),
        ("hub", r"repository not found for url", "huggingface_hub utils/_http.py"),
        ("vllm", r"invalid repository id or local directory specified", "vllm/transformers_utils/config.py"),
        ("hub", r"repo id must (?:be in the form|use alphanumeric)", "huggingface_hub utils/_validators.py"),
        ("hub", r"hfvalidationerror", "huggingface_hub utils/_validators.py"),
        ("llamacpp", r"failed to open gguf file", "ggml/src/gguf.cpp"),
        ("llamacpp", r"error loading model: .*failed to open .*no such file", "llama.cpp src/llama-mmap.cpp"),
        ("llamacpp", r"failed to open .{0,300}\.gguf", "llama.cpp src/llama-mmap.cpp"),
        ("llamacpp", r"\.gguf.{0,4}(?:: |\()no such file or directory", "llama.cpp"),
        ("llamacpp", r"get_repo_commit: error: (?:http|response).{0,40}40[134]", "llama.cpp common/download.cpp"),
    ),
    *_rows(
        c.FILES_MISSING,
        ("vllm", r"cannot find any model weights with", "vllm model_loader/default_loader.py; vllm#3329"),
        ("vllm", r"cannot find model weights with", "vllm model_loader/default_loader.py"),
        ("transformers", r"error no file named .{0,200}found in directory", "transformers modeling_utils.py"),
        ("transformers", r"does not appear to have (?:a file|files) named", "transformers utils/hub.py; vllm#4416"),
        ("hub", r"remoteentrynotfounderror", "huggingface_hub errors.py"),
        ("vllm", r"no adapter found for", "vllm/lora: an adapter of --lora-modules"),
        ("hub", r"entry not found for url", "huggingface_hub utils/_http.py"),
        ("tgi", r"no \.?safetensors weights found for model", "TGI utils/hub.py"),
        ("python", r"filenotfounderror: .{0,300}(?:\.safetensors|\.bin|\.gguf|config\.json)", "CPython"),
    ),
)

_CORRUPT = _rows(
    c.CORRUPT,
    ("safetensors", r"error while deserializing header", "safetensors/src/tensor.rs"),
    ("safetensors", r"(?:metadataincompletebuffer|headertoolarge|headertoosmall|invalidheader\w*|invalidoffset)", "safetensors/src/tensor.rs"),
    ("safetensors", r"incomplete metadata, file not fully covered", "safetensors/src/tensor.rs"),
    ("safetensors", r"header(?: length)? too (?:large|small)", "safetensors/src/tensor.rs"),
    ("safetensors", r"safetensorerror", "safetensors: Python binding"),
    ("torch", r"pytorchstreamreader failed", "caffe2/serialize/inline_container.cc"),
    ("torch", r"unpicklingerror", "pickle: a git-lfs pointer instead of weights"),
    ("torch", r"invalid load key, ", "pickle: a git-lfs pointer instead of weights"),
    ("hub", r"consistency check failed: file should be of size", "huggingface_hub file_download.py"),
    ("any", r"(?:sha256|checksum|hash|etag) mismatch", "downloaders"),
    ("llamacpp", r"model is corrupted or incomplete", "llama.cpp src/llama-model-loader.cpp"),
    ("llamacpp", r"invalid magic characters", "ggml/src/gguf.cpp"),
    ("llamacpp", r"bad magic", "ggml"),
    ("llamacpp", r"(?:failed to read magic|unexpectedly reached end of file)", "ggml/src/gguf.cpp"),
    ("llamacpp", r"gguf_init_from_file\w*: failed to read (?:header|key|tensor|the)", "ggml/src/gguf.cpp"),
    ("llamacpp", r"wrong number of tensors; expected", "llama.cpp src/llama-model-loader.cpp"),
    ("llamacpp", r"missing tensor '", "llama.cpp src/llama-model-loader.cpp"),
    ("llamacpp", r"tensor .{0,80} data is not within the file bounds", "llama.cpp src/llama-model-loader.cpp"),
    ("vllm", r"weights were not initialized from checkpoint", "vllm model_loader/default_loader.py; vllm#21713"),
)

_SHM = _rows(
    c.SHM,
    ("nccl", r"(?:fail|error|unable|warn).{0,120}/dev/shm/nccl", "nccl src/misc/shmutils.cc; llm-d#352"),
    ("nccl", r"error while creating shared memory segment", "nccl src/misc/shmutils.cc"),
    ("torch", r"insufficient shared memory", "torch/utils/data/_utils/signal_handling.py"),
    ("torch", r"unable to (?:allocate|open|write to|resize|mmap).{0,40}(?:shared memory|\bshm\b|</torch_)", "aten/src/ATen/MapAllocator.cpp"),
    ("nccl", r"posix_fallocate.{0,60}no space left", "nccl src/misc/shmutils.cc"),
    ("any", r"no space left on device: '/(?:psm_|dev/shm)", "CPython multiprocessing/shared_memory.py"),
    ("any", r"/dev/shm.{0,80}(?:no space left|too small|is full)", "Ray, torch"),
    ("python", r"fatal python error: bus error", "CPython: SIGBUS"),
    ("any", r"bus error", "SIGBUS; vllm#6689"),
    ("any", r"\bsigbus\b", "SIGBUS"),
)

_PORT = _rows(
    c.PORT,
    ("any", r"address already in use", "errno 98 (EADDRINUSE)"),
    ("any", r"\beaddrinuse\b", "errno 98"),
    ("sglang", r"port \d+ is (?:already in use|not available|occupied)", "sglang utils/network.py"),
    ("llamacpp", r"couldn'?t bind (?:http server )?(?:socket|to)", "llama.cpp tools/server/server-http.cpp"),
    ("any", r"only one usage of each socket address", "WSAEADDRINUSE"),
)

_MODEL = (
    *_rows(
        c.REMOTE_CODE,
        ("transformers", r"requires you to execute", "transformers dynamic_module_utils.py"),
        ("transformers", r"contains custom code which must be executed", "transformers dynamic_module_utils.py"),
        ("transformers", r"set the option .?trust_remote_code=true", "transformers dynamic_module_utils.py"),
        ("vllm", r"if you trust .{0,80}trust[-_]remote[-_]code", "vllm/transformers_utils/config.py"),
    ),
    *_rows(
        c.ARCHITECTURE,
        ("vllm", r"was supported in vllm until", "vllm model_executor/models/registry.py"),
        ("vllm", r"is not supported in-tree anymore", "vllm model_executor/models/registry.py"),
        (
            "vllm",
            r"model architectures .{0,200} (?:are|is) not supported",
            "vllm model_executor/models/registry.py; vllm#10481; sglang models/registry.py",
        ),
        ("vllm", r"has no (?:vllm|sglang) implementation", "vllm model_executor/models/registry.py"),
        ("vllm", r"cannot find model module\. ", "vllm model_executor/models/registry.py"),
        ("transformers", r"does not recognize this architecture", "transformers configuration_auto.py"),
        ("transformers", r"unrecognized configuration class", "transformers auto_factory.py"),
        ("transformers", r"unrecognized model in ", "transformers configuration_auto.py"),
        ("transformers", r"rope_scaling.{0,4} must be a dictionary", "transformers before 4.43 reads Llama 3.1"),
        ("tgi", r"unsupported model type", "TGI server/models/__init__.py"),
        ("llamacpp", r"unknown model architecture", "llama.cpp src/llama-model.cpp"),
        ("llamacpp", r"unknown (?:pre-)?tokenizer type", "llama.cpp src/llama-vocab.cpp"),
        ("vllm", r"gguf model with architecture \S+ is not supported", "transformers modeling_gguf_pytorch_utils.py"),
        ("any", r"unsupported (?:model )?architecture", "engines"),
    ),
    *_rows(
        c.ARCHITECTURE,
        ("vllm", r"model architectures .{0,200} failed to be inspected", "vllm model_executor/models/registry.py: an import failed before"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.CONTEXT_TOO_LONG,
        ("vllm", r"user-specified max_model_len .{0,40} is greater than the derived", "vllm/config/model.py"),
        ("sglang", r"user-specified context_length .{0,40} is greater than the derived", "sglang configs/model_config.py"),
        ("vllm", r"smaller than max_model_len .{0,10}\. this effectively limits", "vllm/config/scheduler.py"),
        ("tgi", r"`max_(?:input_tokens|input_length|total_tokens|batch_prefill_tokens)`? must be", "TGI launcher/src/main.rs"),
        ("vllm", r"max_model_len .{0,20}is greater than .{0,40}(?:max_position_embeddings|model_max_length)", "vllm/config.py"),
        ("vllm", r"disabling sliding window is not supported for .{0,80}max_model_len", "vllm/config.py"),
    ),
    *_rows(
        c.PARALLELISM,
        ("vllm", r"attention heads.{0,40} must be divisible by", "vllm/config/model.py; vllm#414"),
        ("vllm", r"must be divisible by (?:the )?tensor[-_ ]parallel", "vllm"),
        ("vllm", r"not divisible by (?:the )?tensor[-_ ]parallel", "vllm"),
        ("vllm", r"is not divisible by weight quantization block_[nk]", "vllm fp8_utils.py"),
        ("vllm", r"is not divisible by\s+min_thread_[nk]", "vllm marlin_utils.py"),
        ("vllm", r"not divisible by (?:the )?(?:input|output) .{0,60}quantiz", "vllm gptq.py"),
        ("vllm", r"input size is not aligned with the quantized weight shape", "vllm awq.py, gptq.py"),
        ("vllm", r"divisible by ep_size", "vllm#52435"),
        ("vllm", r"world size .{0,40}(?:is )?larger than the number of available gpus", "vllm/config/parallel.py"),
        ("vllm", r"number of required gpus exceeds the total number of available", "vllm ray_utils.py"),
        ("vllm", r"tensor parallel size .{0,60}(?:exceeds|larger than|greater than).{0,40}gpus", "vllm"),
        ("vllm", r"world_size .{0,40}exceeds .{0,40}gpu", "vllm"),
        ("tgi", r"`num_(?:key_value_)?heads` must be divisible by `num_shards`", "TGI models"),
        ("tgi", r"`num_shard` .{0,80}(?:greater|larger|exceed)", "TGI launcher/src/main.rs"),
        ("tgi", r"sharded is not supported", "TGI server/models/__init__.py"),
        ("tgi", r"size \d+ is not compatible with sharding", "TGI server/utils/weights.py"),
        ("sglang", r"\btp_size\b.{0,80}(?:divisible|must|exceed|too large)", "sglang server_args.py"),
        ("sglang", r"divisible by (?:attn_|moe_)?(?:tp|ep|dp|pp)_?size", "sglang"),
        ("any", r"^assertionerror: \d+ is not divisible by \d+", "vllm distributed/utils.py"),
        ("any", r"heads? .{0,60}divisible by .{0,40}(?:\btp\b|parallel|shards|world)", "engines"),
        ("vllm", r"pipeline parallelism is not supported for", "vllm/config/model.py"),
    ),
    *_rows(
        c.QUANTIZATION,
        ("vllm", r"quantization method .{0,60}not supported for the current gpu", "vllm/config/vllm.py; vllm#1488"),
        ("vllm", r"quantization scheme is not supported for the current gpu", "vllm compressed_tensors.py; vllm#14040"),
        ("vllm", r"unknown quantization method", "vllm model_executor/layers/quantization"),
        ("vllm", r"cannot find the config file for", "vllm weight_utils.py"),
        ("vllm", r"quantization method specified in the model config", "vllm/config/model.py"),
        ("vllm", r"quantization is (?:currently )?not supported", "vllm/config/model.py"),
        ("vllm", r"failed to find a kernel that can implement the", "vllm kernels/mixed_precision"),
        ("vllm", r"no compressed-tensors compatible scheme was found", "vllm compressed_tensors.py"),
        ("triton", r"type fp8e\w+ not supported in this architecture", "triton semantic.py"),
        ("vllm", r"fp8 .{0,80}(?:only supported|not supported|requires) .{0,80}(?:capability|gpu|device|hardware|sm_?\d|8\.9|hopper|ada)", "vllm"),
        (
            "vllm",
            r"(?:mxfp4|nvfp4|marlin|awq|gptq|bitsandbytes|gguf|fp4|int8|w8a8).{0,80}(?:not supported|unsupported|only supported|requires (?:gpu|compute|sm))",
            "vllm",
        ),
        ("vllm", r"unsupported .{0,30}quant", "engines"),
        ("vllm", r"quant(?:ization)?(?:_method| method| type| config)?.{0,40}(?:is not supported|not supported|unsupported)", "engines"),
        ("llamacpp", r"invalid ggml type", "ggml/src/gguf.cpp"),
        ("llamacpp", r"unknown (?:ggml )?type \d+", "ggml"),
        ("llamacpp", r"quantized v cache .{0,40}requires", "llama.cpp src/llama-context.cpp"),
    ),
    *_rows(
        c.DTYPE,
        ("vllm", r"bfloat16 is only supported on gpus with compute capability", "vllm worker.py; vllm#1157"),
        ("vllm", r"is not supported for quantization method", "vllm/config/vllm.py; vllm#1479"),
        ("vllm", r"does not support (?:b?float16|fp16|bf16|half)\b", "vllm/config/model.py"),
        ("vllm", r"(?:bfloat16|bf16|float16|fp16|torch\.\w+float\w*).{0,60}(?:not supported|unsupported)", "engines"),
        ("vllm", r"(?:unknown|unsupported) dtype", "vllm/config/model.py"),
        ("torch", r"not implemented for '(?:half|bfloat16|float8\w*|char|byte)'", "aten dispatch"),
        ("vllm", r"expected (?:mat1 and mat2|m1 and m2) to have the same dtype", "torch"),
    ),
)

_MEMORY = (
    *_rows(
        c.GPU_BUSY,
        ("vllm", r"free memory on device .{0,80}is less than (?:desired gpu memory utilization|the engine)", "vllm/v1/worker/utils.py; vllm#20305"),
        ("vllm", r"error in memory profiling\. initial free memory", "vllm/worker/worker.py: memory changed during profiling"),
        ("sglang", r"the memory capacity is unbalanced", "sglang model_runner.py"),
    ),
    *_rows(
        c.KV_TOO_SMALL,
        ("vllm", r"to serve at least one request with the model.{0,4}s max(?:imum)? seq(?:uence)? len", "vllm kv_cache_utils.py; vllm#16118"),
        ("vllm", r"larger than the maximum number of tokens that can be stored in kv cache", "vllm/worker/worker.py; vllm#2418"),
        ("vllm", r"no available memory for the cache blocks", "vllm kv_cache_utils.py; vllm#2248"),
        ("vllm", r"larger than the available kv cache memory", "vllm kv_cache_utils.py"),
        ("vllm", r"cannot auto-fit max_model_len", "vllm kv_cache_planning.py"),
        ("sglang", r"not enough memory[.;,]? please try to increase --mem-fraction-static", "sglang model_runner.py; sglang#322"),
        ("sglang", r"max_total_num_tokens ?[=:] ?-\d", "sglang#7691"),
        ("sglang", r"max_total_tokens.{0,80}profiled value.{0,20}-\d", "sglang#7691"),
        ("sglang", r"(?:kv cache|memory) pool .{0,60}(?:too small|not enough|insufficient)", "sglang"),
        ("tgi", r"not enough memory to handle .{0,40}(?:tokens|max_total_tokens)", "TGI; TGI#755"),
        ("llamacpp", r"failed to allocate (?:buffer )?for kv cache", "llama.cpp src/llama-kv-cache.cpp"),
        ("llamacpp", r"llama_kv_cache\w*: failed to", "llama.cpp src/llama-kv-cache.cpp"),
        ("any", r"kv cache .{0,60}(?:not enough|insufficient|too small)", "engines"),
    ),
    *_rows(
        c.GPU_OOM_SAMPLER,
        ("vllm", r"out of memory occurred when warming up sampler", "vllm gpu_model_runner.py"),
    ),
    *_rows(
        c.GPU_OOM_GRAPHS,
        ("sglang", r"capture (?:cuda )?graph failed: .{0,80}out of memory", "sglang model_runner.py; sglang#5285"),
        ("vllm", r"out of memory.{0,80}(?:captur|cuda graph)", "vllm"),
    ),
    *_rows(
        c.GPU_OOM_SERVING,
        ("sglang", r"(?:prefill|decode) out of memory\. try to lower your batch size", "sglang mem_cache/allocation.py"),
        ("vllm", r"out of memory at \S*cumem_allocator", "vllm csrc/cumem_allocator.cpp"),
        ("llamacpp", r"failed to allocate compute (?:pp )?buffers?", "llama.cpp src/llama-context.cpp"),
        ("llamacpp", r"ggml_gallocr_reserve\w*: failed to allocate \w+ buffer", "ggml/src/ggml-alloc.c"),
        ("nccl", r"cuda failure 2? ?'out of memory'", "nccl"),
    ),
    *_rows(
        c.GPU_OOM_LOADING,
        ("llamacpp", r"unable to allocate (?:cuda|rocm|hip|vulkan|metal|sycl|musa)\w* buffer", "llama.cpp src/llama-model.cpp; llama.cpp#7366"),
        ("tgi", r"not enough vram to run the model", "TGI launcher/src/main.rs"),
        ("sglang", r"not enough (?:gpu )?memory to load", "sglang"),
    ),
)

_OOM_WHEREVER = _rows(
    c.GPU_OOM_LOADING,
    ("torch", r"(?:cuda|hip|xpu|npu) out of memory", "c10/cuda/CUDACachingAllocator.cpp; vllm#636"),
    ("torch", r"torch\.(?:cuda\.)?outofmemoryerror", "torch; vllm#2363"),
    ("cuda", r"cuda error: out of memory", "CUDA runtime; vllm#2348"),
    ("cuda", r"cuda_error_out_of_memory", "CUDA driver; vllm#16199"),
    ("cuda", r"cudaerrormemoryallocation", "CUDA runtime"),
    ("llamacpp", r"(?:cuda|hip)malloc failed: out of memory", "ggml/src/ggml-cuda/ggml-cuda.cu"),
    ("llamacpp", r"failed to allocate (?:cuda|rocm|hip|vulkan|metal)\w* buffer", "ggml/src/ggml-alloc.c"),
    ("torch", r"see documentation for memory management", "c10/cuda/CUDACachingAllocator.cpp: the end of its message"),
    ("hip", r"hiperroroutofmemory", "HIP"),
    ("hip", r"hsa_status_error_out_of_resources", "ROCr"),
    ("llamacpp", r"callbackerroroutofmemory", "Metal"),
    ("llamacpp", r"errorout(?:of)?devicememory", "Vulkan"),
    ("llamacpp", r"device memory allocation of size \d+ failed", "ggml/src/ggml-vulkan"),
    ("cublas", r"cublas_status_alloc_failed", "cuBLAS: no room for its handle"),
    role=Role.CAUSE,
)
"""Where it happened is read from the lines before it: `stage` in classify.py decides between loading and serving."""

_ARGUMENTS = (
    *_rows(
        c.BAD_ARGUMENT,
        ("python", r"error: unrecognized arguments", "argparse"),
        ("python", r"error: argument .{0,80}: ", "argparse"),
        ("python", r"error: the following arguments are required", "argparse"),
        ("python", r"error: ambiguous option", "argparse"),
        ("python", r"error: no such option", "click"),
        ("python", r"got unexpected extra argument", "click"),
        ("llamacpp", r"error: invalid argument: ", "llama.cpp common/arg.cpp"),
        ("llamacpp", r"error: unknown argument", "llama.cpp common/arg.cpp"),
        ("llamacpp", r"error while handling argument", "llama.cpp common/arg.cpp"),
        ("llamacpp", r"error: .{0,80}argument.{0,40}(?:missing|expected|invalid|requires)", "llama.cpp common/arg.cpp"),
        ("tgi", r"error: unexpected argument '", "clap"),
        ("tgi", r"error: invalid value '.{0,80}' for '", "clap"),
        ("tgi", r"error: found argument '.{0,80}' which wasn't expected", "clap 3"),
        ("tgi", r"error: (?:a value is required for|the following required arguments were not provided)", "clap"),
        ("go", r"flag provided but not defined", "Go: flag"),
        ("vllm", r"vllm_port .{0,80}appears to be a uri", "vllm/envs.py"),
        ("vllm", r"invalid literal for int\(\) with base 10: '?tcp://", "a Service named vllm sets VLLM_PORT"),
        ("python", r"__init__\(\) got an unexpected keyword argument", "EngineArgs, ServerArgs"),
        ("vllm", r"invalid (?:tool call|reasoning) parser", "vllm entrypoints/openai"),
        (
            "vllm",
            r"the supplied chat template .{0,300}(?:failed to be opened|looks like a file path|appears path-like)",
            "vllm entrypoints/chat_utils.py",
        ),
        ("sglang", r"chat template .{0,200} is not a built-in template", "sglang managers/template_manager.py"),
        ("vllm", r"gpu[_ ]memory[_ ]utilization must be", "vllm/config/cache.py"),
        ("vllm", r"max_num_batched_tokens .{0,60}must be greater than", "vllm/config/scheduler.py"),
        ("vllm", r"lora rank \d+ is greater than max_lora_rank", "vllm/lora/peft_helper.py"),
        ("vllm", r"max_loras .{0,40}must be", "vllm/config/lora.py"),
    ),
    *_rows(
        c.BAD_ARGUMENT,
        ("python", r"^\S{1,60}: error: ", "argparse"),
        ("sglang", r"(?:are mutually exclusive|cannot be used (?:together|at the same time))", "sglang server_args.py; vllm/config"),
        ("vllm", r"invalid value '.{1,80}' for (?:vllm|sglang)_\w+", "vllm/envs.py"),
        ("vllm", r"validation errors? for \w*(?:config|args)\b", "pydantic"),
        ("llamacpp", r"^error: .{0,80}--[a-z]", "llama.cpp"),
        role=Role.SYMPTOM,
    ),
)

_MACHINE = (
    *_rows(
        c.DRIVER,
        ("torch", r"unexpected error from cudagetdevicecount", "torch/csrc/cuda: errors 802, 803, 999"),
        ("torch", r"cudnn version incompatibility", "torch/backends/cudnn/__init__.py"),
        ("torch", r"driver on your system is too old", "torch/cuda/__init__.py"),
        ("cuda", r"cuda driver version is insufficient", "CUDA runtime: error 35"),
        ("cuda", r"no kernel image is available", "CUDA runtime: error 209; vllm#16307"),
        ("cuda", r"unsupported display driver / cuda driver combination", "CUDA runtime: error 803"),
        ("cuda", r"forward compatibility was attempted on non supported hw", "CUDA runtime: error 804"),
        ("cuda", r"compiled with an unsupported toolchain", "CUDA runtime: error 222"),
        ("cuda", r"the provided ptx was compiled", "CUDA driver"),
        ("cuda", r"invalid device function", "CUDA runtime: error 98"),
        ("cuda", r"system not yet initialized", "CUDA runtime: error 802, fabric manager"),
        ("cuda", r"cuda unknown error - this may be due to an incorrectly set up environment", "torch/cuda/__init__.py"),
        ("cuda", r"ptxas fatal\s*: .{0,60}(?:sm_|is not defined|not supported|unsupported)", "CUDA toolkit older than the GPU"),
        ("cuda", r"hiperrornobinaryforgpu", "HIP"),
        ("vllm", r"sinks are only supported in flashattention 3", "vllm#22331"),
        ("sglang", r"only supports sm\d+", "sglang load_model_utils.py"),
        ("flash-attn", r"flashattention only supports .{0,40}gpus or newer", "flash-attention csrc"),
        ("any", r"(?:is )?not compatible with the current pytorch installation", "torch/cuda/__init__.py"),
        ("any", r"requires (?:a )?(?:gpu|device)s? with compute capability", "engines"),
        ("any", r"(?:compute capability|cuda capability) .{0,80}(?:not supported|unsupported|too low)", "engines"),
        ("any", r"driver/library version mismatch", "NVML"),
        ("loader", r"libcuda\.so(?:\.1)?: cannot open shared object", "ld.so: the driver's library"),
    ),
    *_rows(
        c.NO_GPU,
        ("torch", r"no (?:cuda|hip|xpu) (?:gpus|devices) are available", "torch/csrc/cuda; vllm#3019"),
        ("torch", r"found no nvidia driver on your system", "torch/cuda/__init__.py"),
        ("triton", r"libcuda\.so cannot (?:be )?found", "triton backends/nvidia/driver.py"),
        ("triton", r"\bld: cannot find -lcuda\b", "GNU ld, of triton's launcher: the driver's library is not in the container"),
        ("nvml", r"nvml shared library not found", "pynvml; llm-d-deployer#273"),
        ("nvml", r"can't initialize nvml", "NVML"),
        ("nvml", r"nvmlerror_librarynotfound", "pynvml"),
        ("nvml", r"failed to initialize nvml", "nvidia-smi"),
        ("vllm", r"failed to infer device type", "vllm/config/device.py; vllm#12847"),
        ("vllm", r"no platform detected", "vllm/platforms; vllm#13946"),
        ("cuda", r"no cuda-capable device is detected", "CUDA runtime: error 100"),
        ("torch", r"torch not compiled with cuda enabled", "torch/cuda/__init__.py"),
        ("llamacpp", r"invalid value for main_gpu: \d+ \(available devices: 0", "llama.cpp src/llama.cpp"),
        ("sglang", r"no (?:gpu|accelerator).{0,60}(?:found|detected|available)", "engines"),
        ("sglang", r"gpu (?:device )?(?:is )?not (?:found|available|detected)", "engines"),
    ),
    *_rows(
        c.GPU_FAULT,
        ("cuda", r"uncorrectable (?:nvlink|ecc) error", "CUDA runtime: errors 214, 220"),
        ("kernel", r"nvrm: xid .{0,80}: (?:48|63|64|74|79|94|95),", "NVIDIA Xid catalogue"),
        ("kernel", r"gpu has fallen off the bus", "NVIDIA Xid 79"),
        ("cuda", r"illegal memory access", "CUDA runtime: error 700; sglang#1467"),
        ("cuda", r"device-side assert triggered", "CUDA runtime: error 710"),
        ("cuda", r"unspecified launch failure", "CUDA runtime: error 719"),
        ("cuda", r"misaligned address", "CUDA runtime: error 716"),
        role=Role.CAUSE,
    ),
    *_rows(
        c.DRIVER,
        (
            "vllm",
            r"^(?:\w+\.)*\w*error: .{0,60}flash[-_ ]?(?:attention|infer|mla).{0,80}(?:not supported|only supported|requires).{0,60}(?:gpu|capability|device|hopper|ampere)",
            "vllm, sglang: attention backends",
        ),
        role=Role.SYMPTOM,
    ),
    *_rows(c.PARALLELISM, ("cuda", r"invalid device ordinal", "CUDA runtime: error 101: more ranks than GPUs"), role=Role.CAUSE),
    *_rows(
        c.DISK_FULL,
        ("any", r"no space left on device", "errno 28 (ENOSPC)"),
        ("any", r"\[errno 28\]", "errno 28"),
        ("any", r"os error 28\b", "errno 28"),
        ("any", r"\benospc\b", "errno 28"),
        ("any", r"disk quota exceeded", "errno 122 (EDQUOT)"),
        ("hub", r"not enough (?:free )?disk space", "huggingface_hub file_download.py"),
        ("any", r"disk (?:is )?full", "SQLite and others"),
    ),
    *_rows(
        c.NCCL_SETUP,
        ("nccl", r"bootstrap : no socket interface found", "nccl src/bootstrap.cc"),
        ("nccl", r"duplicate gpu detected", "nccl src/init.cc"),
        ("gloo", r"unable to (?:find address for|resolve hostname to a)", "gloo/transport/tcp/device.cc"),
        ("nccl", r"call to ibv_\w+ failed", "nccl src/misc/ibvwrap.cc"),
        ("gloo", r"(?:gloo )?connectfullmesh failed", "gloo"),
        ("nccl", r"peer access is not supported between", "CUDA runtime: error 217"),
        ("vllm", r"custom_all_reduce\.cuh:\d+", "vllm csrc"),
    ),
    *_rows(
        c.NCCL_LOST,
        ("torch", r"watchdog caught collective operation timeout", "ProcessGroupNCCL.cpp"),
        ("torch", r"watchdog (?:thread|hang|timeout).{0,80}(?:terminated|exception|nccl)", "ProcessGroupNCCL.cpp"),
        ("torch", r"some nccl operations have failed or timed out", "ProcessGroupNCCL.cpp"),
        ("torch", r"distnetworkerror", "torch/distributed"),
        ("torch", r"diststoreerror", "torch/distributed"),
        ("torch", r"timed out after \d+ seconds waiting for clients", "TCPStore.cpp"),
        ("torch", r"wait timeout after \d+ms, keys", "TCPStore.cpp"),
        ("torch", r"client socket has (?:timed out|failed to connect)", "socket.cpp"),
        ("torch", r"socket timeout.{0,60}(?:tcpstore|rendezvous)", "TCPStore.cpp"),
        ("gloo", r"gloo/transport/tcp", "gloo"),
        ("nccl", r"remote process (?:exited or there was a network error|has terminated)", "nccl: ncclRemoteError"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.NCCL_SETUP,
        ("nccl", r"nccl error", "torch, pynccl; vllm#4618"),
        ("nccl", r"ncclsystemerror", "nccl.h"),
        ("nccl", r"ncclunhandledcudaerror", "nccl.h"),
        ("nccl", r"nccl(?:internal|remote|invalidusage|invalidargument)\w*", "nccl.h"),
        ("torch", r"distbackenderror", "torch/distributed"),
        ("nccl", r"unhandled (?:system|cuda) error", "nccl.h"),
        ("nccl", r"nccl warn .{0,200}(?:fail|error|unable)", "nccl: debug.cc"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.IMAGE_LACKS,
        ("python", r"modulenotfounderror: ", "CPython"),
        ("python", r"^(?:\w+\.)*importerror: ", "CPython"),
        ("cuda", r"could not find nvcc", "flashinfer, torch cpp_extension"),
        ("cuda", r"cuda_home environment variable is not set", "torch/utils/cpp_extension.py"),
        ("linker", r"cannot find -lcuda", "ld: no stub of the driver's library"),
        ("triton", r"failed to find c compiler", "triton runtime/build.py"),
        ("any", r"ninja is required to load", "torch/utils/cpp_extension.py"),
        ("loader", r"lib\w+\.so[.\d]*: cannot open shared object file", "ld.so"),
        ("loader", r"undefined symbol: ", "ld.so: builds that do not belong together"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.BROKEN,
        ("tokenizers", r"data did not match any variant of untagged enum", "tokenizers older than the file; unsloth#1059"),
        ("vllm", r"timed out waiting for engine core processes", "vllm/v1/engine/core_client.py"),
        ("vllm", r"cannot use chat template that is not a string", "vllm"),
        role=Role.SYMPTOM,
    ),
)

_HUB_GENERAL = (
    *_rows(
        c.GATED_DENIED,
        ("hub", r"cannot access gated repo", "huggingface_hub utils/_http.py"),
        ("hub", r"gatedrepoerror", "huggingface_hub errors.py"),
        ("transformers", r"you are trying to access a gated repo", "transformers utils/hub.py"),
        ("hub", r"access to model \S+ is restricted", "huggingface.co"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.MODEL_NOT_FOUND,
        ("transformers", r"is not a local folder and is not a valid model identifier", "transformers utils/hub.py"),
        ("transformers", r"incorrect path_or_model_id", "transformers utils/hub.py"),
        (
            "transformers",
            r"can't load (?:the configuration|tokenizer|config|the model|feature extractor|image processor) (?:of|for) '",
            "transformers",
        ),
        ("llamacpp", r"the specified .{0,40}file.{0,40}does not exist", "llama.cpp"),
        ("any", r"model (?:path|file|directory) .{0,200}(?:does not exist|not found)", "engines"),
        ("hub", r"404 client error: not found for url: https?://\S*(?:huggingface|/resolve/|/api/models/)", "requests"),
        ("hub", r"client error '404 not found' for url '\S*(?:/resolve/|/api/models/)", "httpx"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.HUB_UNREACHABLE,
        ("hub", r"offlinemodeisenabled", "huggingface_hub utils/_http.py"),
        ("hub", r"offline mode is enabled", "huggingface_hub utils/_http.py"),
        ("hub", r"outgoing traffic has been disabled", "huggingface_hub _snapshot_download.py"),
        ("hub", r"localentrynotfounderror", "huggingface_hub errors.py"),
        ("transformers", r"couldn'?t connect to '?https?://", "transformers utils/hub.py"),
        ("any", r"max retries exceeded with url", "urllib3"),
        ("any", r"name or service not known", "getaddrinfo: EAI_NONAME"),
        ("any", r"temporary failure in name resolution", "getaddrinfo: EAI_AGAIN"),
        ("any", r"nameresolutionerror", "urllib3"),
        ("any", r"failed to resolve '", "urllib3"),
        ("any", r"could not resolve host", "curl"),
        ("any", r"certificate_verify_failed", "OpenSSL"),
        ("any", r"certificate verify failed", "OpenSSL"),
        ("any", r"^(?:\w+\.)*sslerror: ", "urllib3, requests"),
        ("any", r"^(?:\w+\.)*proxyerror: ", "requests, httpx"),
        ("any", r"^(?:\w+\.)*connect(?:ion)?timeout(?:error)?: ", "requests, httpx"),
        ("any", r"^(?:\w+\.)*readtimeout(?:error)?: ", "requests, httpx"),
        (
            "any",
            r"^(?:httpx|httpcore|requests\.exceptions|aiohttp)\S*\.(?:connect\w*error|remoteprotocolerror|connectionerror|chunkedencodingerror|client\w+error)",
            "requests, httpx",
        ),
        ("any", r"https?connectionpool\(host=", "urllib3"),
        ("any", r"network is unreachable", "errno 101"),
        ("any", r"no route to host", "errno 113"),
        ("hub", r"5\d\d server error: .{0,80} for url", "requests"),
        ("hub", r"server error '5\d\d", "httpx"),
        ("hub", r"error while downloading from https", "huggingface_hub"),
        ("hub", r"cas service error", "hf-xet"),
        ("any", r"incompleteread\(", "http.client"),
        ("any", r"(?:remotedisconnected|remoteprotocolerror)\b", "http.client, httpx"),
        ("any", r"peer closed connection without sending complete message body", "httpx"),
        ("any", r"read timed out", "urllib3"),
        ("hub", r"an error happened while trying to locate the files? on the hub", "huggingface_hub"),
        ("hub", r"data processing error: .{0,120}(?:connect|timed? ?out|request|network|dns)", "hf-xet"),
        role=Role.SYMPTOM,
    ),
    *_rows(
        c.TOKEN_INVALID,
        ("hub", r"401 client error", "huggingface_hub utils/_http.py"),
        ("hub", r"client error '401", "httpx"),
        ("hub", r"401[: ]+unauthorized", "urllib, curl"),
        ("hub", r"invalid username or password", "huggingface.co"),
        role=Role.EXCEPTION,
    ),
    *_rows(
        c.TOKEN_SCOPE,
        ("hub", r"403 client error", "huggingface_hub utils/_http.py"),
        ("hub", r"client error '403", "httpx"),
        ("hub", r"403 forbidden: ", "huggingface_hub utils/_http.py"),
        role=Role.EXCEPTION,
    ),
)

_PERMISSION = _rows(
    c.PERMISSION,
    ("any", r"\[errno 13\]", "errno 13 (EACCES)"),
    ("any", r"os error 13\b", "errno 13"),
    ("any", r"permission denied", "errno 13"),
    ("any", r"permissionerror", "CPython"),
    ("any", r"read-only file system", "errno 30 (EROFS)"),
    ("any", r"\[errno 1\] operation not permitted", "errno 1 (EPERM)"),
    ("hub", r"there was a problem when trying to write in your cache folder", "transformers utils/hub.py"),
    role=Role.SYMPTOM,
)

_WRAPPERS = _rows(
    c.EXITED,
    ("vllm", r"engine core initialization failed", "vllm/v1/engine/utils.py"),
    ("vllm", r"enginecore failed to start", "vllm/v1/engine/core.py"),
    ("vllm", r"enginecore encountered (?:a fatal error|an issue)", "vllm/v1/engine"),
    ("vllm", r"workerproc (?:initialization failed|failed to start)", "vllm/v1/executor/multiproc_executor.py"),
    ("vllm", r"worker\w* .{0,60}(?:failed with error|died unexpectedly)", "vllm/v1/executor"),
    ("vllm", r"engine core proc \S+ died", "vllm/v1/engine/core_client.py"),
    ("vllm", r"enginedeaderror", "vllm/v1/engine/exceptions.py"),
    ("vllm", r"engine (?:process|loop) (?:failed to start|has died|is dead|is not running)", "vllm entrypoints"),
    ("vllm", r"background loop (?:has errored|is not running|is stopped)", "vllm/engine/async_llm_engine.py"),
    ("vllm", r"died, exit code: -?\d+", "vllm multiproc_worker_utils.py; vllm#15295"),
    ("vllm", r"executor failed\b", "vllm/v1/engine"),
    ("vllm", r"exception in worker \w+ while processing method", "vllm multiproc_worker_utils.py"),
    ("tgi", r"shardcannotstart", "TGI launcher/src/main.rs"),
    ("tgi", r"shardfailed", "TGI launcher/src/main.rs"),
    ("tgi", r"shard \d+ (?:failed to start|crashed)", "TGI launcher/src/main.rs"),
    ("tgi", r"shard complete standard error output", "TGI launcher/src/main.rs"),
    ("tgi", r"error: (?:downloaderror|webserverfailed|webservercannotstart|argumentvalidation)", "TGI launcher/src/main.rs"),
    ("tgi", r"download encountered an error", "TGI launcher/src/main.rs"),
    ("sglang", r"scheduler hit an exception", "sglang managers/scheduler.py"),
    ("sglang", r"rank \d+ scheduler (?:is dead|died)", "sglang entrypoints/engine.py"),
    ("sglang", r"initialization failed\. (?:error states|please see)", "sglang entrypoints/engine.py"),
    ("sglang", r"sigquit received", "sglang entrypoints/engine.py"),
    ("sglang", r"received sigquit", "sglang entrypoints/engine.py"),
    ("sglang", r"child process unexpectedly failed", "sglang entrypoints/engine.py"),
    ("sglang", r"detokenizermanager hit an exception", "sglang managers/detokenizer_manager.py"),
    ("sglang", r"watchdog timeout", "sglang managers/scheduler.py"),
    ("llamacpp", r"exiting due to model loading error", "llama.cpp tools/server/server.cpp"),
    ("llamacpp", r"failed to load model", "llama.cpp"),
    ("llamacpp", r"unable to load model", "llama.cpp"),
    ("llamacpp", r"failed to create[ _]context", "llama.cpp common/common.cpp"),
    ("llamacpp", r"error loading model: ", "llama.cpp src/llama.cpp"),
    ("llamacpp", r"exiting due to .{0,40}error", "llama.cpp tools/server/server.cpp"),
    ("any", r"application startup failed\. exiting", "uvicorn"),
    ("torch", r"childfailederror", "torch elastic"),
    ("torch", r"processexitedexception", "torch multiprocessing"),
    ("torch", r"processraisedexception", "torch multiprocessing"),
    ("ray", r"(?:rayactorerror|actordiederror|the actor died unexpectedly|workercrashederror)", "ray"),
    ("python", r"childprocesserror", "CPython"),
    ("kubelet", r"crashloopbackoff", "kubelet"),
    ("kubelet", r"back-off restarting failed container", "kubelet"),
    role=Role.WRAPPER,
)

_GENERAL = (
    *_rows(
        c.EXITED,
        ("python", r"^fatal python error", "CPython"),
        ("any", r"segmentation fault", "SIGSEGV"),
        ("triton", r"outofresources: out of resource", "triton runtime/errors.py: the GPU's own shared memory"),
        ("any", r"core dumped", "shell"),
        ("any", r"terminate called after throwing", "C++ library"),
        ("llamacpp", r"ggml_assert\(", "ggml"),
        ("llamacpp", r"ggml_abort", "ggml"),
        ("cuda", r"cuda error: ", "CUDA runtime"),
        ("any", r"cuda error \d+", "CUDA runtime"),
        ("rust", r"^thread '.{0,60}' .{0,20}panicked at", "Rust"),
        ("cublas", r"cublas_status_\w+", "cuBLAS"),
        ("go", r"^panic: ", "Go"),
        role=Role.EXCEPTION,
    ),
    *_rows(
        c.EXITED,
        ("any", r"(?:connection reset by peer|broken pipe|connection closed by peer)", "the other side is gone"),
        ("python", r"^(?:\w+\.)*(?:brokenpipeerror|connectionreseterror|eoferror|connectionrefusederror|connectionabortederror)\b", "CPython"),
        role=Role.COLLATERAL,
    ),
)

SIGNATURES: tuple[Signature, ...] = (
    *_SHM,
    *_CONTAINER,
    *_HUB,
    *_CORRUPT,
    *_PORT,
    *_MODEL,
    *_MEMORY,
    *_OOM_WHEREVER,
    *_ARGUMENTS,
    *_MACHINE,
    *_HUB_GENERAL,
    *_WRAPPERS,
    *_PERMISSION,
    *_GENERAL,
)
OOM_WHEREVER = frozenset(_OOM_WHEREVER)
