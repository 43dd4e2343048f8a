"""What each layer of a language model is: how it mixes tokens, and what feeds forward after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dedicated.api.errors import UnsupportedArchitecture
from dedicated.planner.families import Family
from dedicated.planner.fields import Fields

MOST_LAYERS = 4096
"""Deeper than any model (the deepest have less than 200): a count beyond is damage, and would cost time for nothing."""


class Mixer(StrEnum):
    """How a layer mixes tokens; decides what it keeps for each."""

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    MLA = "mla"
    DELTA = "gated-delta"
    MAMBA = "mamba"
    CONVOLUTION = "convolution"
    CROSS = "cross"
    NONE = "none"


class Feed(StrEnum):
    """What follows: one feed-forward block, a mixture of experts, or nothing."""

    DENSE = "dense"
    EXPERTS = "experts"
    NONE = "none"


@dataclass(frozen=True)
class Layer:
    """One layer. `shares_kv`: it reads an earlier layer's keys and values instead of keeping its own (Gemma 3n, Gemma 4)."""

    mixer: Mixer
    feed: Feed
    shares_kv: bool = False


_NAMED = {
    "full_attention": Mixer.FULL,
    "attention": Mixer.FULL,
    "sliding_attention": Mixer.SLIDING,
    "chunked_attention": Mixer.CHUNKED,
    "linear_attention": Mixer.DELTA,
    "mamba": Mixer.MAMBA,
    "mamba2": Mixer.MAMBA,
    "hybrid": Mixer.FULL,
    "conv": Mixer.CONVOLUTION,
    "mlp": Mixer.NONE,
    "moe": Mixer.NONE,
}
_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
"""Nemotron-H's `hybrid_override_pattern` (its configuration class)."""
_ALONE = {"mamba": Feed.NONE, "attention": Feed.NONE, "mlp": Feed.DENSE, "moe": Feed.EXPERTS}
"""In Nemotron-H a layer either mixes or feeds forward."""


def layers_of(config: Fields, family: Family) -> tuple[Layer, ...]:
    """Every layer, from first to last."""
    blocks = config.texts("layers_block_type") or [_LETTERS.get(letter, "attention") for letter in config.text("hybrid_override_pattern")]
    if blocks:
        return tuple(Layer(_NAMED.get(block, Mixer.FULL), _ALONE.get(block, Feed.DENSE)) for block in blocks)
    count = layer_count(config)
    mixers, feeds = _mixers(config, family, count), _feeds(config, count)
    shared_from = count - config.integer("num_kv_shared_layers")
    return tuple(Layer(mixer, feed, index >= shared_from) for index, (mixer, feed) in enumerate(zip(mixers, feeds, strict=True)))


def layer_count(config: Fields) -> int:
    """
    Layers of the decoder, as the config counts them; encoders of sound and pictures are counted elsewhere.

    Raises:
        UnsupportedArchitecture: There are more than any model has.
    """
    count = config.integer("decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    if count > MOST_LAYERS:
        raise UnsupportedArchitecture(f"config.json counts {count} layers, and no model has more than {MOST_LAYERS}; correct it")
    return count


def _mixers(config: Fields, family: Family, count: int) -> list[Mixer]:
    if config.integer("kv_lora_rank"):
        return [Mixer.MLA] * count
    named = config.texts("layer_types")
    if len(named) == count:
        return [_slides(_NAMED.get(name, Mixer.FULL), config) for name in named]
    return [_mixer(config, family, index) for index in range(count)]


def _slides(mixer: Mixer, config: Fields) -> Mixer:
    """A sliding layer without a window is a full one."""
    return Mixer.FULL if mixer is Mixer.SLIDING and not config.integer("sliding_window") else mixer


def _mixer(config: Fields, family: Family, index: int) -> Mixer:
    if "attention_chunk_size" in config and config.integer("attention_chunk_size"):
        return Mixer.FULL if _attends_without_rope(config, index) else Mixer.CHUNKED
    if "attn_layer_period" in config or "attn_layer_indices" in config:
        return Mixer.FULL if _attends_among_mambas(config, index) else Mixer.MAMBA
    if interval := config.integer("full_attention_interval"):
        return Mixer.FULL if (index + 1) % interval == 0 else Mixer.DELTA
    if index in config.numbers("cross_attention_layers"):
        return Mixer.CROSS
    if config.integer("sliding_window"):
        return _sliding(config, family, index)
    return Mixer.FULL


def _attends_among_mambas(config: Fields, index: int) -> bool:
    """Jamba says it by a period, Bamba by a list."""
    period = config.integer("attn_layer_period")
    return index in config.numbers("attn_layer_indices") or bool(period and index % period == config.integer("attn_layer_offset"))


def _attends_without_rope(config: Fields, index: int) -> bool:
    """Llama 4 keeps to chunks in layers with rotary embeddings; a zero in `no_rope_layers` is a layer without."""
    listed = config.numbers("no_rope_layers")
    return listed[index] == 0 if index < len(listed) else (index + 1) % max(config.integer("no_rope_layer_interval", default=4), 1) == 0


def _sliding(config: Fields, family: Family, index: int) -> Mixer:
    each = config.integer("sliding_window_pattern", "_sliding_window_pattern", default=family.slides_but_each)
    if family.slides_but_each == 0:
        return Mixer.SLIDING if family.every_layer_slides else Mixer.FULL
    return Mixer.FULL if (index + 1) % max(each, 1) == 0 else Mixer.SLIDING


def experts_of(config: Fields) -> int:
    """Routed experts of a layer that has them."""
    inner = config.under("ffn_config").integer("moe_num_experts")  # DBRX
    return config.integer("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=inner)


def _feeds(config: Fields, count: int) -> list[Feed]:
    if not experts_of(config):
        return [Feed.DENSE] * count
    named = config.texts("mlp_layer_types")
    if len(named) == count:
        return [Feed.DENSE if name == "dense" else Feed.EXPERTS for name in named]
    has_experts = _expert_rule(config)
    return [Feed.EXPERTS if has_experts(index) else Feed.DENSE for index in range(count)]


def _expert_rule(config: Fields) -> Callable[[int], bool]:
    """Which layers have experts, as DeepSeek, Qwen and Llama 4 say it."""
    listed = set(config.numbers("moe_layers"))
    dense = set(config.numbers("mlp_only_layers"))
    first = config.integer("first_k_dense_replace")
    step = config.integer("moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step", default=1)
    counted_from_one = "moe_layer_freq" not in config
    if period := config.integer("expert_layer_period"):
        return lambda index: index % period == config.integer("expert_layer_offset")
    if listed:
        return lambda index: index in listed
    return lambda index: index >= first and index not in dense and (index + counted_from_one) % max(step, 1) == 0
