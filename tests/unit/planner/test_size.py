"""Plans: which class, how spread, how long a context, and what is said where nothing fits."""

from __future__ import annotations

import pytest

from dedicated.api import errors
from dedicated.api.endpoint import EngineKind
from dedicated.api.reasons import Reason
from dedicated.core.quantities import GIB
from dedicated.planner import size
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.candidates import Verdict, verdict_of
from dedicated.planner.memory import Memory
from dedicated.planner.request import PlanRequest
from tests.support.models import CLASSES, facts_of, plan_of

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


def test_an_8b_model_goes_to_the_cheapest_card_that_holds_it():
    found = plan_of(LLAMA)
    assert (found.verdict, found.accelerator, found.count, found.reason) == (Verdict.FITS, "l4", 1, None)
    assert found.price_per_hour == pytest.approx(0.8048)


def test_what_else_fits_is_named_cheapest_first():
    found = plan_of(LLAMA, max_model_len=8192)
    prices = [plan_of(LLAMA, name, max_model_len=8192).price_per_hour for name in found.alternatives]
    assert found.accelerator not in found.alternatives and prices == sorted(prices)


def test_a_plan_says_where_the_memory_of_a_device_goes():
    memory = plan_of(LLAMA, "h100-80gb", 1, max_model_len=16_000, memory_share=0.9).memory
    assert memory.budget_bytes == pytest.approx(0.9 * 79.18 * GIB, rel=1e-3)
    assert memory.weight_bytes == pytest.approx(14.96 * GIB, rel=1e-3)
    assert memory.kv_cache_bytes == 16_000 * 131_072
    assert memory.activation_bytes == int(1024 * 128_256 * 38.5)  # the sampler's pass over 1,024 sequences
    assert memory.headroom_bytes == memory.budget_bytes - memory.needed_bytes


@pytest.mark.parametrize(
    ("left_gib", "verdict"),
    [(-0.51, "rejected"), (-0.5, "tight"), (0.0, "tight"), (1.49, "tight"), (1.51, "fits"), (20.0, "fits")],
)
def test_the_bands_around_full(left_gib, verdict):
    weights = int((40 - left_gib) * GIB)
    assert verdict_of(Memory(40 * GIB, weights, 0, 0, 0)) == verdict


def test_on_a_large_device_two_percent_are_tight():
    assert verdict_of(Memory(200 * GIB, 197 * GIB, 0, 0, 0)) is Verdict.TIGHT


def test_without_a_length_the_context_grows_as_far_as_it_stays_comfortable():
    found = plan_of(LLAMA, "l4", 1)
    assert 4096 < found.max_model_len < 131_072 and found.max_model_len % 256 == 0
    assert 1.5 * GIB <= found.memory.headroom_bytes < 1.5 * GIB + 256 * 131_072
    assert any("131072" in str(warning) for warning in found.warnings)


def test_the_context_never_grows_beyond_the_models_own_limit():
    assert plan_of(LLAMA, "h100-80gb", 1).max_model_len == 131_072
    assert plan_of("meta-llama/Meta-Llama-3-8B-Instruct", "h200", 1).max_model_len == 8192


def test_a_context_above_the_models_limit_is_refused_with_the_limit():
    found = plan_of(LLAMA, "h200", 1, max_model_len=200_000)
    assert (found.reason, found.fits) == (Reason.CONTEXT_TOO_LONG, False)
    assert "131072" in found.message and isinstance(found.error(), errors.ContextTooLong)


def test_no_plan_has_a_shorter_context_than_was_served_before():
    assert plan_of(LLAMA, "l4", 1, least_model_len=65_536).reason is Reason.DOES_NOT_FIT
    assert plan_of(LLAMA, least_model_len=65_536).max_model_len >= 65_536


def test_a_rejection_names_numbers_and_what_would_help():
    found = plan_of("Qwen/Qwen3-32B", "h100-80gb", 1, memory_share=0.9, max_model_len=32_000)
    assert found.message == (
        "needs 74.6 GiB per device (weights 61.0 GiB, KV cache 7.8 GiB, activations 5.6 GiB, overhead 153.6 MiB) of 71.3 GiB usable "
        "(1 x h100-80gb, 32000 tokens); set maxModelLen to 18432 or set maxNumSeqs to 256 or set kvCacheDtype to fp8"
    )
    assert [(one.accelerator, one.reason) for one in found.rejected] == [("h100-80gb", Reason.DOES_NOT_FIT)]
    assert isinstance(found.error(), errors.DoesNotFit)


@pytest.mark.parametrize("change", [{"max_model_len": 18_432}, {"max_num_seqs": 256}, {"kv_cache_dtype": "fp8"}])
def test_each_remedy_helps_alone(change):
    asked = {"memory_share": 0.9, "max_model_len": 32_000, **change}
    assert plan_of("Qwen/Qwen3-32B", "h100-80gb", 1, **asked).fits


def test_a_class_outside_the_allowed_ones_is_named_where_it_would_do():
    assert plan_of("Qwen/Qwen2.5-32B-Instruct", "l4", 1, max_model_len=8192).message.endswith("; set count to 4 or allow rtx-pro-6000")


def test_more_devices_of_the_same_class_are_a_remedy_too():
    found = plan_of(LLAMA_70B, "h100-80gb", 2, max_model_len=16_000, memory_share=0.9, max_num_seqs=1024)
    assert "set count to 4" in found.message
    assert plan_of(LLAMA_70B, "h100-80gb", 4, max_model_len=16_000, memory_share=0.9, max_num_seqs=1024).fits


def test_a_tight_plan_says_what_gives_it_room():
    found = plan_of("Qwen/Qwen3-32B", "h100-80gb", 1, memory_share=0.9, max_model_len=16_000)
    assert (found.verdict, found.reason, found.fits) == (Verdict.TIGHT, Reason.TIGHT_FIT, True)
    assert "set maxNumSeqs to 256" in found.message and found.error() is None


def test_devices_are_as_many_as_are_asked_for():
    found = plan_of("RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic", "l4", 8, max_model_len=32_768)
    assert found.layout.tp * found.layout.pp == found.count == 8


def test_linked_devices_split_layers_and_devices_on_pcie_make_stages_beyond_four():
    assert plan_of(LLAMA_70B, "a100-80gb", 8).layout.tp == 8
    assert (plan_of(LLAMA_70B, "l40s", 8).layout.tp, plan_of(LLAMA_70B, "l40s", 8).layout.pp) == (4, 2)


def test_the_fewest_devices_that_fit_are_taken():
    assert plan_of(LLAMA_70B, "h100-80gb", max_model_len=8192).count == 4
    assert plan_of(LLAMA_70B, "h200", max_model_len=8192).count == 2


def test_what_needs_several_nodes_says_that_it_cannot_be_scheduled_yet():
    found = plan_of("meta-llama/Llama-3.1-405B-Instruct", "h100-80gb", max_model_len=16_384)
    assert (found.fits, found.layout.nodes, found.schedulable, found.count) == (True, 2, False, 16)
    assert (found.layout.tp, found.layout.pp) == (8, 2) and "needs 2 nodes" in found.message


def test_one_node_goes_before_several_however_cheap():
    assert plan_of("deepseek-ai/DeepSeek-R1").layout.nodes == 1


def test_a_count_that_does_not_spread_evenly_is_refused():
    found = plan_of(LLAMA_70B, "h100-80gb", 17)
    assert found.reason is Reason.PARALLELISM_INVALID and "at most 8" in found.message
    assert isinstance(found.error(), errors.ParallelismInvalid)


def test_a_price_above_the_limit_is_a_rejection_with_both_numbers():
    found = plan_of(LLAMA_70B, "h100-80gb", max_price_per_hour=10.0, max_model_len=8192)
    assert found.reason is Reason.PRICE_ABOVE_LIMIT and "27.52" in found.message and "10" in found.message
    assert isinstance(found.error(), errors.PriceAboveLimit)


def test_where_all_that_fit_cost_too_much_the_cheapest_is_named():
    assert plan_of(LLAMA, max_price_per_hour=0.01, max_model_len=8192).accelerator == "a10"  # nobody knows its price
    priced = tuple(one.name for one in CLASSES if one.price_per_hour is not None)
    found = size.plan(facts_of(LLAMA), CLASSES, PlanRequest(accelerators=priced, max_price_per_hour=0.01, max_model_len=8192))
    assert found.message.startswith("1 x l4 cost 0.80 USD per hour, the limit is 0.01") and found.reason is Reason.PRICE_ABOVE_LIMIT


def test_a_cheap_class_is_taken_where_a_limit_allows_it():
    assert plan_of(LLAMA, max_price_per_hour=1.0, max_model_len=8192).accelerator == "l4"


def test_a_class_without_a_price_is_taken_under_a_limit_and_the_plan_says_so():
    found = plan_of(LLAMA, "rtx4090", 1, max_price_per_hour=0.1, max_model_len=4096)
    assert found.fits and any("has no price" in str(warning) for warning in found.warnings)


def test_a_class_that_does_not_exist_is_named():
    found = plan_of(LLAMA, "h900")
    assert found.reason is Reason.NO_ACCELERATOR_ALLOWED and found.accelerator is None
    assert found.rejected[0].message == "there is no AcceleratorClass h900"
    assert isinstance(found.error(), errors.NoAcceleratorAllowed)


def test_a_class_without_a_price_comes_after_those_with_one():
    free = Accelerator("ours", 23 * GIB, 24 * GIB, compute=8.9)
    priced = Accelerator("theirs", 23 * GIB, 24 * GIB, compute=8.9, price_per_hour=9.0)
    assert size.plan(facts_of(LLAMA), [free, priced], PlanRequest(max_model_len=4096)).accelerator == "theirs"


def test_between_equal_prices_the_smaller_device_is_taken():
    small = Accelerator("small", 23 * GIB, 24 * GIB, compute=8.9, price_per_hour=1.0)
    large = Accelerator("large", 46 * GIB, 48 * GIB, compute=8.9, price_per_hour=1.0)
    assert size.plan(facts_of(LLAMA), [large, small], PlanRequest(max_model_len=4096)).accelerator == "small"


@pytest.mark.parametrize(
    ("accelerator", "seqs", "tokens"), [("l4", 256, 2048), ("a100-80gb", 256, 2048), ("h100-80gb", 1024, 8192), ("b200", 1024, 16384)]
)
def test_without_a_batch_it_is_the_engines_own_for_the_device(accelerator, seqs, tokens):
    batch = plan_of("Qwen/Qwen3-0.6B", accelerator, 1).batch
    assert (batch.max_num_seqs, batch.batched_tokens) == (seqs, tokens)


def test_sglang_leaves_ten_gibibytes_of_a_large_device_to_its_steps():
    memory = plan_of(LLAMA, "h100-80gb", 1, engine=EngineKind.SGLANG, max_model_len=8192).memory
    assert memory.budget_bytes == pytest.approx(79.18 * GIB, rel=1e-3)
    # 512 + 8192 x 1.5 + 128 + 256 x 2 + 512 MiB of 81,559
    assert memory.activation_bytes / memory.budget_bytes == pytest.approx(13_952 / 81_559, rel=1e-3)


def test_sglang_with_a_share_holds_more_than_vllm_with_the_same():
    asked = {"max_model_len": 40_960, "memory_share": 0.93}
    sglang = plan_of("Qwen/Qwen3-235B-A22B-FP8", "h100-80gb", 4, engine=EngineKind.SGLANG, **asked)
    assert sglang.concurrency > plan_of("Qwen/Qwen3-235B-A22B-FP8", "h100-80gb", 4, **asked).concurrency


def test_concurrency_is_how_often_a_full_request_fits_at_most_the_sequences():
    found = plan_of(LLAMA, "h100-80gb", 1, max_model_len=16_000, memory_share=0.9)
    room = found.memory.budget_bytes - found.memory.weight_bytes - found.memory.activation_bytes - found.memory.overhead_bytes
    assert found.concurrency == pytest.approx(room / (16_000 * 131_072), abs=0.01)
    assert plan_of(LLAMA, "h100-80gb", 1, max_model_len=16_000, max_num_seqs=3).concurrency == 3


def test_the_answer_as_json_has_what_scripts_read():
    found = plan_of(LLAMA, "h100-80gb", 2, max_model_len=16_000).to_dict()
    wanted = "fits verdict accelerator count tensorParallel pipelineParallel memory maxModelLen maxNumSeqs concurrency pricePerHour reason message"
    assert set(wanted.split()) | {"warnings", "alternatives", "rejected", "nodes", "schedulable"} <= set(found)
    assert set(found["memory"]) == {"budgetBytes", "weightBytes", "kvCacheBytes", "activationBytes", "overheadBytes", "headroomBytes"}
