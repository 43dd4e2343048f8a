"""Weight bytes by arithmetic on config.json, held against what the repositories hold."""

from __future__ import annotations

import csv

import pytest

from dedicated.planner.model_facts import of_config
from tests.support.models import CONFIGS, FIXTURES, config_of, facts_of

WEIGHTS = {row["repo_id"]: int(row["weight_bytes"]) for row in csv.DictReader((FIXTURES / "model_weights.csv").open())}
MISSES = {
    "Qwen/Qwen3-0.6B": "the file holds a copy of the tied head, which no config tells",
    "Qwen/Qwen3-1.7B": "the file holds a copy of the tied head, which no config tells",
    "tiiuae/falcon-7b-instruct": "the file holds a copy of the tied head, which no config tells",
    "tiiuae/falcon-40b-instruct": "the file holds a copy of the tied head, which no config tells",
    "mistralai/Mistral-Medium-3.5-128B": "its config is not public knowledge: what sees is guessed",
}
UNKNOWN = {"nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16", "deepseek-ai/DeepSeek-V4-Flash-0731"}
"""Their configs could not be rebuilt."""


def known():
    return [repo for repo in WEIGHTS if (CONFIGS / f"{repo.replace('/', '--')}.json").exists()]


def test_all_but_two_of_the_112_models_have_a_config():
    assert set(WEIGHTS) - set(known()) == UNKNOWN


@pytest.mark.parametrize("repo", known())
def test_weight_bytes_are_within_one_percent_from_the_config_alone(repo):
    off = facts_of(repo).stored_bytes / WEIGHTS[repo] - 1
    assert (abs(off) < 0.01) != (repo in MISSES), f"{repo} is off by {off:+.2%}"


def test_an_8b_llama_in_bf16_takes_sixteen_gigabytes():
    # 32 layers of 218.1 M, two tables of 128,256 x 4,096: 8.03 G weights of 2 bytes
    assert facts_of("meta-llama/Llama-3.1-8B-Instruct").stored_bytes == pytest.approx(16_060_522_496, rel=1e-4)


def test_four_bits_in_groups_of_128_take_0_5195_bytes_a_weight():
    facts = facts_of("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4")
    assert facts.quantization.weight_bytes == 0.51953125


def test_layers_that_a_checkpoint_names_are_left_in_16_bit():
    plain = config_of("meta-llama/Llama-3.1-8B-Instruct")
    fp8 = {"quant_method": "fbgemm_fp8", "modules_to_not_convert": [f"model.layers.0.mlp.{name}_proj" for name in ("gate", "up", "down")]}
    some = of_config({**plain, "quantization_config": fp8}).stored_bytes
    none = of_config({**plain, "quantization_config": {"quant_method": "fbgemm_fp8"}}).stored_bytes
    assert some - none == 3 * 4096 * 14336  # one byte more for each weight of the first layer's block


def test_all_experts_count_however_few_a_token_meets():
    assert facts_of("mistralai/Mixtral-8x7B-Instruct-v0.1").parameters == pytest.approx(46_702_792_704, rel=1e-3)


def test_what_a_model_stores_and_no_engine_loads_is_told_apart():
    facts = facts_of("deepseek-ai/DeepSeek-V3-0324")
    assert facts.stored_bytes / 1e9 == pytest.approx(688.6, rel=0.01)  # with the layer that guesses ahead
    assert facts.loaded_bytes / 1e9 == pytest.approx(673.2, rel=0.01)


def test_fp32_is_loaded_in_16_bit():
    facts = facts_of("BAAI/bge-m3")
    assert facts.loaded_bytes == facts.stored_bytes / 2


SHAPES = [
    ("GLM-4.5-Air", 106.85, "glm4_moe", (4096, 46, 96, 8, 10944, 151_552), {"head_dim": 128, "moe_intermediate_size": 1408, "n_routed_experts": 128}),
    ("Qwen2-57B-A14B", 57.41, "qwen2_moe", (3584, 28, 28, 4, 18944, 151_936), {"num_experts": 64, "moe_intermediate_size": 2560}),
    ("OLMo-2-13B", 13.7, "olmo2", (5120, 40, 40, 40, 13824, 100_352), {}),
    ("Yi-34B", 34.39, "llama", (7168, 60, 56, 8, 20480, 64_000), {}),
    ("Command A", 111.06, "cohere2", (12288, 64, 96, 8, 36864, 256_000), {"head_dim": 128}),
    ("Granite 4.0 H Small", 32.2, "granitemoehybrid", (4096, 40, 32, 8, 768, 100_352), {"num_local_experts": 72, "tie_word_embeddings": True}),
    ("Jamba 0.1", 51.57, "jamba", (4096, 32, 32, 8, 14336, 65_536), {"num_experts": 16}),
    ("LFM2 1.2B", 1.17, "lfm2", (2048, 16, 32, 8, 12288, 65_536), {"block_auto_adjust_ff_dim": True}),
]
MORE = {
    "GLM-4.5-Air": {"n_shared_experts": 1, "first_k_dense_replace": 1},
    "Qwen2-57B-A14B": {"shared_expert_intermediate_size": 20480},
    "Granite 4.0 H Small": {
        **{"shared_intermediate_size": 1536, "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1},
        "layer_types": (["mamba"] * 9 + ["attention"]) * 4,
    },
    "Jamba 0.1": {"expert_layer_period": 2, "expert_layer_offset": 1, "attn_layer_period": 8, "attn_layer_offset": 4, "mamba_dt_rank": 256},
    "LFM2 1.2B": {"layer_types": ["conv"] * 10 + ["full_attention"] * 6},
}


@pytest.mark.parametrize(("name", "billions", "family", "shape", "more"), SHAPES, ids=[row[0] for row in SHAPES])
def test_families_that_are_not_among_the_112_are_counted_too(name, billions, family, shape, more):
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size")
    facts = of_config({"model_type": family, **dict(zip(keys, shape, strict=True)), **more, **MORE.get(name, {})})
    assert facts.parameters / 1e9 == pytest.approx(billions, rel=0.01) and facts.known


def test_families_that_name_things_their_own_way_are_understood():
    mpt = of_config({"model_type": "mpt", "d_model": 4096, "n_heads": 32, "n_layers": 32, "expansion_ratio": 4, "vocab_size": 50_432})
    glm = {"hidden_size": 4096, "ffn_hidden_size": 13696, "num_layers": 28, "num_attention_heads": 32, "multi_query_group_num": 2}
    chatglm = of_config({"model_type": "chatglm", **glm, "kv_channels": 128, "multi_query_attention": True, "padded_vocab_size": 65_024})
    assert (mpt.parameters / 1e9, chatglm.parameters / 1e9) == (pytest.approx(6.65, rel=0.01), pytest.approx(6.24, rel=0.01))
    dbrx = {"d_model": 6144, "n_heads": 48, "n_layers": 40, "vocab_size": 100_352, "attn_config": {"kv_n_heads": 8}}
    found = of_config({"model_type": "dbrx", **dbrx, "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16}})
    assert found.parameters / 1e9 == pytest.approx(131.6, rel=0.01) and found.kv_heads == 8
