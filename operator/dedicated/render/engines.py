"""How each kind of engine is started: command, port, health path, arguments, environment. One function a kind; the table at the end lists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dedicated.api.endpoint import Engine, EngineKind
from dedicated.api.errors import ConflictingArgs, InvalidSpec
from dedicated.core.quantities import seconds
from dedicated.render.endpoint import Wanted
from dedicated.render.engine_flags import LLAMACPP, SGLANG, VLLM
from dedicated.render.flags import Spellings, refuse_conflicts

WEIGHTS_DIR = "/weights"
HOME = "HOME"
CACHE_DIR = "/cache"
"""Where an engine that compiles keeps what it made: an emptyDir, since its image belongs to root and the engine does not run as root."""

LLAMACPP_PORT = 8080
"""llama-server's own default (tools/server/README.md of ggml-org/llama.cpp)."""
VLLM_PORT = 8000
"""vLLM's own default (vllm/entrypoints/common/cli_args.py, 0.33.0)."""
SGLANG_PORT = 30000
"""SGLang's own default (sglang/srt/arg_groups/fields/serving.py, 0.5.23)."""


@dataclass(frozen=True)
class Launch:
    """How to start an engine and when it is healthy."""

    port: int
    health_path: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    """Plain variables."""
    key_env: str = "DEDICATED_ENGINE_KEY"
    """The variable by which the engine gets the key that it demands of callers."""
    command: tuple[str, ...] = ()
    """Instead of the image's own; empty where images differ only in what they add to the same program."""
    home: str = "/tmp"


def launch(wanted: Wanted, startup_s: float) -> Launch:
    """
    How the engine of this spec is started.

    Args:
        startup_s: How long it may take to answer. (seconds)
    Raises:
        ConflictingArgs: `spec.engine.args` holds a flag, or `spec.engine.env` a variable, that we set too.
        InvalidSpec: The model has no file that this kind of engine opens, or a variable is named twice.
    """
    start = BUILDERS[wanted.spec.engine.kind](wanted, startup_s)
    _check_env(wanted.spec.engine, {HOME, start.key_env, *(name for name, _ in start.env)})
    return start


def _check_env(engine: Engine, ours: set[str]) -> None:
    seen: set[str] = set()
    for variable in engine.env:
        name = str(variable.get("name", ""))
        if not name or name in seen:
            raise InvalidSpec(f"spec.engine.env names {name} twice" if name else "spec.engine.env has a variable without a name")
        if name in ours:
            raise ConflictingArgs(f"spec.engine.env sets {name}, which dedicated sets itself")
        seen.add(name)


def _with_theirs(ours: list[str], engine: Engine, known: Spellings, also_ours: tuple[str, ...]) -> tuple[str, ...]:
    """Our arguments, then the person's."""
    refuse_conflicts(engine.args, [*(arg for arg in ours if arg.startswith("-")), *also_ours], known)
    return (*ours, *engine.args)


def served_names(wanted: Wanted) -> list[str]:
    """Model names that callers may use: the id, and the repository's name."""
    source = wanted.spec.model.hugging_face if wanted.spec.model else None
    return [wanted.id, *([source.repo] if source else [])]


def _vllm(wanted: Wanted, startup_s: float) -> Launch:
    """`vllm serve` (0.33). It takes 256 or 1024 sequences by the GPU's name where none are given, and its own key guards /v1 only."""
    engine = wanted.spec.engine
    ours = ["--served-model-name", *served_names(wanted), "--host", "0.0.0.0", "--port", str(VLLM_PORT)]
    tensor, pipeline = wanted.parallel
    ours += ["--tensor-parallel-size", str(tensor), *(["--pipeline-parallel-size", str(pipeline)] if pipeline > 1 else [])]
    ours += ["--max-model-len", str(engine.max_model_len or "auto")]
    ours += ["--max-num-seqs", str(wanted.max_num_seqs)] if wanted.max_num_seqs else []
    ours += ["--kv-cache-dtype", engine.kv_cache_dtype] if engine.kv_cache_dtype != "auto" else []
    ours += ["--shutdown-timeout", str(seconds(wanted.spec.update.drain))]
    return Launch(
        VLLM_PORT,
        "/health",
        _with_theirs(ours, engine, VLLM, ("--model", "--pipeline-parallel-size", "--api-key", "--uds", "--grpc", "--headless", "--ssl-keyfile")),
        (
            *COMPILER_ENV,
            ("VLLM_CACHE_ROOT", f"{CACHE_DIR}/vllm"),
            ("VLLM_DO_NOT_TRACK", "1"),
            ("VLLM_ENGINE_READY_TIMEOUT_S", str(int(startup_s))),
        ),
        key_env="VLLM_API_KEY",
        command=("vllm", "serve", WEIGHTS_DIR),
        home=CACHE_DIR,
    )


def _sglang(wanted: Wanted, _startup_s: float) -> Launch:
    """
    SGLang (0.5). It serves one name, takes its key as an argument only, drains on SIGTERM without a limit (the pod's grace period is the limit), and
    generates a token for each health check unless told not to: that would look like traffic.
    """
    engine = wanted.spec.engine
    ours = ["--model-path", WEIGHTS_DIR, "--served-model-name", wanted.id, "--host", "0.0.0.0", "--port", str(SGLANG_PORT)]
    tensor, pipeline = wanted.parallel
    ours += ["--tensor-parallel-size", str(tensor), *(["--pipeline-parallel-size", str(pipeline)] if pipeline > 1 else [])]
    ours += ["--enable-metrics", "--api-key", "$(DEDICATED_ENGINE_KEY)"]
    ours += ["--context-length", str(wanted.max_model_len)] if wanted.max_model_len else []
    ours += ["--max-running-requests", str(wanted.max_num_seqs)] if wanted.max_num_seqs else []
    ours += ["--kv-cache-dtype", engine.kv_cache_dtype] if engine.kv_cache_dtype != "auto" else []
    return Launch(
        SGLANG_PORT,
        "/health",
        _with_theirs(ours, engine, SGLANG, ("--pipeline-parallel-size", "--smg-grpc-mode", "--grpc-mode", "--ssl-keyfile")),
        (*COMPILER_ENV, ("SGLANG_CACHE_DIR", f"{CACHE_DIR}/sglang"), ("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION", "false")),
        command=("python3", "-m", "sglang.launch_server"),
        home=CACHE_DIR,
    )


COMPILER_ENV = (
    ("HF_HOME", f"{CACHE_DIR}/huggingface"),
    ("HF_HUB_OFFLINE", "1"),
    ("TORCHINDUCTOR_CACHE_DIR", f"{CACHE_DIR}/torchinductor"),
    ("TRITON_CACHE_DIR", f"{CACHE_DIR}/triton"),
    ("USER", "dedicated"),
)
"""Caches on the emptyDir; no calls to the hub, since the weights are there; and a name for the user, since Python's getpass, which PyTorch's compiler
asks for one, fails for a user id that the image's /etc/passwd does not hold."""


def _llamacpp(wanted: Wanted, _startup_s: float) -> Launch:
    """llama-server. All of its slots share one context."""
    engine = wanted.spec.engine
    if wanted.entry is None:
        raise InvalidSpec("spec.model: engine kind llamacpp needs a GGUF file; name a repository that holds one")
    ours = ["--model", f"{WEIGHTS_DIR}/{wanted.entry}", "--alias", wanted.id, "--host", "0.0.0.0", "--port", str(LLAMACPP_PORT)]
    ours += ["--metrics", "--no-webui"]
    length, sequences = wanted.max_model_len, wanted.max_num_seqs
    ours += ["--ctx-size", str(length * (sequences or 1))] if length else []
    ours += ["--parallel", str(sequences or 1)] if sequences or length else []
    if engine.kv_cache_dtype != "auto":
        ours += ["--cache-type-k", engine.kv_cache_dtype, "--cache-type-v", engine.kv_cache_dtype]
    kept = ("--api-key", "--api-key-file", "--ssl-key-file")
    return Launch(LLAMACPP_PORT, "/health", _with_theirs(ours, engine, LLAMACPP, kept), key_env="LLAMA_API_KEY")


def _custom(wanted: Wanted, _startup_s: float) -> Launch:
    """Any server that speaks the OpenAI API; its flags are its own."""
    engine = wanted.spec.engine
    if engine.port is None or engine.health_path is None:
        raise InvalidSpec("spec.engine.kind custom needs image, port and healthPath")
    path = f"{WEIGHTS_DIR}/{wanted.entry}" if wanted.entry else WEIGHTS_DIR
    return Launch(engine.port, engine.health_path, tuple(engine.args), (("DEDICATED_MODEL_NAME", wanted.id), ("DEDICATED_MODEL_PATH", path)))


BUILDERS: dict[EngineKind, Callable[[Wanted, float], Launch]] = {
    EngineKind.VLLM: _vllm,
    EngineKind.SGLANG: _sglang,
    EngineKind.LLAMACPP: _llamacpp,
    EngineKind.CUSTOM: _custom,
}
