"""What a request keeps: numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from dedicated.core.quantities import GIB
from dedicated.planner.memory import Layout, request_kv_bytes
from dedicated.planner.request import Batch, PlanRequest
from tests.support.models import facts_of

BATCH = Batch(256, 2048)


def kv(repo, tokens, tp=1, pp=1, dtype="auto"):
    return request_kv_bytes(facts_of(repo), PlanRequest(kv_cache_dtype=dtype), Layout(tp, pp), BATCH, tokens)


def test_kv_cache_of_an_8b_model_at_8k_tokens_is_one_gibibyte():
    assert kv("meta-llama/Llama-3.1-8B-Instruct", 8192) == GIB  # 32 layers x 2 x 8 heads of 128 x 2 bytes


@pytest.mark.parametrize(
    ("repo", "bytes_per_token"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", 32_768),
        ("Qwen/Qwen2.5-7B-Instruct", 57_344),
        ("Qwen/Qwen3-30B-A3B", 98_304),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 131_072),
        ("mistralai/Mistral-Small-24B-Instruct-2501", 163_840),
        ("Qwen/Qwen3-235B-A22B", 192_512),
        ("microsoft/phi-4", 204_800),
        ("Qwen/Qwen2.5-32B-Instruct", 262_144),
        ("meta-llama/Llama-3.3-70B-Instruct", 327_680),
        ("microsoft/Phi-3-mini-128k-instruct", 393_216),
        ("meta-llama/Llama-3.1-405B-Instruct", 516_096),
        ("meta-llama/Llama-2-7b-chat-hf", 524_288),
        ("CohereForAI/c4ai-command-r-v01", 1_310_720),
        ("deepseek-ai/DeepSeek-V3-0324", 70_272),
    ],
)
def test_published_bytes_per_token(repo, bytes_per_token):
    assert kv(repo, 1000) == 1000 * bytes_per_token


def test_tensor_parallelism_splits_heads_and_copies_where_there_are_fewer():
    whole = kv("Qwen/Qwen2.5-7B-Instruct", 1000)  # 4 KV heads
    assert kv("Qwen/Qwen2.5-7B-Instruct", 1000, tp=4) == whole / 4
    assert kv("Qwen/Qwen2.5-7B-Instruct", 1000, tp=8) == whole / 4


def test_a_latent_cache_is_whole_on_every_rank():
    assert kv("deepseek-ai/DeepSeek-V3-0324", 1000, tp=8) == kv("deepseek-ai/DeepSeek-V3-0324", 1000)


def test_a_pipeline_splits_layers_rounded_up():
    assert kv("deepseek-ai/DeepSeek-V3-0324", 1000, pp=6) == 1000 * 576 * 2 * 11  # 61 layers over 6 stages


def test_a_window_ends_what_is_kept():
    # Gemma 3 4B: 29 of 34 layers keep 1,024 - 1 + 2,048 tokens, in blocks of 16 and one more: 3,088
    per_layer = 2 * 4 * 256 * 2
    assert kv("google/gemma-3-4b-it", 100_000) == per_layer * (5 * 100_000 + 29 * 3_088)


def test_chunks_end_what_is_kept():
    scout = 2 * 8 * 128 * 2
    assert kv("meta-llama/Llama-4-Scout-17B-16E-Instruct", 100_000) == scout * (12 * 100_000 + 36 * (10_240 + 16))


def test_a_hybrid_keeps_a_state_besides_the_cache_of_its_attention():
    short, long = kv("Qwen/Qwen3-Next-80B-A3B-Instruct", 1), kv("Qwen/Qwen3-Next-80B-A3B-Instruct", 1001)
    assert long - short == 1000 * 12 * 2 * 2 * 256 * 2  # 12 of 48 layers attend
    assert short > 36 * 32 * 128 * 128 * 4


def test_shared_layers_keep_nothing():
    # Gemma 4 E2B: 15 of 35 layers keep; of these 3 are full, with heads of 512
    assert kv("google/gemma-4-E2B-it", 101_000) - kv("google/gemma-4-E2B-it", 100_000) == 1000 * 3 * 2 * 512 * 2


def test_an_encoder_keeps_nothing_and_whisper_keeps_what_it_hears():
    assert kv("BAAI/bge-m3", 8192) == 0
    assert kv("openai/whisper-large-v3", 0) == 32 * 2 * 20 * 64 * 2 * 1500


def test_an_fp8_cache_is_half_and_an_unknown_type_is_sixteen_bit():
    whole = kv("Qwen/Qwen3-8B", 1000)
    assert kv("Qwen/Qwen3-8B", 1000, dtype="fp8") == whole / 2
    assert kv("Qwen/Qwen3-8B", 1000, dtype="turbo") == whole
