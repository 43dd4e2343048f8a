"""
What each family of models leaves unsaid in its config.json: defaults, tied embeddings, kinds of layers.

Names and defaults are those of the configuration classes in transformers 5.23 (`src/transformers/models/<family>/configuration_<family>.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """
    One family.

    Args:
        tied: Whether output and input embeddings are one, where the config does not say.
        gated: Whether the feed-forward part has a gate beside up and down.
        every_layer_slides: Whether `sliding_window` alone makes all layers sliding.
        slides_but_each: One layer in so many attends to everything, where the config lists no kinds of layers. (0: none slides)
        refuses_fp16: vLLM 0.33 config/model.py `_FLOAT16_NOT_SUPPORTED_MODELS`.
        encoder: Whether it embeds or ranks, with neither output head nor KV cache.
    """

    tied: bool = False
    gated: bool = True
    every_layer_slides: bool = False
    slides_but_each: int = 0
    refuses_fp16: bool = False
    encoder: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


_PLAIN = Family()
_SLIDING = Family(every_layer_slides=True)
_GEMMA3 = {
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 131_072,
}
_GEMMA2 = {"head_dim": 256, "sliding_window": 4096, "vocab_size": 256_000, "max_position_embeddings": 8192}
_GEMMA4 = {
    **_GEMMA3,
    "vocab_size": 262_144,
    "sliding_window": 512,
    "num_hidden_layers": 30,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 262_144,
    "global_head_dim": 512,
}
_GEMMA3N = {
    **_GEMMA3,
    "vocab_size": 262_400,
    "hidden_size": 2048,
    "num_hidden_layers": 35,
    "num_key_value_heads": 2,
    "intermediate_size": 16_384,
    "sliding_window": 512,
    "num_kv_shared_layers": 15,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 262_144,
}
_QWEN35 = {
    "vocab_size": 248_320,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "full_attention_interval": 4,
    "gated_attention": True,
}
_DEEPSEEK = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512}
_NEMOTRON_H = {
    "head_dim": 128,
    "ssm_state_size": 128,
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "n_groups": 8,
    "conv_kernel": 4,
    "vocab_size": 131_072,
}
_LLAMA4 = {
    "vocab_size": 202_048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16_384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_local_experts": 16,
    "interleave_moe_layer_step": 1,
    "attention_chunk_size": 8192,
    "no_rope_layer_interval": 4,
    "n_shared_experts": 1,
}
_ENCODER = Family(gated=False, encoder=True, tied=True, defaults={"type_vocab_size": 2})

FAMILIES: dict[str, Family] = {
    "llama": _PLAIN,
    "mistral": Family(every_layer_slides=True, defaults={"num_key_value_heads": 8, "max_position_embeddings": 131_072}),
    "ministral": _SLIDING,
    "ministral3": Family(defaults={"head_dim": 128, "num_key_value_heads": 8, "vocab_size": 131_072}),
    "mixtral": Family(every_layer_slides=True, defaults={"num_local_experts": 8, "num_key_value_heads": 8}),
    "qwen2": _PLAIN,
    "qwen2_moe": _PLAIN,
    "qwen2_vl_text": _PLAIN,
    "qwen2_5_vl_text": _PLAIN,
    "qwen2_vl": _PLAIN,
    "qwen2_5_vl": _PLAIN,
    "qwen3": Family(defaults={"head_dim": 128}),
    "qwen3_moe": Family(defaults={"head_dim": 128}),
    "qwen3_vl_text": Family(defaults={"head_dim": 128}),
    "qwen3_vl_moe_text": Family(defaults={"head_dim": 128}),
    "qwen3_next": Family(defaults={**_QWEN35, "vocab_size": 151_936}),
    "qwen3_5_text": Family(defaults=_QWEN35),
    "qwen3_5_moe_text": Family(defaults=_QWEN35),
    "gemma": Family(tied=True, refuses_fp16=True, defaults={"head_dim": 256, "vocab_size": 256_000}),
    "gemma2": Family(tied=True, refuses_fp16=True, slides_but_each=2, defaults=_GEMMA2),
    "gemma3_text": Family(tied=True, refuses_fp16=True, slides_but_each=6, defaults=_GEMMA3),
    "gemma4_text": Family(tied=True, refuses_fp16=True, slides_but_each=6, defaults=_GEMMA4),
    "phi": Family(gated=False),
    "phi3": _SLIDING,
    "phimoe": Family(defaults={"num_local_experts": 16, "vocab_size": 32_064}),
    "deepseek": _PLAIN,
    "deepseek_v2": Family(defaults=_DEEPSEEK),
    "deepseek_v3": Family(defaults={**_DEEPSEEK, "q_lora_rank": 1536, "first_k_dense_replace": 3}),
    "deepseek_v32": Family(defaults={**_DEEPSEEK, "q_lora_rank": 1536, "first_k_dense_replace": 3}),
    "kimi_k2": Family(defaults={**_DEEPSEEK, "q_lora_rank": 1536}),
    "glm_moe_dsa": Family(defaults={**_DEEPSEEK, "qk_nope_head_dim": 192, "v_head_dim": 256, "q_lora_rank": 2048, "first_k_dense_replace": 3}),
    "mistral4": Family(defaults=_DEEPSEEK),
    "mistral_large4": Family(defaults=_DEEPSEEK),
    "gpt_oss": Family(slides_but_each=2, defaults={"head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128, "vocab_size": 201_088}),
    "falcon": Family(gated=False, tied=True, defaults={"multi_query": True, "max_position_embeddings": 2048, "vocab_size": 65_024}),
    "starcoder2": Family(gated=False, tied=True, every_layer_slides=True),
    "gpt_bigcode": Family(gated=False, tied=True),
    "gpt2": Family(gated=False, tied=True),
    "gpt_neox": Family(gated=False),
    "stablelm": _PLAIN,
    "cohere": Family(tied=True),
    "cohere2": Family(tied=True, slides_but_each=4),
    "opt": Family(gated=False, tied=True),
    "granite": Family(),
    "granitemoe": _PLAIN,
    "olmo": _PLAIN,
    "olmo2": _PLAIN,
    "olmoe": _PLAIN,
    "glm": Family(refuses_fp16=True),
    "glm4": Family(refuses_fp16=True),
    "glm4_moe": _PLAIN,
    "gemma3n_text": Family(tied=True, refuses_fp16=True, slides_but_each=5, defaults=_GEMMA3N),
    "exaone": _PLAIN,
    "baichuan": _PLAIN,
    "chatglm": _PLAIN,
    "bloom": Family(gated=False, tied=True),
    "mpt": Family(gated=False, tied=True),
    "gptj": Family(gated=False),
    "dbrx": _PLAIN,
    "jamba": _PLAIN,
    "bamba": _PLAIN,
    "granitemoehybrid": _PLAIN,
    "granitemoeshared": _PLAIN,
    "lfm2": Family(tied=True),
    "phi4mm": _SLIDING,
    "qwen2_audio": _PLAIN,
    "hunyuan_v1_dense": _PLAIN,
    "ernie4_5": _PLAIN,
    "glm4v_text": _PLAIN,
    "glm4v_moe_text": _PLAIN,
    "internlm2": _PLAIN,
    "internlm3": _PLAIN,
    "exaone4": _PLAIN,
    "smollm3": Family(tied=True),
    "seed_oss": _PLAIN,
    "minimax_m2": Family(defaults={"head_dim": 128, "vocab_size": 200_064, "expert_width_is_intermediate": True}),
    "nemotron": Family(gated=False),
    "nemotron_h": Family(gated=False, defaults=_NEMOTRON_H),
    "llama4_text": Family(defaults=_LLAMA4),
    "mllama_text_model": Family(defaults={"vocab_size": 128_256, "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38]}),
    "whisper": Family(gated=False, tied=True),
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
}
"""By `model_type` of the language model. What is not here is estimated, and the plan says so."""

UNKNOWN = Family()
_ALIASES = {"mllama": "mllama_text_model", "mistral3": "mistral", "llava": "llama", "phi4_multimodal": "phi4mm"}
_TASK = re.compile(r"(For|LMHead|Model).*$")


def family_of(*names: str) -> Family | None:
    """The family that the first of these names means: a `model_type` of the language model, or of the whole."""
    spelled = (known for name in names if name for known in (name, f"{name}_text", _ALIASES.get(name, "")))
    return next((FAMILIES[known] for known in spelled if known in FAMILIES), None)


def _bare(name: str) -> str:
    return name.removesuffix("_model").removesuffix("_text").replace("_", "").replace("-", "").lower()


_BY_ARCHITECTURE = {_bare(name): name for name in (*_ALIASES, *FAMILIES)}
_BY_ARCHITECTURE |= {"rw": "falcon", "mistrallarge3": "mistral_large4", "stablelmepoch": "stablelm", "hunyuandensev1": "hunyuan_v1_dense"}


def model_type_of(architecture: str) -> str:
    """The `model_type` behind an architecture such as Qwen3MoeForCausalLM; empty where none is known."""
    return _BY_ARCHITECTURE.get(_bare(_TASK.sub("", architecture)), "")
