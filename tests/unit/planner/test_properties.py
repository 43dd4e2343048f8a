"""What must hold for every model, device and request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import DedicatedError
from dedicated.core.quantities import GIB
from dedicated.planner import size
from dedicated.planner.memory import Layout, memory_of
from dedicated.planner.model_facts import of_config
from dedicated.planner.request import Batch, PlanRequest
from tests.support.models import CLASSES, CONFIGS, config_of, facts_of

REPOS = sorted(path.stem.replace("--", "/") for path in CONFIGS.glob("*.json"))
MODELS = st.sampled_from(REPOS).map(facts_of)
ENGINES = st.sampled_from([EngineKind.VLLM, EngineKind.SGLANG])
REQUESTS = st.builds(
    PlanRequest,
    engine=ENGINES,
    count=st.sampled_from([1, 2, 4, 8]),
    max_model_len=st.integers(1, 40_000),
    max_num_seqs=st.integers(1, 1024),
    max_num_batched_tokens=st.integers(256, 32_768),
    memory_share=st.floats(0.3, 0.98),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
)
SOME = settings(max_examples=150, deadline=None)


@SOME
@given(MODELS, st.sampled_from(CLASSES), REQUESTS, st.integers(0, 200))
def test_more_memory_never_makes_a_fitting_model_unfit(facts, accelerator, request, more_gib):
    larger = replace(accelerator, visible_bytes=accelerator.visible_bytes + more_gib * GIB, memory_bytes=accelerator.memory_bytes + more_gib * GIB)
    if size.plan(facts, [accelerator], request).fits:
        assert size.plan(facts, [larger], request).fits


@SOME
@given(MODELS, st.sampled_from(CLASSES), REQUESTS, st.integers(1, 100_000), st.integers(0, 100_000))
def test_a_longer_context_never_needs_less(facts, accelerator, request, tokens, more):
    batch, layout = Batch(request.max_num_seqs, request.max_num_batched_tokens), Layout(tp=request.count)
    short = memory_of(facts, accelerator, layout, request, batch, tokens)
    assert memory_of(facts, accelerator, layout, request, batch, tokens + more).needed_bytes >= short.needed_bytes


@SOME
@given(MODELS, st.sampled_from(CLASSES), REQUESTS)
def test_tensor_parallelism_never_divides_what_cannot_be_divided(facts, accelerator, request):
    found = size.plan(facts, [accelerator], request)
    if not found.fits:
        return
    tp = found.layout.tp
    assert tp * found.layout.pp == request.count
    assert facts.heads % tp == 0 and all(heads % tp == 0 for heads in facts.other_heads)
    assert not any(group.heads for group in facts.kv) or facts.kv_heads % tp == 0 or tp % facts.kv_heads == 0
    block = facts.quantization.block if facts.quantization else 0
    assert not block or all(width // tp % block == 0 for _, width in facts.split_widths)


@SOME
@given(MODELS, REQUESTS)
def test_every_answer_is_whole(facts, request):
    found = size.plan(facts, CLASSES, replace(request, count=None))
    assert found.fits == (found.reason is None or found.verdict != "rejected")
    assert found.message and found.to_dict()["verdict"] == found.verdict
    names = {found.accelerator} if found.fits else set()
    assert names.isdisjoint(one.accelerator for one in found.rejected)
    assert all(one.message for one in found.rejected)


@SOME
@given(MODELS, st.sampled_from(CLASSES))
def test_a_chosen_context_fits_where_it_is_asked_for(facts, accelerator):
    chosen = size.plan(facts, [accelerator], PlanRequest(count=1))
    if chosen.fits:
        asked = size.plan(facts, [accelerator], PlanRequest(count=1, max_model_len=chosen.max_model_len))
        assert asked.fits and asked.max_model_len == chosen.max_model_len


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from(REPOS), st.data())
def test_a_config_with_odd_values_gives_a_plan_or_a_sentence_and_never_a_traceback(repo, data):
    config = config_of(repo)
    inner = [found for found in (config.get("text_config"), config.get("vision_config"), config.get("quantization_config")) if found]
    for where in [config, *inner]:
        for key in data.draw(st.lists(st.sampled_from(sorted(where)), max_size=3)):
            where[key] = data.draw(JSON)
    try:
        found = size.plan(of_config(config), CLASSES, PlanRequest())
    except DedicatedError as known:
        assert known.message
    else:
        assert found.message


ODD_NUMBERS = [-1, 0, 10**6, 10**30, 1.5, float("inf"), True, "8", [], {}, [None], ["a"], [{}]]


@pytest.mark.parametrize("value", ODD_NUMBERS, ids=str)
@pytest.mark.parametrize("repo", ["openai/gpt-oss-20b", "meta-llama/Llama-4-Scout-17B-16E-Instruct", "google/gemma-3-1b-it", "Qwen/Qwen3.6-27B"])
def test_every_field_may_hold_nonsense(repo, value):
    config = config_of(repo)
    for where in [config, *(config[name] for name in ("text_config", "vision_config", "quantization_config") if name in config)]:
        for key, was in list(where.items()):
            where[key] = value
            try:
                assert size.plan(of_config(config), CLASSES[:3], PlanRequest()).message
            except DedicatedError as known:
                assert known.message
            where[key] = was


@pytest.mark.parametrize("repo", REPOS)
def test_every_model_can_be_planned(repo):
    assert size.plan(facts_of(repo), CLASSES, PlanRequest()).fits
