"""Mistral's own `params.json`, which some of its repositories hold instead of config.json, as the config.json that it would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dedicated.planner.fields import Fields

_SAME = ("head_dim", "vocab_size", "sliding_window", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "kv_lora_rank", "v_head_dim")
_RENAMED = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
    "vision_encoder": "vision_config",
}
_EXPERTS = {
    "num_experts": "n_routed_experts",
    "expert_hidden_dim": "moe_intermediate_size",
    "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace",
}


def as_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts by the names of config.json (vLLM 0.33 transformers_utils/configs/mistral.py, adapt_config_dict)."""
    said, experts = Fields(params), Fields(params).under("moe")
    latent = said.integer("kv_lora_rank") > 0
    config = {name: params[name] for name in _SAME if name in params}
    config |= {new: params[old] for old, new in _RENAMED.items() if old in params}
    config |= {new: experts.raw()[old] for old, new in _EXPERTS.items() if old in experts}
    limit = said.integer("max_position_embeddings", "max_seq_len")
    stored = said.under("quantization").text("qformat_weight")
    return {
        "model_type": "mistral4" if latent else ("mixtral" if experts.raw() else "mistral"),
        "architectures": ["MistralForCausalLM"],
        **config,
        **({"max_position_embeddings": limit} if limit else {}),
        **({"quantization_config": {"quant_method": "fp8"}} if stored.startswith("fp8") else {}),
    }
