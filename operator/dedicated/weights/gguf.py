"""
The header of a GGUF file: what model it is, without its tensors.

Theory of operation: after magic, version and two counts come keys with typed values, in any order. The vocabulary is among them and takes
megabytes, so only its length is kept; and since llama-quantize appends the file type behind it, all keys have to be read for that one. Whoever has
only the beginning of a file gets what it holds, and is told that it is not all.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3 (1 has other counts and is out of use since August 2023).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

Value = int | float | bool | str | tuple[int | float | bool, ...]

MAGIC = b"GGUF"
MOST_KEYS = 65_536
MOST_TEXT = 16 * 1024 * 1024
"""Bytes of one text; a chat template has ten thousand."""
MOST_KEPT = 4096
"""Elements of an array that are kept; one value a layer is, a vocabulary is not."""
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Formats of struct by the number that GGUF has for a type."""


@dataclass(frozen=True)
class GgufHeader:
    """What the keys say. Counts of heads may differ by layer: then they are tuples."""

    version: int
    tensors: int
    values: Mapping[str, Value] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    """Of each array, its number of elements."""
    complete: bool = True
    """Whether all keys were read."""

    @property
    def architecture(self) -> str | None:
        """Such as llama or qwen3."""
        found = self.values.get("general.architecture")
        return found if isinstance(found, str) else None

    @property
    def file_type(self) -> int | None:
        """How most tensors are quantised: a number of llama.cpp's `llama_ftype`, 15 being Q4_K_M."""
        return _int(self.values.get("general.file_type"))

    @property
    def block_count(self) -> int | None:
        """Layers."""
        return _int(self.of_model("block_count"))

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was trained for."""
        return _int(self.of_model("context_length"))

    @property
    def embedding_length(self) -> int | None:
        """Width of a layer."""
        return _int(self.of_model("embedding_length"))

    @property
    def head_count(self) -> Value | None:
        """Attention heads."""
        return self.of_model("attention.head_count")

    @property
    def head_count_kv(self) -> Value | None:
        """Key/value heads; without the key there are as many as attention heads."""
        return self.of_model("attention.head_count_kv") or self.head_count

    @property
    def vocab_size(self) -> int | None:
        """Tokens of the vocabulary."""
        return _int(self.of_model("vocab_size")) or self.lengths.get("tokenizer.ggml.tokens")

    @property
    def sizes_it(self) -> bool:
        """Whether all is known that memory is computed from."""
        return None not in (self.block_count, self.context_length, self.embedding_length, self.head_count, self.vocab_size)

    def of_model(self, key: str) -> Value | None:
        """A value under the architecture's own prefix: `llama.block_count` is block_count."""
        return self.values.get(f"{self.architecture}.{key}")


def _int(value: Value | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _EndOfData(Exception):
    """The data that is here ends in the middle of something."""


class _Reader:
    """Reads values from the beginning of a file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self.order = data, 0, "<"

    def skip(self, count: int) -> int:
        """Go on by so many bytes; answers where they begin."""
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise _EndOfData
        return start

    def raw(self, count: int) -> bytes:
        """So many bytes."""
        start = self.skip(count)
        return self._data[start : start + count]

    def number(self, fmt: str) -> int | float | bool:
        """One value of a format of struct."""
        found: int | float | bool = struct.unpack_from(self.order + fmt, self._data, self.skip(struct.calcsize(self.order + fmt)))[0]
        return found

    def count(self) -> int:
        """A length."""
        return int(self.number("Q"))

    def text(self) -> str:
        """A length and so many bytes."""
        length = self.count()
        if length > MOST_TEXT:
            raise ValueError(f"a text of {length} bytes")
        return self.raw(length).decode(errors="replace")

    def skip_texts(self, count: int) -> None:
        """Go on over so many texts."""
        data, at, end, unpack = self._data, self._at, len(self._data), struct.Struct(self.order + "Q").unpack_from
        for _ in range(count):
            if at + 8 > end:
                raise _EndOfData
            at += 8 + unpack(data, at)[0]
        self._at = at
        self.skip(0)


def parse(data: bytes) -> GgufHeader:
    """
    The header, from the beginning of a file.

    Raises:
        ValueError: It is no GGUF file of version 2 or 3, or too little of one to tell.
    """
    reader = _Reader(data)
    values: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    try:
        version, tensors, keys = _begin(reader)
    except _EndOfData:
        raise ValueError(f"it has {len(data)} bytes, too few for a GGUF file") from None
    try:
        for _ in range(keys):
            _entry(reader, values, lengths)
    except _EndOfData:
        return GgufHeader(version, tensors, values, lengths, complete=False)
    return GgufHeader(version, tensors, values, lengths)


def _begin(reader: _Reader) -> tuple[int, int, int]:
    """Version, number of tensors, number of keys."""
    if reader.raw(len(MAGIC)) != MAGIC:
        raise ValueError("it is no GGUF file")
    version = int(reader.number("I"))
    if version & 0xFFFF == 0:  # version 3 may be big-endian, and says so by its version alone
        reader.order, version = ">", int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise ValueError(f"it is GGUF of version {version}; 2 and 3 can be read")
    tensors, keys = reader.count(), reader.count()
    if keys > MOST_KEYS:
        raise ValueError(f"its header claims {keys} keys")
    return version, tensors, keys


def _entry(reader: _Reader, values: dict[str, Value], lengths: dict[str, int]) -> None:
    key, kind = reader.text(), reader.number("I")
    if kind == _ARRAY:
        _array(reader, key, values, lengths)
    else:
        values[key] = reader.text() if kind == _STRING else reader.number(_format(key, kind))


def _array(reader: _Reader, key: str, values: dict[str, Value], lengths: dict[str, int]) -> None:
    """Its length, and its elements where they are few and numbers."""
    kind, length = reader.number("I"), reader.count()
    lengths[key] = length
    if kind == _STRING:
        reader.skip_texts(length)
        return
    fmt = _format(key, kind)
    if length <= MOST_KEPT:
        values[key] = tuple(reader.number(fmt) for _ in range(length))
    else:
        reader.skip(length * struct.calcsize(reader.order + fmt))


def _format(key: str, kind: int | float | bool) -> str:
    found = _FORMATS.get(int(kind))
    if found is None:
        raise ValueError(f"key {key} has a type {kind} that is not known")
    return found
