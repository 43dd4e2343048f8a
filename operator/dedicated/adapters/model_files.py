"""What a model's own files say of it: config.json, the index or headers of its weights, or the head of a GGUF file. Read wherever they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dedicated.adapters import gguf_file
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec, WeightsCorrupt
from dedicated.planner import gguf, mistral
from dedicated.planner.fields import Fields
from dedicated.planner.layers import layer_count
from dedicated.planner.model_facts import ModelFacts, language_model, of_config
from dedicated.planner.stored import Source, Stored, header_length, of_headers, of_index
from dedicated.weights.selection import RepoFile, wanted_files

CONFIG, MISTRAL, INDEX, SINGLE = "config.json", "params.json", "model.safetensors.index.json", "model.safetensors"
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.safetensors$")
QUANTISED_BESIDE = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Where ModelOpt, AutoGPTQ and AutoAWQ say it when config.json does not."""


class FileSource(Protocol):
    """Where a model's files are: a folder, or a repository of a hub."""

    name: str

    def files(self) -> Sequence[RepoFile]:
        """All files with their sizes."""

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file; fewer where it ends."""


class Folder:
    """A folder of model files, or one GGUF file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InvalidSpec(f"{path} does not exist; name a folder with config.json, or a GGUF file")
        whole = path.is_dir() or path.name == CONFIG
        self._root = path if path.is_dir() else path.parent
        self._only = None if whole else path.name
        self.name = str(path)

    def files(self) -> Sequence[RepoFile]:
        """All files below, or the one that is named and its other shards."""
        try:
            found = [path for path in sorted(self._root.rglob("*")) if path.is_file()]
            listed = [RepoFile(str(path.relative_to(self._root)), path.stat().st_size) for path in found]
        except OSError as refused:
            raise InvalidSpec(f"{self.name} cannot be read: {refused.strerror}") from refused
        stem = self._only.rpartition("-of-")[0].rpartition("-")[0] if self._only else ""
        return [one for one in listed if self._only is None or one.path == self._only or (stem and one.path.startswith(stem))]

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file."""
        try:
            with (self._root / path).open("rb") as file:
                file.seek(start)
                return file.read(-1 if length is None else length)
        except OSError as refused:
            raise InvalidSpec(f"{path} in {self.name} cannot be read: {refused.strerror}") from refused


def facts_from(
    source: FileSource, engine: EngineKind | None, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[ModelFacts, EngineKind]:
    """
    Facts of a model from its files, and the engine for them: the one that is named, else llamacpp where there is nothing but GGUF.

    Raises:
        InvalidSpec: Something is missing, or there are several models.
        WeightsCorrupt: A file is not what it says it is.
        UnsupportedArchitecture: The files tell too little.
    """
    files = source.files()
    names = {file.path for file in files}
    engine = engine or (EngineKind.LLAMACPP if CONFIG not in names and any(name.endswith(".gguf") for name in names) else EngineKind.VLLM)
    if engine is EngineKind.LLAMACPP and any(name.endswith(".gguf") for name in names):
        return _gguf_facts(source, files, include, exclude), engine
    if CONFIG not in names and MISTRAL not in names:
        raise InvalidSpec(f"{source.name} has no {CONFIG}; name the folder that holds it beside the weights")
    return _config_facts(source, files, include, exclude), engine


def _gguf_facts(source: FileSource, files: Sequence[RepoFile], include: Sequence[str], exclude: Sequence[str]) -> ModelFacts:
    chosen = wanted_files(files, engine=EngineKind.LLAMACPP, include=include, exclude=exclude)
    assert chosen.entry is not None  # a selection of GGUF files always names the one that is opened
    return gguf.of_metadata(gguf_file.metadata(_forwards(source, chosen.entry), chosen.entry), chosen.weight_bytes)


PIECE = 1024 * 1024
"""Bytes that are asked for at once while the head of a GGUF file is read."""


def _forwards(source: FileSource, path: str) -> gguf_file.Read:
    """Reads a file from front to back, in pieces."""
    held, at = bytearray(), 0

    def take(count: int) -> bytes:
        nonlocal at
        while len(held) < count:
            piece = source.read(path, at, max(PIECE, count - len(held)))
            if not piece:
                break
            held.extend(piece)
            at += len(piece)
        found = bytes(held[:count])
        del held[:count]
        return found

    return take


def _config_facts(source: FileSource, files: Sequence[RepoFile], include: Sequence[str], exclude: Sequence[str]) -> ModelFacts:
    names = {file.path for file in files}
    config = _json(source, CONFIG) if CONFIG in names else mistral.as_config(_json(source, MISTRAL))
    if not Fields(config).under("quantization_config", "compression_config").raw():
        config = {**config, **_quantised_beside(source, names)}
    kept = files if INDEX in names else wanted_files(files, engine=EngineKind.VLLM, include=include, exclude=exclude).files
    return of_config(config, _stored(source, kept, names, layer_count(Fields(language_model(config).raw()))))


def _quantised_beside(source: FileSource, names: set[str]) -> dict[str, Any]:
    beside = next((name for name in QUANTISED_BESIDE if name in names), None)
    if beside is None:
        return {}
    said = Fields(_json(source, beside))
    inner = said.under("quantization")
    found = dict(inner.raw() or said.raw())
    default = {"hf_quant_config.json": "modelopt", "quantize_config.json": "gptq", "quant_config.json": "awq"}[beside]
    return {"quantization_config": {"quant_method": default, **found}}


def _stored(source: FileSource, files: Sequence[RepoFile], names: set[str], layers: int) -> Stored | None:
    """The best that the files tell: an index, headers, sizes; None where there are no weights."""
    if INDEX in names:
        index = _json(source, INDEX)
        named = index.get("weight_map")
        shards = set(named.values()) if isinstance(named, dict) else set()
        return of_index(index, sum(file.size for file in files if file.path in shards))
    tensors = [file for file in files if file.path.endswith(".safetensors")]
    tensors = [file for file in tensors if file.path == SINGLE] or tensors  # Whisper has the same again in fp32, as model.fp32-*.safetensors
    if tensors:
        _whole(tensors)
        return of_headers([_header(source, file) for file in tensors], layers)
    others = sum(file.size for file in files if file.path.endswith((".bin", ".pt", ".pth")))
    return Stored(others, Source.FILES) if others else None


def _whole(shards: Sequence[RepoFile]) -> None:
    """All shards must be there: those that are not would make the model look smaller than it is."""
    numbered = [found for file in shards if (found := _SHARD.search(file.path))]
    total = max((int(found[1]) for found in numbered), default=0)
    if numbered and len(numbered) < total:
        raise WeightsCorrupt(f"{len(numbered)} of {total} shards of the weights are there, and no {INDEX}; fetch the others, or the index")


def _header(source: FileSource, file: RepoFile) -> dict[str, Any]:
    length = header_length(source.read(file.path, 0, 8), file.size, file.path)
    return _parsed(source.read(file.path, 8, length), file.path)


def _json(source: FileSource, path: str) -> dict[str, Any]:
    return _parsed(source.read(path), f"{path} in {source.name}")


def _parsed(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as odd:
        raise WeightsCorrupt(f"{what} is not JSON ({odd}); fetch it again") from odd
    if not isinstance(found, dict):
        raise WeightsCorrupt(f"{what} is no JSON object; fetch it again")
    return found
