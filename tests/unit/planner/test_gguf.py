"""GGUF models, and llama.cpp's memory on GPUs and in host memory."""

from __future__ import annotations

import pytest

from dedicated.api.endpoint import CPU, EngineKind
from dedicated.api.errors import UnsupportedArchitecture
from dedicated.api.reasons import Reason
from dedicated.core.quantities import GIB
from dedicated.planner import size
from dedicated.planner.gguf import of_metadata
from dedicated.planner.layers import Mixer
from dedicated.planner.request import PlanRequest
from tests.support.models import CLASSES

LLAMA = {
    "general.architecture": "llama",
    "llama.block_count": 32,
    "llama.embedding_length": 4096,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.context_length": 131_072,
    "tokenizer.ggml.tokens": 128_256,
}
Q4 = 4_920_734_272
"""Bytes of Llama-3.1-8B in Q4_K_M."""


def plan(metadata=LLAMA, file_bytes=Q4, **asked):
    return size.plan(of_metadata(metadata, file_bytes), CLASSES, PlanRequest(engine=EngineKind.LLAMACPP, **asked))


def test_a_gguf_model_tells_its_shape():
    facts = of_metadata(LLAMA, Q4)
    assert (facts.layers, facts.hidden, facts.heads, facts.vocab, facts.context_limit) == (32, 4096, 32, 128_256, 131_072)
    assert [(group.mixer, group.layers, group.heads, group.values) for group in facts.kv] == [(Mixer.FULL, 32, 8, 256)]


def test_heads_may_differ_by_layer_and_layers_without_heads_keep_a_state():
    hybrid = {**LLAMA, "llama.attention.head_count_kv": [0, 0, 0, 8] * 8, "llama.ssm.inner_size": 4096, "llama.ssm.state_size": 128}
    kept = {group.mixer: group.layers for group in of_metadata(hybrid, Q4).kv}
    assert kept == {Mixer.FULL: 8, Mixer.MAMBA: 24}


def test_a_window_makes_most_layers_of_gemma_slide():
    gemma = {key.replace("llama.", "gemma3."): value for key, value in LLAMA.items()} | {"general.architecture": "gemma3"}
    kept = {group.mixer: group.layers for group in of_metadata({**gemma, "gemma3.attention.sliding_window": 1024}, Q4).kv}
    assert kept == {Mixer.FULL: 5, Mixer.SLIDING: 27}


def test_a_latent_cache_is_known_by_its_rank():
    latent = {**LLAMA, "llama.attention.kv_lora_rank": 512, "llama.rope.dimension_count": 64}
    assert [(group.mixer, group.values) for group in of_metadata(latent, Q4).kv] == [(Mixer.MLA, 576)]


def test_the_cache_of_every_slot_is_there_from_the_start():
    one = plan(accelerators=("l4",), count=1, max_model_len=8192)
    four = plan(accelerators=("l4",), count=1, max_model_len=8192, max_num_seqs=4)
    assert one.memory.kv_cache_bytes == GIB and four.memory.kv_cache_bytes == 4 * GIB


def test_an_8b_model_in_four_bits_fits_on_eight_gigabytes():
    assert plan(accelerators=("rtx4070-8gb",), max_model_len=4096).fits


def test_several_devices_share_the_layers():
    found = plan(accelerators=("l4",), count=4, max_model_len=8192)
    assert (found.layout.tp, found.layout.pp) == (1, 4)


def test_vllm_does_not_open_it():
    found = size.plan(of_metadata(LLAMA, Q4), CLASSES, PlanRequest(accelerators=("l4",), count=1))
    assert found.reason is Reason.UNSUPPORTED_QUANTIZATION and "llamacpp" in found.message


def test_on_cpu_the_host_memory_is_planned():
    found = plan(accelerators=(CPU,), max_model_len=8192)
    assert (found.fits, found.accelerator, found.count) == (True, "cpu", 0)
    assert found.memory.budget_bytes == found.memory.needed_bytes > Q4 * 1.1 + GIB


def test_on_cpu_a_given_host_memory_may_be_too_small():
    found = plan(accelerators=(CPU,), max_model_len=8192, host_memory_bytes=6 * GIB)
    assert (found.fits, found.reason) == (False, Reason.DOES_NOT_FIT) and "6.0 GiB are given" in found.message


def test_a_file_that_tells_no_shape_is_estimated_and_the_plan_says_so():
    found = plan({"general.architecture": "tomorrow"}, accelerators=("h100-80gb",), count=1, max_model_len=4096)
    assert found.fits and found.reason is Reason.UNSUPPORTED_ARCHITECTURE


def test_a_file_without_an_architecture_is_refused_in_one_sentence():
    with pytest.raises(UnsupportedArchitecture, match=r"does not say its general\.architecture"):
        of_metadata({}, Q4)
