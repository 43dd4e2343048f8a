"""The longest request that a model was made for."""

from __future__ import annotations

from dedicated.planner.fields import Fields

_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length", "max_seq_length", "max_target_positions")
"""Names under which configs say it; the smallest counts, but for `model_max_length`, which goes before (vLLM 0.33 config/model.py)."""
_ALREADY_COUNTED = ("su", "longrope", "llama3", "default", "mrope", "proportional")
"""Rope types whose `max_position_embeddings` holds the scaled length already (the same file)."""


def limit(config: Fields, family: str) -> int:
    """Tokens of the longest request; 0 where the config does not say."""
    said = config.integer("model_max_length") or min((value for key in _KEYS if (value := config.integer(key)) > 0), default=0)
    if family.startswith(("gemma3", "gemma4")):
        return said
    return int(_scaled(said, config))


def _scaled(said: int, config: Fields) -> float:
    rope = config.under("rope_scaling", "rope_parameters")
    scalings = [rope, *rope.objects()]
    return max((_by(scaling, said) for scaling in scalings), default=float(said))


def _by(scaling: Fields, said: int) -> float:
    kind = scaling.text("rope_type", "type", default="default")
    factor = scaling.number("factor")
    if kind in _ALREADY_COUNTED or factor <= 1:
        return float(said)
    if kind == "yarn":
        return max(float(said), scaling.integer("original_max_position_embeddings", default=said) * factor)
    return said * factor
