"""
The header of a safetensors file: which tensors it holds, exactly.

Shape: 8 bytes of length, little-endian, then so many bytes of JSON: {name: {dtype, shape, data_offsets: [begin, end]}, __metadata__: {text: text}}.
Source: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

LENGTH_BYTES = 8
MOST_BYTES = 25_000_000
"""Bytes of a header. Source: huggingface_hub 2.4.0 constants.SAFETENSORS_MAX_HEADER_LENGTH."""


@dataclass(frozen=True)
class Tensor:
    """One tensor. `size` is what it takes in the file. (bytes)"""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """The tensors of one file, in the order of the header."""

    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, str]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def bytes_by_dtype(self) -> Mapping[str, int]:
        """Bytes by the names that safetensors has for dtypes, such as BF16."""
        found: Counter[str] = Counter()
        for tensor in self.tensors:
            found[tensor.dtype] += tensor.size
        return found

    @property
    def elements_by_dtype(self) -> Mapping[str, int]:
        """Elements by dtype; of packed weights these are the words that they are packed into."""
        found: Counter[str] = Counter()
        for tensor in self.tensors:
            found[tensor.dtype] += prod(tensor.shape)
        return found


def header_length(beginning: bytes) -> int:
    """
    Bytes of the JSON, from the first bytes of the file.

    Raises:
        ValueError: The file is too short, or what it says cannot be.
    """
    if len(beginning) < LENGTH_BYTES:
        raise ValueError(f"it has {len(beginning)} bytes, and a header has at least {LENGTH_BYTES}")
    (length,) = struct.unpack_from("<Q", beginning)
    if not 0 < length <= MOST_BYTES:
        raise ValueError(f"its header claims {length} bytes, at most {MOST_BYTES} can be")
    return int(length)


def parse(raw: bytes) -> SafetensorsHeader:
    """
    The header, from its JSON.

    Raises:
        ValueError: It is none.
    """
    try:
        found = json.loads(raw)
        metadata = found.pop("__metadata__", None) or {}
        return SafetensorsHeader(
            tuple(_tensor(name, said) for name, said in found.items()), {str(key): str(value) for key, value in metadata.items()}
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as odd:
        raise ValueError(f"its header is not that of a safetensors file ({type(odd).__name__})") from odd


def _tensor(name: str, said: Any) -> Tensor:
    begin, end = said["data_offsets"]
    if not (isinstance(begin, int) and isinstance(end, int) and 0 <= begin <= end):
        raise ValueError(f"tensor {name} lies from {begin} to {end}")
    return Tensor(name, str(said["dtype"]), tuple(int(size) for size in said["shape"]), end - begin)
