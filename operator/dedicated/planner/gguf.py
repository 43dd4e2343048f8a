"""Facts of a model in GGUF form, from the key-value pairs at the head of its file (github.com/ggml-org/ggml docs/gguf.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dedicated.api.errors import UnsupportedArchitecture
from dedicated.api.reasons import Reason
from dedicated.planner.fields import Fields
from dedicated.planner.kv import KvGroup
from dedicated.planner.layers import MOST_LAYERS, Mixer
from dedicated.planner.model_facts import UNKNOWN_KV_SHARE, ModelFacts, Note
from dedicated.planner.stored import Source

SLIDES_BUT_EACH = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4}
"""One layer in so many is a full one, where a window is given (llama.cpp src/llama-model.cpp, set_swa_pattern)."""
BITS_PER_WEIGHT = 4.8
"""Of Q4_K_M, the most common form, where the file does not tell its parameters."""


def of_metadata(metadata: Mapping[str, Any], file_bytes: int) -> ModelFacts:
    """
    Facts of a GGUF model.

    Args:
        metadata: Keys and values; of long lists, only how many there are.
        file_bytes: Of all shards together.
    Raises:
        UnsupportedArchitecture: It does not name its architecture.
    """
    said = Fields(metadata)
    architecture = said.text("general.architecture")
    if not architecture:
        raise UnsupportedArchitecture("the GGUF file does not say its general.architecture; convert the model again with llama.cpp")
    own = Fields({key.removeprefix(f"{architecture}."): value for key, value in metadata.items() if key.startswith(f"{architecture}.")})
    layers, heads = min(own.integer("block_count"), MOST_LAYERS), own.integer("attention.head_count")
    groups = _groups(own, architecture, layers, heads)
    guess = f"the GGUF file of {architecture} does not tell its layers' shape, so the KV cache is a careful estimate; check that llama.cpp serves it"
    return ModelFacts(
        architecture=architecture,
        family=architecture,
        known=bool(groups),
        layers=layers,
        hidden=own.integer("embedding_length"),
        heads=heads,
        kv_heads=max((group.heads for group in groups), default=0),
        vocab=own.integer("vocab_size", default=said.integer("tokenizer.ggml.tokens")),
        context_limit=own.integer("context_length"),
        dtype="float16",
        stored_bytes=file_bytes,
        loaded_bytes=float(file_bytes),
        source=Source.FILES,
        parameters=said.integer("general.parameter_count", default=int(file_bytes * 8 / BITS_PER_WEIGHT)),
        kv=groups,
        kv_per_token=0.0 if groups else UNKNOWN_KV_SHARE * file_bytes,
        files="gguf",
        notes=() if groups else (Note(Reason.UNSUPPORTED_ARCHITECTURE, guess),),
    )


def _groups(own: Fields, architecture: str, layers: int, heads: int) -> tuple[KvGroup, ...]:
    if latent := own.integer("attention.kv_lora_rank"):
        return (KvGroup(Mixer.MLA, layers, 0, latent + own.integer("rope.dimension_count")),)
    if not layers or not heads or not own.integer("embedding_length"):
        return ()
    per_layer = _kv_heads(own, layers, heads)
    key = own.integer("attention.key_length", default=own.integer("embedding_length") // heads)
    values = key + own.integer("attention.value_length", default=key)
    attending = [index for index in range(layers) if per_layer[index] and _attends(own, index)]
    slides = [index for index in attending if _slides(own, architecture, index)]
    full = [index for index in attending if index not in slides]
    most = max(per_layer)
    groups = [
        KvGroup(Mixer.FULL, len(full), most, values),
        KvGroup(Mixer.SLIDING, len(slides), most, values, own.integer("attention.sliding_window")),
    ]
    recurrent = KvGroup(Mixer.MAMBA, layers - len(attending), 0, 0, state_bytes=_state_bytes(own))
    return tuple(group for group in (*groups, recurrent) if group.layers and (group.heads or group.state_bytes))


def _kv_heads(own: Fields, layers: int, heads: int) -> list[int]:
    """KV heads of each layer: one number for all, or a list."""
    listed = own.numbers("attention.head_count_kv")
    return listed if len(listed) == layers else [own.integer("attention.head_count_kv", default=heads)] * layers


def _attends(own: Fields, index: int) -> bool:
    """Whether a layer attends; the others of a hybrid keep a state."""
    interval = own.integer("full_attention_interval")
    return not interval or (index + 1) % interval == 0


def _slides(own: Fields, architecture: str, index: int) -> bool:
    each = SLIDES_BUT_EACH.get(architecture, 0)
    return bool(each and own.integer("attention.sliding_window")) and (index + 1) % each != 0


def _state_bytes(own: Fields) -> int:
    """Recurrent state and the convolution's last inputs, in fp32."""
    inner, state = own.integer("ssm.inner_size"), own.integer("ssm.state_size")
    convolved = (own.integer("ssm.conv_kernel", default=4) - 1) * (inner + 2 * own.integer("ssm.group_count") * state)
    return (inner * state + convolved) * 4 if inner else 0
