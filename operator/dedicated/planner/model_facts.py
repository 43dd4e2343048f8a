"""What the planner knows of a model: its shape, what its layers keep, how its weights are stored and how much of them an engine loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dedicated.api.errors import UnsupportedArchitecture
from dedicated.api.reasons import Reason
from dedicated.planner import context, kv
from dedicated.planner.encoders import Tower, sound_parameters, tower_of
from dedicated.planner.families import UNKNOWN, Family, family_of, model_type_of
from dedicated.planner.fields import Fields
from dedicated.planner.kv import KvGroup
from dedicated.planner.layers import Feed, Layer, Mixer, layers_of
from dedicated.planner.parameters import Dimensions, dimensions_of, expert_width, shared_width
from dedicated.planner.quantization import Quantization, quantization_of
from dedicated.planner.stored import Source, Stored
from dedicated.planner.weights import Counted, count

UNKNOWN_KV_SHARE = 4e-5
"""
KV bytes per token over weight bytes, for a model that tells nothing of its attention: Llama-2-7B's 524,288 / 13.5e9, which keeps more than any
model with grouped queries.
"""
UNKNOWN_MARGIN = 1.05
"""On weights computed for a family whose layers nobody has checked."""


@dataclass(frozen=True)
class Note:
    """Something to know of a plan that is no rejection."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True)
class ModelFacts:
    """
    A model as the planner sees it.

    Args:
        architecture: As config.json or the GGUF file names it.
        family: Its `model_type`.
        known: Whether the family's layers are known here, and not only guessed.
        heads: Query heads. kv_heads: of a full-attention layer. other_heads: of other mixers; tensor parallelism divides all of them.
        context_limit: The model's own longest request; 0 where it does not say. (tokens)
        dtype: Of what is not quantised.
        stored_bytes: Weights as files hold them. loaded_bytes: As an engine holds them.
        embedding_bytes: Of the loaded, input embeddings: they are on the first rank of a pipeline only, and the head on the last.
        split_widths: Inner widths that tensor parallelism cuts, by what they belong to.
        files: The form of the files: "safetensors" or "gguf".
        kv_per_token: Bytes per token where nothing is known of the layers, instead of `kv`. (0: known)
    """

    architecture: str
    family: str
    known: bool
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    vocab: int
    context_limit: int
    dtype: str
    stored_bytes: int
    loaded_bytes: float
    source: Source
    parameters: int
    embedding_bytes: float = 0.0
    quantization: Quantization | None = None
    kv: tuple[KvGroup, ...] = ()
    kv_per_token: float = 0.0
    other_heads: tuple[int, ...] = ()
    split_widths: tuple[tuple[str, int], ...] = ()
    tower: Tower | None = None
    refuses_fp16: bool = False
    embeds: bool = False
    files: str = "safetensors"
    notes: tuple[Note, ...] = ()


def language_model(config: Mapping[str, Any]) -> Fields:
    """The fields of the language model: of `text_config` or its like where there is one, then those beside it."""
    outer = Fields(config)
    inner = outer.under("text_config", "llm_config", "language_config", "thinker_config", "text_model_config")
    if "text_config" in inner:
        inner = inner.under("text_config")
    shared = {key: value for key, value in config.items() if key in ("quantization_config", "compression_config", "torch_dtype", "dtype")}
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    if not inner.raw():
        return outer
    return Fields({**shared, **tied, **inner.raw()})


def of_config(config: Mapping[str, Any], stored: Stored | None = None) -> ModelFacts:
    """
    Facts of a model, from its config.json and what its files say.

    Raises:
        UnsupportedArchitecture: It tells so little that not even a careful estimate can be made.
    """
    outer, bare = Fields(config), language_model(config)
    name = bare.text("model_type", default=outer.text("model_type"))
    architectures = outer.texts("architectures")
    name = name or next((known for one in architectures if (known := model_type_of(one))), "")
    family = family_of(name, outer.text("model_type"))
    fields = Fields(bare.raw(), (family or UNKNOWN).defaults)
    size = dimensions_of(fields, family or UNKNOWN)
    architecture = next(iter(architectures), "") or name or "unknown"
    if not size.hidden or not layers_of(fields, UNKNOWN):
        return _opaque(architecture, name, fields, stored)
    return _facts(architecture, name, family, Fields(outer.raw()), fields, size, stored)


def _facts(architecture: str, name: str, family: Family | None, outer: Fields, config: Fields, size: Dimensions, stored: Stored | None) -> ModelFacts:
    known = family or UNKNOWN
    layers = layers_of(config, known)
    tower, quantization = tower_of(outer, size.hidden), quantization_of(config)
    counted = count(layers, config, known, size, quantization, outside=(tower.parameters if tower else 0) + sound_parameters(outer))
    facts = ModelFacts(
        architecture=architecture,
        family=name,
        known=family is not None,
        layers=len(layers),
        hidden=size.hidden,
        heads=size.heads,
        kv_heads=size.kv_heads,
        vocab=size.vocab,
        context_limit=context.limit(config, name),
        dtype=config.text("dtype", "torch_dtype", default="bfloat16").removeprefix("torch."),
        stored_bytes=round(counted.stored_bytes),
        loaded_bytes=counted.loaded_bytes,
        source=Source.CONFIG,
        parameters=counted.parameters,
        embedding_bytes=counted.embedding_bytes,
        quantization=quantization,
        kv=kv.groups_of(layers, config, known, size, tower.cross_tokens if tower else 0),
        other_heads=_other_heads(layers, config),
        split_widths=_split_widths(layers, config, size),
        tower=tower,
        refuses_fp16=known.refuses_fp16,
        embeds=known.encoder,
        notes=_notes(name, family is not None, quantization, _strange(outer)),
    )
    return _with_stored(facts, counted, stored) if stored else _careful(facts)


def _careful(facts: ModelFacts) -> ModelFacts:
    if facts.known:
        return facts
    return replace(facts, stored_bytes=round(facts.stored_bytes * UNKNOWN_MARGIN), loaded_bytes=facts.loaded_bytes * UNKNOWN_MARGIN)


def _with_stored(facts: ModelFacts, counted: Counted, stored: Stored) -> ModelFacts:
    """
    The files' own figure, and what an engine makes of it: no layers that guess ahead, no second copy of tied embeddings, 16 bit instead of 32, and
    the padding that some quantised kernels add.
    """
    ahead = stored.extra_bytes if stored.extra_bytes is not None else (counted.ahead_bytes if stored.layers > facts.layers else 0.0)
    copied = (stored.head_bytes or counted.head_bytes) if counted.tied and stored.has_head else 0.0
    loaded = max(stored.total_bytes - ahead - copied, stored.total_bytes * 0.5) - _narrowed(facts, stored)
    return replace(facts, stored_bytes=stored.total_bytes, loaded_bytes=loaded * counted.loaded_factor, source=stored.source)


def _narrowed(facts: ModelFacts, stored: Stored) -> float:
    """Bytes that loading in 16 bit saves; without headers, those of a checkpoint that is as large as fp32 makes it."""
    if facts.quantization is not None:
        return 0.0
    if stored.source is Source.HEADERS:
        return stored.f32_bytes / 2
    return stored.total_bytes / 2 if facts.dtype == "float32" and stored.total_bytes > 3 * facts.parameters else 0.0


def _other_heads(layers: tuple[Layer, ...], config: Fields) -> tuple[int, ...]:
    mixers = {layer.mixer for layer in layers}
    delta = [config.integer("linear_num_key_heads"), config.integer("linear_num_value_heads")] if Mixer.DELTA in mixers else []
    mamba = [config.integer("mamba_num_heads", "mamba_n_heads")] if Mixer.MAMBA in mixers else []
    return tuple(heads for heads in (*delta, *mamba) if heads)


def _split_widths(layers: tuple[Layer, ...], config: Fields, size: Dimensions) -> tuple[tuple[str, int], ...]:
    feeds = {layer.feed for layer in layers}
    dense = [("intermediate size", size.intermediate)] if Feed.DENSE in feeds else []
    experts = [("expert's intermediate size", expert_width(config)), ("shared expert's intermediate size", shared_width(config, size))]
    return tuple((name, width) for name, width in (*dense, *(experts if Feed.EXPERTS in feeds else ())) if width)


def _strange(outer: Fields) -> str:
    """The architecture of a language model that stands alone, if nobody knows it; wrappers around one have names of their own."""
    architecture = next(iter(outer.texts("architectures")), "")
    alone = not any(isinstance(value, dict) and "hidden_size" in value for value in outer.raw().values())
    return architecture if alone and architecture and not model_type_of(architecture) else ""


def _notes(name: str, known: bool, quantization: Quantization | None, strange: str) -> tuple[Note, ...]:
    notes = []
    if known and strange:
        told = f"the architecture {strange} is not known here and is weighed as a {name}; check that the engine serves it"
        notes.append(Note(Reason.UNSUPPORTED_ARCHITECTURE, told))
    if not known:
        guessed = (
            f"the model type '{name or 'unnamed'}' is not known here, so weights and KV cache are a careful estimate; check that the engine serves it"
        )
        notes.append(Note(Reason.UNSUPPORTED_ARCHITECTURE, guessed))
    if quantization is not None and not quantization.known:
        guessed = (
            f"the quantisation method '{quantization.name}' is not known here, so two bytes a weight are assumed; check that the engine reads it"
        )
        notes.append(Note(Reason.UNSUPPORTED_QUANTIZATION, guessed))
    return tuple(notes)


def _opaque(architecture: str, name: str, config: Fields, stored: Stored | None) -> ModelFacts:
    """A model that tells nothing of its shape: only its files' size is known."""
    if stored is None:
        raise UnsupportedArchitecture(
            f"config.json of {architecture} tells neither hidden_size nor num_hidden_layers, and no weights can be measured; add the weights' index"
        )
    return ModelFacts(
        architecture=architecture,
        family=name,
        known=False,
        layers=stored.layers,
        hidden=0,
        heads=0,
        kv_heads=0,
        vocab=config.integer("vocab_size"),
        context_limit=context.limit(config, name),
        dtype=config.text("dtype", "torch_dtype", default="bfloat16").removeprefix("torch."),
        stored_bytes=stored.total_bytes,
        loaded_bytes=float(stored.total_bytes),
        source=stored.source,
        parameters=stored.total_bytes // 2,
        quantization=quantization_of(config),
        kv_per_token=UNKNOWN_KV_SHARE * stored.total_bytes,
        notes=_notes(name, False, None, ""),
    )
