"""What config.json tells, however it tells it."""

from __future__ import annotations

import pytest

from dedicated.api.errors import UnsupportedArchitecture
from dedicated.api.reasons import Reason
from dedicated.planner import size
from dedicated.planner.kv import KvGroup
from dedicated.planner.layers import Mixer
from dedicated.planner.model_facts import of_config
from dedicated.planner.request import PlanRequest
from dedicated.planner.stored import Source, Stored
from tests.support.models import CLASSES, CONFIGS, config_of, facts_of

SMALL = {"hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 4096, "vocab_size": 32_000}


def test_a_llama_as_the_planner_sees_it():
    facts = facts_of("meta-llama/Llama-3.1-8B-Instruct")
    assert (facts.architecture, facts.family, facts.known) == ("LlamaForCausalLM", "llama", True)
    assert (facts.layers, facts.hidden, facts.heads, facts.kv_heads, facts.vocab) == (32, 4096, 32, 8, 128_256)
    assert facts.kv == (KvGroup(Mixer.FULL, 32, 8, 256),)
    assert (facts.context_limit, facts.dtype, facts.source) == (131_072, "bfloat16", Source.CONFIG)


@pytest.mark.parametrize("key", ["text_config", "llm_config", "language_config"])
def test_the_language_model_of_a_multimodal_one_is_found_where_it_is_nested(key):
    plain = config_of("Qwen/Qwen3-8B")
    nested = of_config({"architectures": ["SeesThings"], "model_type": "sees", key: plain, "tie_word_embeddings": False})
    assert nested.layers == 36 and nested.known and nested.kv == facts_of("Qwen/Qwen3-8B").kv


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_the_data_type_goes_by_two_names(key):
    assert of_config({"model_type": "llama", **SMALL, key: "float16"}).dtype == "float16"


@pytest.mark.parametrize(
    "said",
    [
        {"model_type": "gemma3", "text_config": {"hidden_size": 2560, "num_hidden_layers": 34, "intermediate_size": 10_240}},
        {"architectures": ["Gemma3ForConditionalGeneration"], "hidden_size": 2560, "num_hidden_layers": 34, "intermediate_size": 10_240},
    ],
    ids=["by the whole model's type", "by the architecture"],
)
def test_a_family_is_known_by_any_of_its_names(said):
    found = of_config(said)
    assert found.known and found.refuses_fp16 and found.heads == 8


def test_a_family_fills_in_what_a_config_leaves_out():
    gemma = facts_of("google/gemma-3-4b-it")  # its text_config says neither heads nor vocabulary
    assert (gemma.heads, gemma.kv_heads, gemma.vocab) == (8, 4, 262_208)
    assert facts_of("google/gemma-3-4b-it").tower.parameters == pytest.approx(4.2e8, rel=0.05)


def mixers(repo):
    return {group.mixer: group.layers for group in facts_of(repo).kv}


@pytest.mark.parametrize(
    ("repo", "kept"),
    [
        ("meta-llama/Llama-2-7b-chat-hf", {Mixer.FULL: 32}),
        ("google/gemma-2-9b-it", {Mixer.FULL: 21, Mixer.SLIDING: 21}),
        ("google/gemma-3-27b-it", {Mixer.FULL: 10, Mixer.SLIDING: 52}),
        ("openai/gpt-oss-20b", {Mixer.FULL: 12, Mixer.SLIDING: 12}),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", {Mixer.FULL: 12, Mixer.CHUNKED: 36}),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", {Mixer.FULL: 32, Mixer.CROSS: 8}),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {Mixer.FULL: 12, Mixer.DELTA: 36}),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", {Mixer.FULL: 4, Mixer.MAMBA: 27}),
        ("deepseek-ai/DeepSeek-V3-0324", {Mixer.MLA: 61}),
        ("BAAI/bge-m3", {}),
        ("openai/whisper-large-v3", {Mixer.FULL: 32, Mixer.CROSS: 32}),
        ("Qwen/Qwen2.5-7B-Instruct", {Mixer.FULL: 28}),  # names a window and does not use it
    ],
)
def test_how_each_layer_mixes_tokens(repo, kept):
    assert mixers(repo) == kept


@pytest.mark.parametrize(
    ("scaling", "limit"),
    [
        ({}, 4096),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 16_384),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 8192),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 2048}}, 8192),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 4096),
        ({"rope_scaling": {"type": "longrope", "factor": 32.0}}, 4096),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096}}}, 8192),
        ({"model_max_length": 131_072}, 131_072),
        ({"seq_length": 2048}, 2048),
    ],
)
def test_the_longest_request_by_every_way_to_say_it(scaling, limit):
    assert of_config({"model_type": "llama", **SMALL, "max_position_embeddings": 4096, **scaling}).context_limit == limit


@pytest.mark.parametrize(
    ("said", "name", "bytes_per_weight"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 1 + 4 / 16_384),
        ({"quant_method": "fp8"}, "fp8", 1.0),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "gptq", 1.0),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 0.51953125),
        ({"quant_method": "mxfp4"}, "mxfp4", 0.53125),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes", 1.0),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 0.5625),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "modelopt", 1.0),
        ({"config_groups": {"a": {"weights": {"num_bits": 8}}}, "quant_method": "compressed-tensors"}, "compressed-tensors", 1.0),
        ({"config_groups": {"a": {"weights": {"num_bits": 4, "group_size": 32}}}, "format": "pack-quantized"}, "compressed-tensors", 0.5625),
        ({"config_groups": {"a": {"weights": {"num_bits": 4}}}, "format": "nvfp4-pack-quantized"}, "nvfp4", 0.5625),
    ],
)
def test_every_way_to_store_weights_in_few_bits(said, name, bytes_per_weight):
    method = of_config({"model_type": "llama", **SMALL, "quantization_config": said}).quantization
    assert (method.name, method.weight_bytes) == (name, bytes_per_weight)


def test_a_quantisation_that_nobody_knows_is_counted_in_full_and_said():
    facts = of_config({"model_type": "llama", **SMALL, "quantization_config": {"quant_method": "tomorrow"}})
    assert facts.stored_bytes == of_config({"model_type": "llama", **SMALL}).stored_bytes
    assert [note.reason for note in facts.notes] == [Reason.UNSUPPORTED_QUANTIZATION]


def test_a_family_that_nobody_knows_is_estimated_with_care_and_the_plan_says_so():
    stranger = of_config({"model_type": "tomorrow", "architectures": ["TomorrowForCausalLM"], **SMALL})
    llama = of_config({"model_type": "llama", **SMALL})
    assert stranger.stored_bytes > llama.stored_bytes and not stranger.known
    found = size.plan(stranger, CLASSES, PlanRequest(accelerators=("h100-80gb",), count=2))
    assert found.fits and found.reason is Reason.UNSUPPORTED_ARCHITECTURE
    assert str(found.warnings[0]).startswith("UnsupportedArchitecture: the model type 'tomorrow' is not known here")


def test_an_architecture_that_nobody_knows_is_said_even_where_its_family_is_known():
    stranger = of_config({"model_type": "llama", "architectures": ["TomorrowForCausalLM"], **SMALL})
    assert stranger.known and [note.reason for note in stranger.notes] == [Reason.UNSUPPORTED_ARCHITECTURE]


def test_a_family_that_nobody_knows_is_not_excused_by_a_known_architecture():
    assert not of_config({"model_type": "tomorrow", "architectures": ["LlamaForCausalLM"], **SMALL}).known


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_no_model_that_exists_is_called_unknown(path):
    assert facts_of(path.stem.replace("--", "/")).notes == ()


def test_a_model_that_tells_nothing_is_judged_by_the_size_of_its_files():
    stranger = of_config({"model_type": "tomorrow"}, Stored(16_000_000_000, Source.INDEX))
    found = size.plan(stranger, CLASSES, PlanRequest(accelerators=("l4",), count=1, max_model_len=32_768))
    assert not found.fits and found.memory.kv_cache_bytes == int(4e-5 * 16_000_000_000 * 32_768)


def test_a_model_of_which_nothing_at_all_is_known_is_refused_in_one_sentence():
    with pytest.raises(UnsupportedArchitecture, match="tells neither hidden_size nor num_hidden_layers"):
        of_config({"architectures": ["TomorrowForCausalLM"]})


def test_files_are_believed_before_arithmetic():
    facts = of_config(config_of("Qwen/Qwen3-8B"), Stored(16_381_470_720, Source.INDEX))
    assert (facts.stored_bytes, facts.loaded_bytes, facts.source) == (16_381_470_720, 16_381_470_720, Source.INDEX)


def test_a_second_copy_of_tied_embeddings_is_stored_and_not_loaded():
    facts = of_config(config_of("Qwen/Qwen3-0.6B"), Stored(1_503_264_768, Source.INDEX, layers=28, has_head=True))
    assert facts.loaded_bytes == 1_503_264_768 - 151_936 * 1024 * 2


def test_layers_that_guess_ahead_are_stored_and_not_loaded():
    config = config_of("deepseek-ai/DeepSeek-V3-0324")
    facts = of_config(config, Stored(688_586_727_753, Source.INDEX, layers=62))
    assert facts.loaded_bytes / 1e9 == pytest.approx(673.2, rel=0.01)
    assert of_config(config, Stored(688_586_727_753, Source.HEADERS, extra_bytes=14_000_000_000)).loaded_bytes == 674_586_727_753


def test_mxfp4_takes_more_once_it_is_loaded():
    facts = of_config(config_of("openai/gpt-oss-120b"), Stored(65_248_815_744, Source.INDEX))
    assert facts.loaded_bytes / 2**30 == pytest.approx(64.4, abs=0.1)


def test_a_checkpoint_in_fp32_is_loaded_in_half():
    facts = of_config(config_of("BAAI/bge-m3"), Stored(2_271_019_008, Source.INDEX))
    assert facts.loaded_bytes == 2_271_019_008 / 2
