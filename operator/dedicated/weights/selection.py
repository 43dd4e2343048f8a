"""
Which files of a repository an engine needs.

Repositories ship the same weights twice: gpt-oss has `original/` beside its shards, Mistral `consolidated*` beside `model-*`, many `.bin`
beside `.safetensors`, and
a GGUF repository holds one file per quantisation. So one form is chosen, and where there is a choice that nobody made, it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec
from dedicated.core.quantities import human_bytes

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".ckpt")
_SHARD = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf$")
_OTHER_FORMS = ("original/", "metal/", "onnx/", "openvino/", "coreml/")


@dataclass(frozen=True)
class RepoFile:
    """A file of a repository. `sha256` is known for files in large-file storage; a size that a mirror does not tell is 0, and not `sized`."""

    path: str
    size: int
    sha256: str | None = None
    sized: bool = True
    git_sha1: str | None = None
    """Of files that are not in large-file storage: the sha1 of git's blob."""


@dataclass(frozen=True)
class Selection:
    """The files that are wanted; `weight_bytes` counts those that the engine loads, `entry` is the one that it opens."""

    files: tuple[RepoFile, ...]
    weight_bytes: int
    entry: str | None = None


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a glob as huggingface_hub means it: fnmatch on the whole path, and a trailing slash means the folder."""
    return fnmatchcase(path, pattern + "*" if pattern.endswith("/") else pattern)


def wanted_files(files: Sequence[RepoFile], *, engine: EngineKind, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """
    The files that this engine needs.

    Raises:
        InvalidSpec: Nothing is left, or several forms of the weights are and the patterns do not choose one.
    """
    allowed = [file for file in files if not any(matches(file.path, pattern) for pattern in exclude)]
    if include:
        allowed = [file for file in allowed if any(matches(file.path, pattern) for pattern in include)]
    if not allowed:
        raise InvalidSpec(f"spec.model.huggingFace.files leaves none of the repository's {len(files)} files; correct include or exclude")
    if engine is EngineKind.LLAMACPP:
        return _gguf(allowed)
    chosen = allowed if include or engine is EngineKind.CUSTOM else _one_form(allowed)
    weights = sum(file.size for file in chosen if file.path.endswith(WEIGHT_SUFFIXES))
    return Selection(tuple(sorted(chosen, key=lambda file: file.path)), weights, _only_gguf(chosen))


def _only_gguf(files: Sequence[RepoFile]) -> str | None:
    found = [file.path for file in files if file.path.endswith(".gguf")]
    return found[0] if len(found) == 1 else None


def _gguf(files: Sequence[RepoFile]) -> Selection:
    """Exactly one model in GGUF, all of its shards; projectors of vision models only where they are asked for by name."""
    models: dict[str, list[RepoFile]] = {}
    for file in files:
        name = file.path.rpartition("/")[2].lower()
        if name.endswith(".gguf") and not name.startswith("mmproj"):
            shard = _SHARD.match(file.path)
            models.setdefault(shard["stem"] if shard else file.path, []).append(file)
    if not models:
        raise InvalidSpec("spec.model: the repository has no GGUF file, which engine kind llamacpp needs; name one that has")
    if len(models) > 1:
        choices = ", ".join(f"{stem} ({human_bytes(sum(f.size for f in shards))})" for stem, shards in sorted(models.items())[:12])
        raise InvalidSpec(f"The repository holds {len(models)} GGUF models; set spec.model.huggingFace.files.include to one of: {choices}")
    (shards,) = models.values()
    _complete(shards)
    ordered = tuple(sorted(shards, key=lambda file: file.path))
    return Selection(ordered, sum(file.size for file in ordered), ordered[0].path)


def _complete(shards: Sequence[RepoFile]) -> None:
    first = _SHARD.match(shards[0].path)
    if first and len(shards) != int(first["total"]):
        raise InvalidSpec(f"spec.model: {len(shards)} of {int(first['total'])} shards of {first['stem']} are there; correct include or exclude")


def _one_form(files: Sequence[RepoFile]) -> list[RepoFile]:
    """Configuration and tokenizer, and the weights in one form: root safetensors, else root .bin."""
    small = [file for file in files if not file.path.endswith(WEIGHT_SUFFIXES) and not file.path.startswith(_OTHER_FORMS)]
    root = [file for file in files if "/" not in file.path]
    sharded = [file for file in root if file.path.endswith(".safetensors") and not file.path.startswith("consolidated")]
    consolidated = [file for file in root if file.path.endswith(".safetensors") and file.path.startswith("consolidated")]
    pytorch = [file for file in root if file.path.endswith(".bin")]
    return small + (sharded or consolidated or pytorch)
