"""The key-value pairs at the head of a GGUF file (github.com/ggml-org/ggml docs/gguf.md), read once, from front to back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from dedicated.api.errors import WeightsCorrupt

Read = Callable[[int], bytes]
"""The next so many bytes; fewer where the file ends."""

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9
SHORT_LIST = 4096
"""Longer lists (the vocabulary) are told by their length only; what layers have is shorter."""
MOST_PAIRS, MOST_TEXT = 100_000, 64 * 1024 * 1024
"""A file that claims more is damaged. (pairs, bytes)"""


def metadata(read: Read, name: str) -> dict[str, Any]:
    """
    Keys and values; a long list as its length.

    Args:
        name: Of the file, for messages.
    Raises:
        WeightsCorrupt: It is no GGUF file, or it is cut off.
    """
    source = _Source(read, name)
    if source.take(4) != b"GGUF":
        raise WeightsCorrupt(f"{name} is no GGUF file; fetch it again")
    version = source.number("<I")
    if version not in (2, 3):
        raise WeightsCorrupt(f"{name} is of GGUF version {version} and 2 and 3 are known; convert the model again")
    source.number("<Q")  # count of tensors
    pairs = source.number("<Q")
    if pairs > MOST_PAIRS:
        raise source.damaged()
    return {source.text(): source.value() for _ in range(pairs)}


class _Source:
    """A file that is read from front to back."""

    def __init__(self, read: Read, name: str) -> None:
        self._read, self._name = read, name

    def damaged(self) -> WeightsCorrupt:
        """What a file is that ends too early or claims what cannot be."""
        return WeightsCorrupt(f"the head of {self._name} is cut off or damaged; fetch it again")

    def take(self, count: int) -> bytes:
        """So many bytes."""
        found = self._read(count)
        if len(found) != count:
            raise self.damaged()
        return found

    def number(self, form: str) -> int:
        """A whole number in this form."""
        (found,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(found)

    def text(self) -> str:
        """A text with its length before it."""
        length = self.number("<Q")
        if length > MOST_TEXT:
            raise self.damaged()
        return self.take(length).decode("utf-8", "replace")

    def value(self, kind: int | None = None) -> Any:
        """A value of this kind, or of the kind that stands before it."""
        kind = self.number("<I") if kind is None else kind
        if kind == _TEXT:
            return self.text()
        if kind == _LIST:
            return self._list()
        if kind not in _SCALARS:
            raise self.damaged()
        form = _SCALARS[kind]
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def _list(self) -> Any:
        kind, count = self.number("<I"), self.number("<Q")
        if count > MOST_TEXT:
            raise self.damaged()
        if count <= SHORT_LIST:
            return [self.value(kind) for _ in range(count)]
        if kind in _SCALARS:
            self.take(struct.calcsize(_SCALARS[kind]) * count)
        else:
            for _ in range(count):
                self.value(kind)
        return count
