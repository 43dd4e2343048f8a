"""How many bytes a model's weights take, from its config.json alone: what is quantised at its own rate, the rest at the checkpoint's data type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dedicated.planner.families import Family
from dedicated.planner.fields import Fields
from dedicated.planner.layers import Feed, Layer, Mixer
from dedicated.planner.parameters import Dimensions, parts_of, per_layer_inputs, position_table
from dedicated.planner.quantization import Kept, Quantization, bytes_of_dtype

LOADED_PLAIN_BYTES = 2.0
"""Engines load what is not quantised in 16 bit: vLLM 0.33 turns fp32 into bf16 unless told otherwise."""
_NEVER_QUANTISED = ("mlp.gate", "linear_attn.conv1d", "mixer.conv1d", "self_attn.indexer")


@dataclass(frozen=True)
class Counted:
    """
    Weights by arithmetic.

    Args:
        stored_bytes: As the files would hold them, with layers that guess ahead.
        loaded_bytes: As an engine holds them.
        ahead_bytes: Of the stored, the layers that guess ahead.
        head_bytes: Of the output head, or of its copy where it is tied.
        loaded_factor: Loaded over stored, for what the files hold.
    """

    parameters: int
    stored_bytes: float
    loaded_bytes: float
    embedding_bytes: float
    head_bytes: float
    ahead_bytes: float
    tied: bool
    loaded_factor: float


def count(layers: tuple[Layer, ...], config: Fields, family: Family, size: Dimensions, quantization: Quantization | None, *, outside: int) -> Counted:
    """Weights of a model whose layers are known. (outside: weights of towers that see and hear)"""
    quantised, plain = _layer_weights(layers, config, size, quantization)
    tied = config.flag("tie_word_embeddings", default=family.tied)
    embedding = size.vocab * size.hidden
    head = 0 if tied else embedding
    table, inputs = per_layer_inputs(config, size, len(layers))
    rest = plain + embedding + head + outside + position_table(config, size, family) + table + inputs + _whisper(config, size)
    width = bytes_of_dtype(config.text("dtype", "torch_dtype", default="bfloat16"))
    rate = quantization.weight_bytes if quantization else width
    factor = quantization.loaded_factor if quantization else 1.0
    ahead = _ahead(layers, config, size, quantization, width)
    return Counted(
        parameters=quantised + rest,
        stored_bytes=quantised * rate + rest * width + ahead,
        loaded_bytes=(quantised * (rate if quantization else LOADED_PLAIN_BYTES) + rest * LOADED_PLAIN_BYTES) * factor,
        embedding_bytes=embedding * LOADED_PLAIN_BYTES,
        head_bytes=embedding * width,
        ahead_bytes=ahead,
        tied=tied,
        loaded_factor=factor,
    )


def _layer_weights(layers: tuple[Layer, ...], config: Fields, size: Dimensions, quantization: Quantization | None) -> tuple[int, int]:
    """Weights of all layers: those that are quantised, and the others. Alike layers are counted once, unless some are kept by their number."""
    kept = Kept(quantization.kept if quantization else ())
    if not kept.by_layer:
        return _summed([(layer, number, "model.layers.N.") for layer, number in Counter(layers).items()], config, size, quantization, kept)
    return _summed([(layer, 1, f"model.layers.{index}.") for index, layer in enumerate(layers)], config, size, quantization, kept)


def _summed(layers: list[tuple[Layer, int, str]], config: Fields, size: Dimensions, quantization: Quantization | None, kept: Kept) -> tuple[int, int]:
    parts = {layer: parts_of(layer, config, size) for layer in {layer for layer, _, _ in layers}}
    quantised = plain = 0
    for layer, number, prefix in layers:
        for name, weights in parts[layer]:
            if quantization and _is_quantised(name, prefix, quantization, kept):
                quantised += weights * number
            else:
                plain += weights * number
    return quantised, plain


def _is_quantised(name: str, prefix: str, quantization: Quantization, kept: Kept) -> bool:
    if name in _NEVER_QUANTISED or (quantization.only_experts and ".experts." not in name):
        return False
    return not kept(prefix + name)


def _ahead(layers: tuple[Layer, ...], config: Fields, size: Dimensions, quantization: Quantization | None, width: float) -> float:
    """Bytes of the layers that guess ahead (multi-token prediction): like the last one, with embeddings, head and a projection of their own."""
    number = config.integer("num_nextn_predict_layers", "mtp_num_hidden_layers")
    full = next((layer for layer in reversed(layers) if layer.mixer in (Mixer.FULL, Mixer.MLA) and layer.feed is not Feed.NONE), None)
    if not number or full is None:
        return 0.0
    shares = "mtp_num_hidden_layers" in config
    prefix = "mtp.layers.0." if shares else f"model.layers.{len(layers)}."
    quantised, plain = _summed([(full, number, prefix)], config, size, quantization, Kept(quantization.kept if quantization else ()))
    own = 0 if shares else 2 * size.vocab * size.hidden
    return quantised * (quantization.weight_bytes if quantization else width) + (plain + number * (own + 2 * size.hidden * size.hidden)) * width


def _whisper(config: Fields, size: Dimensions) -> int:
    """Whisper's encoder, the cross attention of its decoder, and positions."""
    layers = config.integer("encoder_layers")
    if not layers:
        return 0
    block = 4 * size.hidden * size.hidden
    encoder = layers * (block + 2 * size.hidden * config.integer("encoder_ffn_dim", default=4 * size.hidden))
    convolutions = 3 * size.hidden * (config.integer("num_mel_bins", default=80) + size.hidden)
    positions = (config.integer("max_source_positions") + config.integer("max_target_positions")) * size.hidden
    return encoder + config.integer("decoder_layers") * block + convolutions + positions
