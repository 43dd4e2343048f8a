"""What a hub says of a repository. Mirrors leave much out: what was not said is None, which means unknown and never no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dedicated.weights.selection import WEIGHT_SUFFIXES, RepoFile


@dataclass(frozen=True)
class ModelInfo:
    """A model at a revision."""

    commit: str
    files: tuple[RepoFile, ...]
    gated: str | bool | None = None
    """False, or how access is granted: auto or manual."""
    private: bool | None = None
    disabled: bool | None = None
    license: str | None = None
    pipeline_tag: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    """Of all files together, as the hub counts them: packed weights count as the words that they are packed into."""
    parameters_by_dtype: Mapping[str, int] = field(default_factory=dict)
    """The same by the names that safetensors has for dtypes; empty where the hub does not say."""
    gguf: Mapping[str, Any] = field(default_factory=dict)
    """What the hub read from a GGUF file's header: total, architecture, context_length; empty where there is none."""

    @property
    def is_open(self) -> bool:
        """Whether the hub says that anybody may read it."""
        return self.private is False and self.gated is False

    def file(self, path: str) -> RepoFile | None:
        """The file at this path."""
        return next((file for file in self.files if file.path == path), None)

    def to_probe(self) -> str | None:
        """The file whose reading proves the most: weights if there are any."""
        by_worth = sorted(self.files, key=lambda file: (not file.path.endswith(WEIGHT_SUFFIXES), file.path))
        return by_worth[0].path if by_worth else None


@dataclass(frozen=True)
class Access:
    """What is known of reading a repository's files: proven, or not told by this hub. A refusal is an error, not an Access."""

    granted: bool
    proven_with: str | None = None
    """Where the token is from that opened it, in words; None where none was needed."""
