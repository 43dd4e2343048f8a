"""One cause from what surrounds it: wrappers, ranks, starts, warnings, quoted text, orders to stop."""

# ruff: noqa: E501 - a line of a log stays one line.
from __future__ import annotations

import json
import time

import pytest

from dedicated.api.reasons import Reason
from dedicated.diagnosis.causes import Coarse
from dedicated.diagnosis.classify import read
from dedicated.diagnosis.lines import MAX_BYTES

C = Coarse

UP = "(APIServer pid=1) INFO:     Application startup complete."
ASKED = '(APIServer pid=1) INFO:     10.0.0.9:4242 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
DEAD = "(APIServer pid=1) ERROR 03-01 10:09:00 [async_llm.py:546] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."
FAILED = "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
BANNER = "(APIServer pid=1) INFO 03-01 10:00:00 [api_server.py:1912] vLLM API server version 0.11.0"
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.56 GiB of which 1.10 GiB is free."
KV = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine."


def engine(*lines: str, rank: str = "EngineCore_DP0 pid=132", level: str = "ERROR") -> list[str]:
    return [f"({rank}) {level} 03-01 10:08:00 [core.py:1100] {line}" for line in lines]


def trace(*frames: str) -> list[str]:
    return ["Traceback (most recent call last):"] + [line for name in frames for line in (f'  File "/x/y.py", line 7, in {name}', f"    {name}()")]


STORIES = [
    ("a wrapper after its cause", [*engine(*trace("run_engine_core"), KV), FAILED], C.KV_TOO_SMALL),
    ("a cause 200 lines above its wrapper", [*engine(KV), *engine(*trace(*"abcdefghij" * 10)), FAILED], C.KV_TOO_SMALL),
    ("a wrapper alone", [FAILED], C.PYTHON_EXCEPTION_OTHER),
    ("code that raises a wrapper is not what was thrown", ['    raise RuntimeError("CUDA out of memory occurred")', "TypeError: not a string"], C.PYTHON_EXCEPTION_OTHER),
    (
        "the first of two ranks takes the other with it",
        [
            *engine(*trace("load_model", "create_weights"), OOM, rank="Worker_TP1 pid=8"),
            *engine("RuntimeError: NCCL error: remote process exited or there was a network error", rank="Worker_TP0 pid=7"),
            FAILED,
        ],
        C.GPU_OOM_WEIGHTS,
    ),
    (
        "a rank that complains later is no cause, though it stands first",
        [
            *engine("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2027", rank="Worker_TP0 pid=7"),
            *engine("OSError: [Errno 28] No space left on device", rank="Worker_TP1 pid=8"),
        ],
        C.DISK_FULL,
    ),
    ("out of memory while weights are loaded", engine("Starting to load model acme/x...", *trace("load_model", "initialize_model"), OOM), C.GPU_OOM_WEIGHTS),
    ("out of memory in the profile run", engine("Model loading took 15.4 GiB memory", *trace("profile_run", "_dummy_run", "forward"), OOM), C.GPU_OOM_RUNTIME),
    ("out of memory while graphs are captured", engine(*trace("capture_model", "capture"), OOM), C.GPU_OOM_RUNTIME),
    ("out of memory while serving", [UP, ASKED, *engine(*trace("execute_model"), OOM), DEAD], C.GPU_OOM_RUNTIME),
    ("an answer in flight when the engine dies", [UP, *engine(*trace("execute_model"), OOM), ASKED, DEAD], C.GPU_OOM_RUNTIME),
    (
        "a GPU that is full of somebody else",
        [OOM.replace("1.10 GiB is free.", "16.00 MiB is free. Including non-PyTorch memory, this process has 1.20 GiB memory in use.")],
        C.GPU_OOM_WEIGHTS,
    ),
    (
        "an allocator's error before what it was for: the KV cache",
        [
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 32768.00 MiB on device 0: cudaMalloc failed: out of memory",
            "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
            "main: exiting due to model loading error",
        ],
        C.KV_TOO_SMALL,
    ),
    (
        "a llama.cpp that loads too much",
        [
            "load_tensors: loading model tensors, this can take a while... (mmap = true)",
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 17408.00 MiB on device 0: cudaMalloc failed: out of memory",
            "alloc_tensor_range: failed to allocate CUDA0 buffer of size 18253611008",
            "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        ],
        C.GPU_OOM_WEIGHTS,
    ),
    ("the last start beats the first", [BANNER, *engine(KV), FAILED, BANNER, "(APIServer pid=1) OSError: [Errno 98] Address already in use"], C.PORT_IN_USE),
    ("a first start that failed, a second that serves", [BANNER, *engine(KV), FAILED, BANNER, UP], C.NONE_HEALTHY),
    ("a first start that failed, a second that loads", [BANNER, *engine(KV), FAILED, BANNER, *engine("Loading weights took 9 seconds", level="INFO")], C.NONE_HEALTHY),
    ("a first start that failed, of the second only the banner", [BANNER, *engine(KV), FAILED, BANNER], C.KV_TOO_SMALL),
    (
        "a healthy start full of scary words",
        [
            *engine("Cannot use FA version 2 is not supported due to FA2 is only supported on devices with compute capability >= 8"),
            *engine("FlashInfer is not available. Falling back to the PyTorch-native implementation", level="WARNING"),
            *engine("Your GPU does not have native support for FP4 computation", level="WARNING"),
            "You may run out of memory: set PYTORCH_CUDA_ALLOC_CONF to avoid out of memory errors.",
            "INFO 03-01 10:00:01 [loader.py:1] Failed to load generation config: acme/x does not appear to have a file named generation_config.json",
            UP,
        ],
        C.NONE_HEALTHY,
    ),
    ("a warning about the KV cache of an engine that goes on", [*engine(KV, level="WARNING"), *engine("GPU KV cache size: 4,096 tokens", level="INFO")], C.NONE_HEALTHY),
    ("an error that the same process survived", [*engine("RuntimeError: no luck"), *engine("Available KV cache memory: 6.01 GiB", level="INFO")], C.NONE_HEALTHY),
    (
        "downloads that were tried again",
        ["'(ReadTimeoutError(\"HTTPSConnectionPool(host='h')\"))' thrown while requesting HEAD https://h/x. Retrying in 1s [Retry 1/5].", UP],
        C.NONE_HEALTHY,
    ),
    (
        "a request that is too long",
        [UP, "(APIServer pid=1) ERROR 03-01 10:01:00 [serving.py:9] ValueError: This model's maximum context length is 4096 tokens.", "x", ASKED.replace("200 OK", "400 Bad Request")],
        C.NONE_HEALTHY,
    ),
    ("an adapter that a request asked for in vain", [UP, "(APIServer pid=1) ERROR 03-01 10:01:00 [s.py:9] ValueError: No adapter found for /lora/x", ASKED], C.NONE_HEALTHY),
    (
        "a prompt that quotes an error",
        [
            UP,
            f"(APIServer pid=1) INFO 03-01 10:01:00 [logger.py:43] Received request chatcmpl-1: prompt: 'Why does this fail?\n{OOM}\nOSError: [Errno 98] Address already in use', params: x",
            "(APIServer pid=1) INFO 03-01 10:01:05 [loggers.py:1] Engine 000: Avg prompt throughput: 9.0 tokens/s",
        ],
        C.NONE_HEALTHY,
    ),
    (
        "told to stop, then everything breaks",
        [
            UP,
            "(EngineCore pid=2) INFO 08-21 10:24:34 [core.py:1214] [shutdown] EngineCore: trigger received signal=SIGTERM",
            DEAD,
            "(APIServer pid=1) INFO:     Application shutdown complete.",
        ],
        C.NONE_HEALTHY,
    ),
    ("stopped by hand while it loads", [*engine(*trace("load_model")), "(APIServer pid=1) KeyboardInterrupt", FAILED], C.NONE_HEALTHY),
    ("a port that is taken, noticed after the startup", [UP, "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"], C.PORT_IN_USE),
    (
        "an exception of a destructor is no cause",
        [
            *engine("ValueError: bad thing"),
            "(EngineCore_DP0 pid=132) Exception ignored in: <function ExecutorBase.__del__ at 0x7f>",
            "(EngineCore_DP0 pid=132) AttributeError: 'NoneType' object has no attribute 'x'",
        ],
        C.PYTHON_EXCEPTION_OTHER,
    ),
    (
        "a shared-memory error that looks like a full disk",
        ['  File "/usr/lib/python3.12/multiprocessing/shared_memory.py", line 115, in __init__', "    os.ftruncate(self._fd, size)", "OSError: [Errno 28] No space left on device"],
        C.SHM_TOO_SMALL,
    ),
    ("a disk that is full within a Hub error", ["huggingface_hub.errors.LocalEntryNotFoundError: x", "OSError: [Errno 28] No space left on device"], C.DISK_FULL),
    (
        "a token without the scope, told as a network error",
        ["403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings.", "OSError: We couldn't connect to 'https://h' to load the files"],
        C.GATED_DENIED,
    ),
    (
        "a missing repository whose text speaks of gated ones",
        ["huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error.", "If you are trying to access a private or gated repo, make sure you are authenticated.", "Invalid username or password."],
        C.MODEL_NOT_FOUND,
    ),
    ("the generic words of pydantic before the true ones", ["pydantic_core.ValidationError: 1 validation error for ParallelConfig", "  Value error, World size (2) is larger than the number of available GPUs (1) in this node."], C.TENSOR_PARALLEL_INVALID),
    ("a serving engine that only warns", [UP, *engine("No available shared memory broadcast block found in 60 seconds.", level="INFO"), ASKED], C.NONE_HEALTHY),
    ("nothing but progress", engine("Loading safetensors checkpoint shards: 20% Completed | 1/5", level="INFO"), C.NONE_HEALTHY),
    (
        "a bare assertion about parallelism",
        ["[2025-02-09 09:05:49 TP6] Scheduler hit an exception: Traceback (most recent call last):", '  File "/x/llama.py", line 9, in __init__', "    assert self.total_num_heads % tp_size == 0", "AssertionError"],
        C.TENSOR_PARALLEL_INVALID,
    ),
    (
        "a container that does not start for its driver, as docker tells it",
        [
            "docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed",
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please update your driver to a newer version: unknown.",
        ],
        C.DRIVER_MISMATCH,
    ),
    ("killed, as kubectl describes it", ["    Last State:     Terminated", "      Reason:       Error", "      Exit Code:    137"], C.HOST_OOM),
    (
        "killed for its liveness probe, as kubectl describes it",
        ["      Exit Code:    137", "  Warning  Unhealthy  1m  kubelet  Liveness probe failed: timeout", "  Normal  Killing  1m  kubelet  Container x failed liveness probe"],
        C.PYTHON_EXCEPTION_OTHER,
    ),
    ("a container that was not killed for memory, as docker describes it", ['            "OOMKilled": false,'], C.NONE_HEALTHY),
    (
        "the end of an allocator's message",
        ["PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management", " rank=1", "2024-06-17T13:18:29.406790Z ERROR text_generation_launcher: Shard 1 failed to start", "Error: ShardCannotStart"],
        C.GPU_OOM_WEIGHTS,
    ),
    ("the GPU's own shared memory is not the container's", [*engine("triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 147456, Hardware limit: 101376"), FAILED], C.PYTHON_EXCEPTION_OTHER),
    ("a refused request alone", ["ERROR 03-01 10:01:00 [s.py:9] ValueError: This model's maximum context length is 2048 tokens. However, you requested 2297"], C.NONE_HEALTHY),
    ("a chat without a template", [UP, "ERROR x", "ValueError: As of transformers v4.44, default chat template is no longer allowed"], C.NONE_HEALTHY),
    (
        "a TGI that warned and connected",
        [
            "2025-04-01T10:00:00.1Z  WARN text_generation_router::server: router/src/server.rs:1672: Failed to import python tokenizer ModuleNotFoundError: x",
            "2025-04-01T10:00:09.1Z  INFO text_generation_router::server: router/src/server.rs:2266: Connected",
        ],
        C.NONE_HEALTHY,
    ),
    ("an empty log", [""], C.NONE_HEALTHY),
]  # fmt: skip


def coarse(log: str | bytes, *, died: bool = False) -> Coarse:
    verdict = read(log, died=died).verdict
    return verdict.cause.coarse if verdict else Coarse.NONE_HEALTHY


@pytest.mark.parametrize(("lines", "expected"), [row[1:] for row in STORIES], ids=[row[0] for row in STORIES])
def test_what_surrounds_an_error_decides(lines, expected):
    assert coarse("\n".join(lines)) == expected


CARRIERS = [
    ("as it is", "{}"),
    ("with the runtime's timestamps", "2026-03-01T10:00:00.123456789Z {}"),
    ("as the kubelet stores it", "2026-03-01T10:00:00.123456789+00:00 stderr F {}"),
    ("from docker compose", "vllm-1  | {}"),
    ("from journald", "Mar  1 10:00:00 node-1 vllm[8052]: {}"),
    ("from a rank", "[rank3]: {}"),
    ("from a worker of a core", "(EngineCore_1 pid=4396) (VllmWorker rank=1 pid=4418) ERROR 05-20 22:23:45 [x.py:1] {}"),
    ("from sglang", "[2026-03-01 10:00:00 TP1] {}"),
    ("in colours", "\x1b[36m(EngineCore pid=7)\x1b[0;0m {}\x1b[0m"),
    ("with carriage returns", "Loading: 10%|#  |\rLoading: 90%|## |\r{}"),
]


@pytest.mark.parametrize("form", [row[1] for row in CARRIERS], ids=[row[0] for row in CARRIERS])
def test_it_does_not_matter_who_carried_a_line(form):
    assert coarse(form.format(KV)) == C.KV_TOO_SMALL


@pytest.mark.parametrize(
    "record",
    [
        {"level": "ERROR", "message": f"Engine failed\nTraceback (most recent call last):\n{KV}"},
        {"timestamp": "t", "level": "ERROR", "fields": {"message": KV}, "target": "text_generation_launcher"},
        {"log": KV + "\n", "stream": "stderr", "time": "2026-03-01T10:00:00Z"},
        {"levelname": "ERROR", "msg": "startup failed", "exc_info": f"Traceback\n{KV}"},
    ],
    ids=["message with a traceback", "TGI", "docker", "message and traceback apart"],
)
def test_json_lines_are_unwrapped(record):
    assert coarse(json.dumps(record)) == C.KV_TOO_SMALL


def test_a_warning_explains_a_death_that_nothing_else_explains():
    log = "\n".join([*engine("Memory cgroup out of memory: Killed process 7", level="WARNING"), FAILED])
    assert coarse(log) == C.HOST_OOM


def test_bytes_that_are_no_text_are_no_hindrance():
    assert coarse(b"\xff\xfe\x00" + KV.encode() + b"\xff") == C.KV_TOO_SMALL


def test_what_is_thrown_at_a_start_is_thrown_at_every_start_what_a_request_meets_may_pass():
    assert not read("RuntimeError: something").verdict.cause.retryable
    assert read(f"{UP}\nRuntimeError: something\n{DEAD}").verdict.cause.retryable
    assert not read(f"{UP}\nAttributeError: 'X' object has no attribute 'y'\n{DEAD}").verdict.cause.retryable


@pytest.mark.parametrize(
    "log",
    [
        "a" * (10 * 1024 * 1024),
        "error " * 200_000,
        ("Access to model " + "x" * 3000 + " is restricted\n") * 300,
        "\n".join(f"RuntimeError: NCCL error {at} " + "(" * 200 for at in range(4000)),
        f"{OOM}\n" * 30_000,
        "(" * 500_000,
        "2026-01-01 " * 100_000,
        '{"message": ' * 100_000,
        "\x1b[" * 400_000,
    ],
    ids=[
        "a line of 10 MB",
        "one word again and again",
        "half a sentence",
        "brackets",
        "one error again and again",
        "only brackets",
        "dates",
        "broken JSON",
        "broken colours",
    ],
)
def test_no_log_costs_more_than_a_moment(log):
    began = time.process_time()
    read(log)
    assert time.process_time() - began < 5.0


def test_a_mebibyte_of_ordinary_log_costs_well_under_a_second():
    line = '(APIServer pid=1) INFO:     10.0.0.9:4242 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    began = time.process_time()
    read(line * (1024 * 1024 // len(line)))
    assert time.process_time() - began < 1.5


def test_of_a_huge_log_only_the_end_is_read():
    assert coarse(f"{KV}\n" + "x\n" * MAX_BYTES) == C.NONE_HEALTHY


def test_every_reason_that_a_log_can_prove_is_in_the_catalogue_of_the_contract():
    assert {Reason.GATED_ACCESS_PENDING, Reason.MODEL_FILES_MISSING} <= set(Reason)
