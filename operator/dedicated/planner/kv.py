"""What a request keeps on a device while it is served: keys and values by kind of layer, and the states of layers that have no cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dedicated.planner.families import Family
from dedicated.planner.fields import Fields
from dedicated.planner.layers import Layer, Mixer
from dedicated.planner.parameters import Dimensions, attention_shape, delta_widths, first_mamba_sizes, mamba_widths

BLOCK_TOKENS = 16
"""vLLM's block (v1/kv_cache_interface.py); windows are rounded up to it, with one block more."""
WHISPER_TOKENS = 1500
"""Encoded frames that every request of Whisper attends to (`max_source_positions`)."""
STATE_BYTES = 4
"""Recurrent states are kept in fp32 (`mamba_ssm_cache_dtype` of Nemotron-H; Qwen3-Next's gated delta rule computes in fp32)."""

KV_BYTES = {
    "auto": 2.0,
    "bfloat16": 2.0,
    "bf16": 2.0,
    "float16": 2.0,
    "f16": 2.0,
    "float32": 4.0,
    "f32": 4.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "fp8_inc": 1.0,
    "fp8_ds_mla": 656 / 576,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
    "nvfp4": 0.5 + 1 / 16,
}
"""
Bytes per value by name of the cache's data type. vLLM 0.33 config/cache.py and SGLang's `--kv-cache-dtype`; llama.cpp's block sizes are those of
ggml-common.h. `auto` follows the model's own type, which is 16 bit here, and not its quantisation.
"""


def value_bytes(dtype: str) -> float:
    """Bytes per value of a cache of this data type; 2 where the name is not known."""
    return KV_BYTES.get(dtype, KV_BYTES["auto"])


@dataclass(frozen=True)
class KvGroup:
    """
    Layers that keep alike.

    Args:
        mixer: How they mix.
        layers: How many.
        heads: KV heads that tensor parallelism splits; 0 where each rank holds everything (MLA).
        values: Numbers per token and head, keys and values together; per token where each rank holds everything.
        window: Tokens after which nothing more is kept. (0: no end)
        state_bytes: Per request and layer, whatever its length.
        fixed_tokens: Tokens that are kept from the start (pictures, sound); 0 means those of the text.
    """

    mixer: Mixer
    layers: int
    heads: int
    values: int
    window: int = 0
    state_bytes: int = 0
    fixed_tokens: int = 0

    def request_bytes(self, tokens: int, *, in_flight: int, tp: int, pp: int, value_bytes: float) -> float:
        """
        Bytes on one rank for one request.

        Args:
            tokens: Length of the request. (tokens)
            in_flight: Tokens that one step computes, which a window keeps besides its own. (tokens)
            tp: Heads are split by it, and copied where there are fewer heads than ranks.
            pp: Layers are split by it, rounded up.
        """
        layers = -(-self.layers // pp)
        if self.state_bytes:
            return layers * self.state_bytes / tp
        local = -(-self.heads // tp) if self.heads else 1
        return layers * local * self.values * value_bytes * self._kept(tokens, in_flight)

    def _kept(self, tokens: int, in_flight: int) -> int:
        if self.fixed_tokens:
            return self.fixed_tokens
        if not self.window:
            return tokens
        return min(tokens, -(-(self.window - 1 + in_flight) // BLOCK_TOKENS) * BLOCK_TOKENS + BLOCK_TOKENS)


def groups_of(layers: tuple[Layer, ...], config: Fields, family: Family, size: Dimensions, cross_tokens: int = 0) -> tuple[KvGroup, ...]:
    """What the layers keep, alike ones together. (cross_tokens: of one picture, where layers look at it)"""
    if family.encoder:
        return ()
    counted = Counter((layer.mixer, attention_shape(layer, config, size)) for layer in layers if not layer.shares_kv)
    groups = [_group(mixer, count, shape, config, cross_tokens, size.hidden) for (mixer, shape), count in counted.items() if mixer is not Mixer.NONE]
    return (*groups, *_besides(layers, config, size))


_STATES = (Mixer.DELTA, Mixer.MAMBA, Mixer.CONVOLUTION)


def _group(mixer: Mixer, layers: int, shape: tuple[int, int], config: Fields, cross_tokens: int, hidden: int) -> KvGroup:
    head_dim, heads = shape
    if mixer is Mixer.MLA:
        return KvGroup(mixer, layers, 0, config.integer("kv_lora_rank") + config.integer("qk_rope_head_dim"))
    if mixer in _STATES:
        return KvGroup(mixer, layers, 0, 0, state_bytes=_state_bytes(mixer, config, hidden))
    window = {Mixer.SLIDING: config.integer("sliding_window"), Mixer.CHUNKED: config.integer("attention_chunk_size")}.get(mixer, 0)
    return KvGroup(mixer, layers, heads, 2 * head_dim, window=window, fixed_tokens=cross_tokens if mixer is Mixer.CROSS else 0)


def _state_bytes(mixer: Mixer, config: Fields, hidden: int) -> int:
    """Convolution's last inputs in 16 bit, and the recurrent state."""
    if mixer is Mixer.CONVOLUTION:
        return hidden * config.integer("conv_L_cache", default=3) * 2
    if mixer is Mixer.DELTA:
        keys, values = delta_widths(config)
        convolved = (2 * keys + values) * (config.integer("linear_conv_kernel_dim", default=4) - 1)
        state = config.integer("linear_num_value_heads") * config.integer("linear_key_head_dim") * config.integer("linear_value_head_dim")
    else:
        inner, width = mamba_widths(config)
        state_size = config.integer("ssm_state_size", "mamba_d_state")
        if not inner:
            inner, state_size = first_mamba_sizes(config, hidden)
            width = inner
        convolved = width * (config.integer("conv_kernel", "mamba_d_conv", default=4) - 1)
        state = inner * state_size
    return convolved * 2 + state * STATE_BYTES


def _besides(layers: tuple[Layer, ...], config: Fields, size: Dimensions) -> list[KvGroup]:
    """Keys of DeepSeek's sparse attention; what Whisper's decoder attends to."""
    found = []
    if index := config.integer("index_head_dim"):
        found.append(KvGroup(Mixer.MLA, len(layers), 0, index))
    if config.integer("encoder_layers"):
        frames = config.integer("max_source_positions", default=WHISPER_TOKENS)
        found.append(KvGroup(Mixer.CROSS, len(layers), size.kv_heads, 2 * size.head_dim, fixed_tokens=frames))
    return found
