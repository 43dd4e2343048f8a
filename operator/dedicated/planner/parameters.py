"""
How many weights a model has, by arithmetic on its config.json: each linear layer's rows times columns.

Vectors (norms, biases, routers' corrections) are left out: they are less than a thousandth. What each layer is made of is the modelling code of
transformers 5.23, by family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dedicated.planner.families import Family
from dedicated.planner.fields import Fields
from dedicated.planner.layers import Feed, Layer, Mixer, experts_of

Parts = list[tuple[str, int]]
"""Names of linear layers as checkpoints have them, with their weights."""


@dataclass(frozen=True)
class Dimensions:
    """The sizes that recur."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    intermediate: int
    gated: bool

    @property
    def feed_factor(self) -> int:
        """Matrices of a feed-forward block."""
        return 3 if self.gated else 2


def dimensions_of(config: Fields, family: Family) -> Dimensions:
    """Sizes of the language model, 0 where the config does not say."""
    hidden = config.integer("hidden_size", "n_embd", "n_embed", "d_model", "dim")
    heads = config.integer("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads")
    return Dimensions(
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(config, heads),
        head_dim=config.integer("head_dim", "attention_head_dim", "kv_channels", default=hidden // heads if heads else 0),
        vocab=config.integer("vocab_size", "padded_vocab_size"),
        intermediate=_intermediate(config, hidden),
        gated=family.gated,
    )


def _kv_heads(config: Fields, heads: int) -> int:
    """Falcon and GPT-BigCode say it in words; the others in a number, and where none is given, each head has its own."""
    if "new_decoder_architecture" in config or "multi_query" in config:
        if config.flag("new_decoder_architecture"):
            return config.integer("num_kv_heads", "n_head_kv", default=heads)
        return 1 if config.flag("multi_query") else heads
    grouped = config.under("attn_config").integer("kv_n_heads", default=heads)  # MPT, DBRX
    return config.integer("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", default=grouped)


def _intermediate(config: Fields, hidden: int) -> int:
    """Width of a dense block; Llama 4 keeps `intermediate_size` for its experts."""
    names = ("intermediate_size_mlp", "intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner")
    width = config.integer(*names, default=int(hidden * config.number("expansion_ratio", default=4.0)))
    if not config.flag("block_auto_adjust_ff_dim"):
        return width
    step = max(config.integer("block_multiple_of", default=256), 1)  # LFM2
    return -(-int(2 * width / 3 * config.number("block_ffn_dim_multiplier", default=1.0)) // step) * step


def expert_width(config: Fields) -> int:
    """Width of one routed expert."""
    if config.flag("expert_width_is_intermediate"):
        return config.integer("intermediate_size")
    inner = config.under("ffn_config").integer("ffn_hidden_size")  # DBRX
    return config.integer("moe_intermediate_size", "expert_hidden_dim", "intermediate_size", default=inner)


def parts_of(layer: Layer, config: Fields, size: Dimensions) -> Parts:
    """The linear layers of one layer."""
    return _MIXERS[layer.mixer](layer, config, size) + _FEEDS[layer.feed](layer, config, size)


def _attention(layer: Layer, config: Fields, size: Dimensions) -> Parts:
    head_dim, kv_heads = attention_shape(layer, config, size)
    queries, keys = size.heads * head_dim, 0 if layer.shares_kv else kv_heads * head_dim
    value = 0 if _value_is_key(layer, config) else keys
    gate = 2 if config.flag("gated_attention") or config.flag("attn_output_gate") else 1
    return [
        ("self_attn.q_proj", size.hidden * queries * gate),
        ("self_attn.k_proj", size.hidden * keys),
        ("self_attn.v_proj", size.hidden * value),
        ("self_attn.o_proj", queries * size.hidden),
    ]


def _value_is_key(layer: Layer, config: Fields) -> bool:
    return layer.mixer is Mixer.FULL and config.flag("attention_k_eq_v")


def attention_shape(layer: Layer, config: Fields, size: Dimensions) -> tuple[int, int]:
    """Head dimension and KV heads of one layer: Gemma 4's full layers have others than its sliding ones."""
    if layer.mixer is Mixer.FULL and "global_head_dim" in config:
        heads = config.integer("num_global_key_value_heads", default=size.kv_heads) if config.flag("attention_k_eq_v") else size.kv_heads
        return config.integer("global_head_dim"), heads
    return size.head_dim, size.kv_heads


def _mla(_layer: Layer, config: Fields, size: Dimensions) -> Parts:
    latent, rope = config.integer("kv_lora_rank"), config.integer("qk_rope_head_dim")
    nope, value, query_rank = config.integer("qk_nope_head_dim"), config.integer("v_head_dim"), config.integer("q_lora_rank")
    queries = size.heads * (nope + rope)
    parts = [
        ("self_attn.kv_a_proj_with_mqa", size.hidden * (latent + rope)),
        ("self_attn.kv_b_proj", latent * size.heads * (nope + value)),
        ("self_attn.o_proj", size.heads * value * size.hidden),
    ]
    if query_rank:
        parts += [("self_attn.q_a_proj", size.hidden * query_rank), ("self_attn.q_b_proj", query_rank * queries)]
    else:
        parts.append(("self_attn.q_proj", size.hidden * queries))
    return parts + _indexer(config, size, query_rank)


def _indexer(config: Fields, size: Dimensions, query_rank: int) -> Parts:
    """DeepSeek sparse attention picks tokens with heads of its own."""
    heads, head_dim = config.integer("index_n_heads"), config.integer("index_head_dim")
    return [("self_attn.indexer", query_rank * heads * head_dim + size.hidden * (head_dim + heads))] if heads else []


def _delta(_layer: Layer, config: Fields, size: Dimensions) -> Parts:
    """Gated delta net (Qwen3-Next, Qwen3.5)."""
    keys, values = delta_widths(config)
    inner = size.hidden * (2 * keys + 2 * values) + size.hidden * 2 * config.integer("linear_num_value_heads")
    convolution = (2 * keys + values) * config.integer("linear_conv_kernel_dim", default=4)
    return [("linear_attn.in_proj", inner), ("linear_attn.conv1d", convolution), ("linear_attn.out_proj", values * size.hidden)]


def delta_widths(config: Fields) -> tuple[int, int]:
    """Width of the keys and of the values of a gated delta net."""
    keys = config.integer("linear_num_key_heads") * config.integer("linear_key_head_dim")
    return keys, config.integer("linear_num_value_heads") * config.integer("linear_value_head_dim")


def _convolution(_layer: Layer, config: Fields, size: Dimensions) -> Parts:
    """A short gated convolution (LFM2)."""
    kernel = config.integer("conv_L_cache", default=3)
    return [("conv.in_proj", 3 * size.hidden * size.hidden), ("conv.out_proj", size.hidden * size.hidden), ("conv.conv", size.hidden * kernel)]


def _mamba(_layer: Layer, config: Fields, size: Dimensions) -> Parts:
    """Mamba 2 (Nemotron-H, Granite 4, Bamba), or the first Mamba (Jamba), which has no heads."""
    inner, convolved = mamba_widths(config)
    if not inner:
        return _first_mamba(config, size)
    heads = config.integer("mamba_num_heads", "mamba_n_heads")
    parts = [("mixer.in_proj", size.hidden * (inner + convolved + heads)), ("mixer.out_proj", inner * size.hidden)]
    return [*parts, ("mixer.conv1d", convolved * config.integer("conv_kernel", "mamba_d_conv", default=4))]


def _first_mamba(config: Fields, size: Dimensions) -> Parts:
    inner, state = first_mamba_sizes(config, size.hidden)
    rank = config.integer("mamba_dt_rank", "time_step_rank", default=size.hidden // 16)
    parts = [("mamba.in_proj", size.hidden * 2 * inner), ("mamba.x_proj", inner * (rank + 2 * state)), ("mamba.dt_proj", rank * inner)]
    return [*parts, ("mamba.out_proj", inner * size.hidden)]


def first_mamba_sizes(config: Fields, hidden: int) -> tuple[int, int]:
    """Inner width and state of a Mamba mixer without heads."""
    return hidden * config.integer("mamba_expand", "expand", default=2), config.integer("mamba_d_state", "state_size", default=16)


def mamba_widths(config: Fields) -> tuple[int, int]:
    """Inner width of a Mamba 2 mixer, and how much of it is convolved."""
    inner = config.integer("mamba_num_heads", "mamba_n_heads") * config.integer("mamba_head_dim", "mamba_d_head")
    groups, state = config.integer("n_groups", "mamba_n_groups"), config.integer("ssm_state_size", "mamba_d_state")
    return inner, inner + 2 * groups * state


def _dense(layer: Layer, config: Fields, size: Dimensions) -> Parts:
    width = size.intermediate * (2 if layer.shares_kv and config.flag("use_double_wide_mlp") else 1)
    names = ("gate_proj", "up_proj", "down_proj") if size.gated else ("up_proj", "down_proj")
    return [(f"mlp.{name}", size.hidden * width) for name in names]


def _experts(_layer: Layer, config: Fields, size: Dimensions) -> Parts:
    count, inner = experts_of(config), config.integer("moe_latent_size", default=size.hidden)
    parts = [("mlp.experts.0.down_proj", count * size.feed_factor * inner * expert_width(config)), ("mlp.gate", size.hidden * count)]
    if inner != size.hidden:
        parts.append(("mlp.latent_proj", 2 * size.hidden * inner))
    shared = shared_width(config, size)
    return [*parts, ("mlp.shared_experts.down_proj", size.feed_factor * size.hidden * shared)] if shared else parts


def shared_width(config: Fields, size: Dimensions) -> int:
    """Width of the experts that every token passes, all together."""
    named = config.integer("shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size")
    count = config.integer("n_shared_experts", "num_shared_experts")
    return named * max(count, 1) if named else count * expert_width(config)


def _nothing(_layer: Layer, _config: Fields, _size: Dimensions) -> Parts:
    return []


_Rule = Callable[[Layer, Fields, Dimensions], Parts]
_MIXERS: dict[Mixer, _Rule] = {
    Mixer.FULL: _attention,
    Mixer.SLIDING: _attention,
    Mixer.CHUNKED: _attention,
    Mixer.CROSS: _attention,
    Mixer.MLA: _mla,
    Mixer.DELTA: _delta,
    Mixer.MAMBA: _mamba,
    Mixer.CONVOLUTION: _convolution,
    Mixer.NONE: _nothing,
}
_FEEDS: dict[Feed, _Rule] = {Feed.DENSE: _dense, Feed.EXPERTS: _experts, Feed.NONE: _nothing}


def per_layer_inputs(config: Fields, size: Dimensions, layers: int) -> tuple[int, int]:
    """Gemma 3n's and 4's embeddings of their own for each layer: weights in the table, and in the projections of all layers."""
    width = config.integer("hidden_size_per_layer_input")
    if not width:
        return 0, 0
    table = config.integer("vocab_size_per_layer_input", default=size.vocab) * layers * width
    return table, layers * 2 * size.hidden * width + size.hidden * layers * width


def position_table(config: Fields, size: Dimensions, family: Family) -> int:
    """Weights of learned positions (OPT, GPT-2, BERT) and of token types."""
    learned = family.encoder or "word_embed_proj_dim" in config or "n_positions" in config
    positions = config.integer("max_position_embeddings", "n_positions") if learned else 0
    return (positions + config.integer("type_vocab_size")) * size.hidden
