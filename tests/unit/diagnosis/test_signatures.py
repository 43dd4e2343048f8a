"""The table of signatures: each wording alone gives its class and reason; the table itself is sound."""

# ruff: noqa: E501 - a line of a log stays one line.
from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedicated.api.reasons import Reason
from dedicated.diagnosis.causes import Coarse
from dedicated.diagnosis.classify import read
from dedicated.diagnosis.signatures import SIGNATURES, needle_of

R, C = Reason, Coarse

WORDINGS = [
    # host memory
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "Memory cgroup out of memory: Killed process 4242 (VLLM::EngineCor) total-vm:91234567kB"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "/opt/start.sh: line 14:    31 Killed                  vllm serve $MODEL"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "RuntimeError: [enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 52428800 bytes."),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "OSError: [Errno 12] Cannot allocate memory"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "terminate called after throwing an instance of 'std::bad_alloc'"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "memory allocation of 4294967296 bytes failed"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "ggml_aligned_malloc: insufficient memory (attempted to allocate 36000.00 MB)"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "2025-03-01T10:00:00.1Z ERROR text_generation_launcher: Shard process was signaled to shutdown with signal 9 rank=0"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "[2026-01-26 23:15:21] Rank 0 scheduler is dead.\n[2026-01-26 23:16:07] Exit code: -9"),
    (C.HOST_OOM, R.HOST_OUT_OF_MEMORY, "  exitcode  : -9 (pid: 8158)\n  traceback : Signal 9 (SIGKILL) received by PID 8158"),
    (C.HOST_OOM, R.EVICTED, "Message: The node was low on resource: memory. Threshold quantity: 100Mi, available: 61Mi."),
    # GPU memory
    (C.GPU_OOM_WEIGHTS, R.GPU_MEMORY_BUSY, "ValueError: Free memory on device cuda:0 (4.1/23.6 GiB) on startup is less than desired GPU memory utilization (0.9, 21.2 GiB)."),
    (C.GPU_OOM_WEIGHTS, R.GPU_OUT_OF_MEMORY_LOADING, "llama_model_load: error loading model: unable to allocate CUDA0 buffer"),
    (C.GPU_OOM_WEIGHTS, R.GPU_OUT_OF_MEMORY_LOADING, "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 17408.00 MiB on device 0: cudaMalloc failed: out of memory"),
    (C.GPU_OOM_WEIGHTS, R.GPU_OUT_OF_MEMORY_LOADING, "Error: Not enough VRAM to run the model: Available: 23.6GB - Model 131.4GB."),
    (C.GPU_OOM_RUNTIME, R.GPU_OUT_OF_MEMORY_SERVING, "RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering `max_num_seqs`"),
    (C.GPU_OOM_RUNTIME, R.GPU_OUT_OF_MEMORY_SERVING, "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 672.00 MiB."),
    (C.GPU_OOM_RUNTIME, R.GPU_OUT_OF_MEMORY_SERVING, "RuntimeError: Decode out of memory. Try to lower your batch size."),
    (C.GPU_OOM_RUNTIME, R.GPU_OUT_OF_MEMORY_SERVING, "RuntimeError: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:139"),
    (C.GPU_OOM_RUNTIME, R.GPU_OUT_OF_MEMORY_SERVING, "llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers"),
    # KV cache
    (C.KV_TOO_SMALL, R.KV_CACHE_TOO_SMALL, "ValueError: To serve at least one request with the model's max seq len (32768), (4.00 GiB KV cache is needed, which is larger than"),
    (C.KV_TOO_SMALL, R.KV_CACHE_TOO_SMALL, "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that can be stored in KV cache (2432)."),
    (C.KV_TOO_SMALL, R.KV_CACHE_TOO_SMALL, "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: mem_fraction_static=0.6"),
    (C.KV_TOO_SMALL, R.KV_CACHE_TOO_SMALL, "RuntimeError: Not enough memory to handle 4096 prefill tokens. You need to decrease `--max-batch-prefill-tokens`"),
    (C.KV_TOO_SMALL, R.KV_CACHE_TOO_SMALL, "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache"),
    # hub
    (C.GATED_NO_TOKEN, R.TOKEN_MISSING, "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-a)"),
    (C.GATED_NO_TOKEN, R.TOKEN_MISSING, "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://h/x.\n401 Client Error. (Request ID: R)"),
    (C.GATED_DENIED, R.GATED_ACCESS_DENIED, "OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://h/x.\n403 Client Error. (Request ID: R)"),
    (C.GATED_DENIED, R.GATED_ACCESS_PENDING, "Your request to access model meta-llama/Llama-3.3-70B-Instruct is awaiting a review from the repo authors."),
    (C.GATED_DENIED, R.TOKEN_SCOPE_INSUFFICIENT, "403 Forbidden: Please enable access to public gated repositories in your fine-grained token settings to view this."),
    (C.BAD_TOKEN, R.TOKEN_INVALID, "huggingface_hub.errors.HfHubHTTPError: Invalid credentials in Authorization header"),
    (C.BAD_TOKEN, R.TOKEN_INVALID, "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/api/whoami-v2"),
    (C.BAD_TOKEN, R.TOKEN_SCOPE_INSUFFICIENT, "HfHubHTTPError: 403 Forbidden: this token has no permission for the repository."),
    (C.MODEL_NOT_FOUND, R.MODEL_NOT_FOUND, "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1-b)"),
    (C.MODEL_NOT_FOUND, R.MODEL_NOT_FOUND, "ValueError: Invalid repository ID or local directory specified: '/models/none'."),
    (C.MODEL_NOT_FOUND, R.MODEL_NOT_FOUND, "gguf_init_from_file: failed to open GGUF file '/models/x.gguf' (No such file or directory)"),
    (C.MODEL_NOT_FOUND, R.MODEL_FILES_MISSING, "RuntimeError: Cannot find any model weights with `/models/empty`"),
    (C.MODEL_NOT_FOUND, R.MODEL_FILES_MISSING, "OSError: acme/tiny does not appear to have a file named config.json. Checkout 'https://h/acme/tiny/tree/main'"),
    (C.MODEL_NOT_FOUND, R.MODEL_DISABLED, "huggingface_hub.errors.DisabledRepoError: 403 Client Error. Access to this resource is disabled."),
    (C.REVISION_NOT_FOUND, R.REVISION_NOT_FOUND, "OSError: v9 is not a valid git identifier (branch name, tag name or commit id) that exists for this model name."),
    (C.RATE_LIMITED, R.HUB_RATE_LIMITED, "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/x/resolve/main/config.json"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files."),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "requests.exceptions.SSLError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /x"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://h/x: offline mode is enabled."),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "requests.exceptions.HTTPError: 504 Server Error: Gateway Time-out for url: https://huggingface.co/x/resolve/main/a.safetensors"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "RuntimeError: Data processing error: CAS service error : Reqwest Error: error sending request"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(3221225472 bytes read, 1755473200 more expected)')"),
    (C.NETWORK_HUB, R.HUB_UNAVAILABLE, "httpx.ConnectError: [Errno -3] Temporary failure in name resolution"),
    # architecture, number format, parallelism, length
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: ['A']"),
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "  Value error, The checkpoint you are trying to load has model type `foo` but Transformers does not recognize this architecture."),
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "ValueError: FooModel has no SGLang implementation and the Transformers implementation is not compatible with SGLang."),
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "E llama_model_load: error loading model: unknown model architecture: 'glm5next'"),
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "llama_model_load: error loading model: error loading model vocabulary: unknown pre-tokenizer type: 'foo'"),
    (C.UNSUPPORTED_ARCHITECTURE, R.UNSUPPORTED_ARCHITECTURE, "ValueError: Unsupported model type foo"),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_DTYPE, "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5."),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_DTYPE, "ValueError: The model type 'gemma2' does not support float16. Reason: Numerical instability."),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_DTYPE, "ValueError: torch.bfloat16 is not supported for quantization method awq. Supported dtypes: [torch.float16]"),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 80. Current capability: 75."),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method specified in (awq)."),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "ValueError: type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e4b15', 'fp8e5')"),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "RuntimeError: ('Quantization scheme is not supported for ', 'the current GPU. Min capability: 80. ', '75.')"),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "ValueError: Failed to find a kernel that can implement the WNA16 linear layer. Reasons:"),
    (C.UNSUPPORTED_DTYPE_OR_QUANT, R.UNSUPPORTED_QUANTIZATION, "gguf_init_from_file_impl: tensor 'blk.0.ffn' has invalid ggml type 39 (NONE)"),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "  Value error, World size (4) is larger than the number of available GPUs (1) in this node."),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "ValueError: The output_size of gate's and up's weight = 320 is not divisible by weight quantization block_n = 128."),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "ValueError: Weight input_size_per_partition = 4736 is not divisible by min_thread_k = 128. Consider reducing tensor_parallel_size"),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "AssertionError: 28 is not divisible by 8"),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "ValueError: `num_heads` must be divisible by `num_shards` (got `num_heads`: 71 and `num_shards`: 2"),
    (C.TENSOR_PARALLEL_INVALID, R.PARALLELISM_INVALID, "RuntimeError: CUDA error: invalid device ordinal"),
    (C.MAX_LEN_INVALID, R.CONTEXT_TOO_LONG, "ValueError: User-specified context_length (65536) is greater than the derived context_length (32768)."),
    (C.MAX_LEN_INVALID, R.CONTEXT_TOO_LONG, "ValueError: max_num_batched_tokens (2048) is smaller than max_model_len (8192). This effectively limits the maximum sequence length"),
    # arguments
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "vllm: error: argument --dtype: invalid choice: 'fp8' (choose from 'auto', 'half')"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "error: invalid argument: --no-such-flag"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "flag provided but not defined: -no-such-flag"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "error: unexpected argument '--max-len' found"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "error: a value is required for '--model-id <MODEL_ID>' but none was supplied"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "ValueError: VLLM_PORT 'tcp://10.96.3.4:8000' appears to be a URI. This may be caused by a Kubernetes service discovery issue"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "ValueError: acme/x contains custom code which must be executed to correctly load the model. Set trust_remote_code=True"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "KeyError: 'invalid tool call parser: qwen9 (chose from { hermes,llama3_json })'"),
    (C.BAD_ARGUMENT, R.BAD_ENGINE_ARGUMENT, "pydantic_core.ValidationError: 1 validation error for CacheConfig"),
    # files and disk
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "safetensors_rust.SafetensorError: Error while deserializing header: header too large"),
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "OSError: Consistency check failed: file should be of size 4976698672 but has size 3221225472"),
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory"),
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "_pickle.UnpicklingError: invalid load key, 'v'."),
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "gguf_init_from_file_impl: invalid magic characters: '<!do', expected 'GGUF'"),
    (C.CORRUPT_WEIGHTS, R.WEIGHTS_CORRUPT, "ValueError: Following weights were not initialized from checkpoint: {'lm_head.weight'}"),
    (C.DISK_FULL, R.NODE_DISK_FULL, "OSError: [Errno 28] No space left on device"),
    (C.DISK_FULL, R.NODE_DISK_FULL, "RuntimeError: Data processing error: File reconstruction error: IO Error: No space left on device (os error 28)"),
    (C.DISK_FULL, R.EVICTED, "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 2Gi."),
    (C.PERMISSION_DENIED, R.PERMISSION_DENIED, "PermissionError: [Errno 13] Permission denied: '/.cache'"),
    (C.PERMISSION_DENIED, R.PERMISSION_DENIED, "OSError: [Errno 30] Read-only file system: '/nobody/.triton'"),
    # machine
    (C.SHM_TOO_SMALL, R.SHARED_MEMORY_TOO_SMALL, "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm)."),
    (C.SHM_TOO_SMALL, R.SHARED_MEMORY_TOO_SMALL, "RuntimeError: unable to write to file </torch_287_2714559211_8>: No space left on device (28)"),
    (C.SHM_TOO_SMALL, R.SHARED_MEMORY_TOO_SMALL, "Fatal Python error: Bus error"),
    (C.NCCL_COMM, R.COLLECTIVE_COMM_FAILED, "[rank0]:[E ProcessGroupNCCL.cpp:563] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1, OpType=ALLREDUCE)"),
    (C.NCCL_COMM, R.COLLECTIVE_COMM_FAILED, "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)"),
    (C.NCCL_COMM, R.COLLECTIVE_COMM_FAILED, "node:71:71 [0] bootstrap.cc:135 NCCL WARN Bootstrap : no socket interface found"),
    (C.NCCL_COMM, R.COLLECTIVE_COMM_FAILED, "torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 1/2 clients joined."),
    (C.NCCL_COMM, R.COLLECTIVE_COMM_FAILED, "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "RuntimeError: No CUDA GPUs are available"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "Error 803: system has unsupported display driver / cuda driver combination"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9, please update your driver to a newer version"),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "RuntimeError: FlashAttention only supports Ampere GPUs or newer."),
    (C.DRIVER_MISMATCH, R.DRIVER_MISMATCH, "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"),
    (C.PORT_IN_USE, R.PORT_IN_USE, "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"),
    (C.PORT_IN_USE, R.PORT_IN_USE, "srv  start: couldn't bind HTTP server socket, hostname: 0.0.0.0, port: 8080"),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_NOT_EXECUTABLE, "exec /usr/bin/python3: exec format error"),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_NOT_EXECUTABLE, 'exec: "vllm": executable file not found in $PATH: unknown'),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_NOT_EXECUTABLE, "/bin/sh: 1: vllm: not found"),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_NOT_EXECUTABLE, "./llama-server: error while loading shared libraries: libgomp.so.1: cannot open shared object file"),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_NOT_FOUND, 'Failed to pull image "acme/engine:9": rpc error: code = NotFound desc = failed to resolve reference: not found'),
    (C.IMAGE_OR_EXEC_ERROR, R.IMAGE_PULL_FAILED, "toomanyrequests: You have reached your pull rate limit. 429 Too Many Requests"),
    # the rest
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "ModuleNotFoundError: No module named 'flashinfer'"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "/bin/sh: 1: /opt/venv/bin/nvcc: not found"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "ImportError: /usr/lib/_C.abi3.so: undefined symbol: _ZN3c106detail"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "RuntimeError: CUDA error: an illegal memory access was encountered"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "TypeError: not a string"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "/app/ggml/src/ggml.c:1729: GGML_ASSERT(ctx->mem_buffer != NULL) failed"),
    (C.PYTHON_EXCEPTION_OTHER, R.ENGINE_EXITED, "Exception: data did not match any variant of untagged enum ModelWrapper at line 757479 column 3"),
]  # fmt: skip


@pytest.mark.parametrize(("coarse", "reason", "log"), WORDINGS, ids=[row[2].splitlines()[0][:60] for row in WORDINGS])
def test_a_wording_alone_is_enough(coarse, reason, log):
    verdict = read(log).verdict
    assert verdict is not None and (verdict.cause.coarse, verdict.cause.reason) == (coarse, reason)


def test_every_class_has_a_wording():
    assert {row[0] for row in WORDINGS} == set(Coarse) - {C.NONE_HEALTHY}


@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: row.pattern.pattern[:60])
def test_a_row_is_lower_case_names_its_source_and_has_no_alternatives_at_its_top(row):
    plain = re.sub(r"\\.", "", row.pattern.pattern)
    depth = [plain[:at].count("(") - plain[:at].count(")") for at, char in enumerate(plain) if char == "|"]
    assert plain == plain.lower() and row.source and row.engine
    assert all(depth), "alternatives at the top have no common literal"


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_whatever_fits_a_pattern_contains_its_needle(data):
    row = data.draw(st.sampled_from(SIGNATURES))
    assert row.needle in data.draw(st.from_regex(row.pattern))


@pytest.mark.parametrize(
    ("pattern", "needle"),
    [
        (r"address already in use", "address already in use"),
        (r"port \d+ is (?:already in use|taken)", "port "),
        (r"failed to allocate (?:buffer )?for kv cache", "failed to allocate "),
        (r"libcuda\.so(?:\.1)?: cannot open", ": cannot open"),
    ],
)
def test_a_needle_is_the_longest_literal_part(pattern, needle):
    assert needle_of(pattern) == needle
