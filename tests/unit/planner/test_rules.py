"""What cannot be, whatever the memory."""

from __future__ import annotations

import pytest

from dedicated.api import errors
from dedicated.api.endpoint import EngineKind
from dedicated.api.reasons import Reason
from dedicated.planner import size
from dedicated.planner.model_facts import of_config
from dedicated.planner.request import PlanRequest
from tests.support.models import CLASSES, config_of, plan_of

CODER = "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8"


@pytest.mark.parametrize(
    ("repo", "tp", "says"),
    [
        ("tiiuae/falcon-7b-instruct", 2, "71 attention heads cannot be divided by tensor parallelism 2; set it to one of 1, 71"),
        ("microsoft/phi-4", 4, "10 KV heads can neither be divided over nor copied to 4 ranks of tensor parallelism; set it to one of 1, 2, 5, 10"),
        ("microsoft/Phi-3-medium-128k-instruct", 8, "10 KV heads"),
        ("mistralai/Mistral-Large-Instruct-2407", 5, "96 attention heads"),
        (CODER, 8, "the expert's intermediate size 2560 over tensor parallelism 8 gives 320, which is not made of fp8 blocks of 128"),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", 4, None),
    ],
)
def test_a_model_that_does_not_divide_is_refused_with_the_numbers(repo, tp, says):
    found = plan_of(repo, "a100-80gb", tp, tensor_parallel=tp)
    assert (found.reason is Reason.PARALLELISM_INVALID) == (says is not None)
    assert says is None or says in found.message


def test_marlin_kernels_want_whole_groups_on_each_rank():
    config = {**config_of("Qwen/Qwen2.5-7B-Instruct-AWQ"), "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    found = size.plan(of_config(config), CLASSES, PlanRequest(accelerators=("a100-80gb",), count=8, tensor_parallel=8))
    assert "18944 over tensor parallelism 8 gives 2368, which is not made of groups of 128" in found.message


def test_where_splitting_leaves_a_remainder_stages_are_made_instead():
    assert plan_of("tiiuae/falcon-7b-instruct", "a10", 2).layout.pp == 2
    coder = plan_of(CODER, "h20", 8).layout
    assert (coder.tp, coder.pp) == (4, 2)


def test_two_kv_heads_are_copied_to_eight_ranks():
    assert plan_of("Qwen/Qwen3-Next-80B-A3B-Instruct", "h100-80gb", 8).layout.tp == 8


def test_slices_cannot_be_joined():
    found = plan_of("Qwen/Qwen3-0.6B", "a100-40gb-mig-1g.5gb", 2)
    assert found.reason is Reason.PARALLELISM_INVALID


def test_more_stages_than_layers_are_refused():
    found = plan_of("openai/whisper-large-v3-turbo", "l4", 8, tensor_parallel=1, pipeline_parallel=8)
    assert found.message.startswith("4 layers cannot make 8 pipeline stages")


def test_a_layout_that_is_not_the_count_is_refused():
    found = plan_of("Qwen/Qwen3-8B", "h100-80gb", 2, tensor_parallel=4)
    assert found.memory.weight_bytes > 0  # what it would have been
    assert found.message == "tensor parallelism 4 times pipeline parallelism any does not make 2 devices; set a count that is their product"


@pytest.mark.parametrize(
    ("repo", "accelerator", "engine", "reason"),
    [
        ("google/gemma-2-9b-it", "t4", EngineKind.VLLM, Reason.UNSUPPORTED_DTYPE),
        ("google/gemma-3-4b-it", "v100-32gb", EngineKind.VLLM, Reason.UNSUPPORTED_DTYPE),
        ("Qwen/Qwen2.5-7B-Instruct-AWQ", "v100-32gb", EngineKind.VLLM, Reason.UNSUPPORTED_QUANTIZATION),
        ("openai/gpt-oss-20b", "t4", EngineKind.VLLM, Reason.UNSUPPORTED_QUANTIZATION),
        ("Qwen/Qwen3-0.6B", "v100-16gb", EngineKind.SGLANG, Reason.NO_ACCELERATOR_ALLOWED),
        ("Qwen/Qwen3-0.6B", "l4", EngineKind.LLAMACPP, Reason.UNSUPPORTED_QUANTIZATION),
    ],
)
def test_a_device_that_does_not_compute_what_is_needed_is_refused(repo, accelerator, engine, reason):
    found = plan_of(repo, accelerator, 1, engine=engine)
    assert (found.verdict, found.reason) == ("rejected", reason)
    assert isinstance(found.error(), errors.Stalled) and found.error().reason is reason


def test_fp4_weights_of_nvidia_do_not_run_on_amd():
    config = {**config_of("Qwen/Qwen3-8B"), "quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
    found = size.plan(of_config(config), CLASSES, PlanRequest(accelerators=("mi300x",), count=1))
    assert found.reason is Reason.UNSUPPORTED_QUANTIZATION


def test_a_bf16_model_on_an_old_card_is_told_that_it_runs_in_float16():
    found = plan_of("Qwen/Qwen3-0.6B", "t4", 1)
    assert found.fits and any(warning.reason is Reason.UNSUPPORTED_DTYPE for warning in found.warnings)


def test_an_fp8_cache_on_a_card_without_fp8_is_allowed_and_said_to_be_slow():
    found = plan_of("Qwen/Qwen3-8B", "a100-80gb", 1, kv_cache_dtype="fp8")
    assert found.fits and any("slowly" in str(warning) for warning in found.warnings)


def test_tensor_parallelism_over_nodes_is_a_warning():
    found = plan_of("meta-llama/Llama-3.1-405B-Instruct-FP8", "a40", 16, tensor_parallel=16, max_model_len=16_384)
    assert found.layout.nodes == 2 and any("spans nodes" in str(warning) for warning in found.warnings)


def test_a_cpu_serves_llamacpp_only():
    assert plan_of("Qwen/Qwen3-0.6B", "cpu").reason is Reason.NO_ACCELERATOR_ALLOWED
