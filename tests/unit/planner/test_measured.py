"""What engines say of their memory at their start, by their own words."""

from __future__ import annotations

import pytest

from dedicated.api.status import Measured
from dedicated.core.quantities import GIB, MIB
from dedicated.planner.measured import errors, measured

VLLM = """INFO 11-02 10:00:01 [gpu_model_runner.py:4500] Model loading took 14.99 GiB memory and 3.11 seconds
INFO 11-02 10:00:09 [gpu_worker.py:420] Available KV cache memory: 51.38 GiB
INFO 11-02 10:00:09 [kv_cache_utils.py:1100] GPU KV cache size: 420,896 tokens
INFO 11-02 10:00:09 [kv_cache_utils.py:1105] Maximum concurrency for 16,000 tokens per request: 26.31x"""
SGLANG = """[2026-11-02 10:00:04] Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=63.70 GB, mem usage=14.98 GB.
[2026-11-02 10:00:05] KV Cache is allocated. #tokens: 426496, K size: 26.03 GB, V size: 26.03 GB
[2026-11-02 10:00:09] max_total_num_tokens=426496, chunked_prefill_size=8192, context_len=131072"""
LLAMACPP = """load_tensors:        CUDA0 model buffer size =  4095.05 MiB
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
llama_kv_cache_unified:      CUDA0 KV buffer size =   512.00 MiB
srv    load_model: initializing, n_slots = 1, n_ctx_slot = 4096, kv_unified = 'false'"""


@pytest.mark.parametrize(
    ("log", "says"),
    [
        pytest.param(
            VLLM, Measured(weight_bytes=int(14.99 * GIB), kv_cache_bytes=int(51.38 * GIB), kv_cache_tokens=420896, concurrency=26.31), id="vllm"
        ),
        pytest.param(SGLANG, Measured(weight_bytes=int(14.98 * GIB), kv_cache_bytes=int(52.06 * GIB), kv_cache_tokens=426496), id="sglang"),
        pytest.param(LLAMACPP, Measured(weight_bytes=int(4376.86 * MIB), kv_cache_bytes=512 * MIB, max_model_len=4096), id="llama.cpp"),
        pytest.param("Auto-fit max_model_len: reduced from 131072 to 28,416", Measured(max_model_len=28416), id="a length that was fitted"),
        pytest.param("", Measured(), id="nothing"),
    ],
)
def test_the_numbers_of_a_start_are_read(log, says):
    assert measured(log) == says


def test_of_two_starts_the_last_one_counts():
    assert measured("Model loading took 1.00 GiB memory\nModel loading took 2.00 GiB memory").weight_bytes == 2 * GIB


def test_an_estimate_that_was_a_tenth_too_low_is_an_error_of_plus_a_tenth():
    assert errors({"weight_bytes": 10 * GIB}, Measured(weight_bytes=11 * GIB)) == {"weight_bytes": pytest.approx(0.1)}
    assert errors({"weight_bytes": 10 * GIB}, Measured()) == {}
