"""What a checkpoint's files say of its weights: an index, or the headers of safetensors files. Exact where `config.json` only lets one compute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

from dedicated.api.errors import WeightsCorrupt

MAX_HEADER_BYTES = 25_000_000
"""Longest header that the hub reads (huggingface_hub 2.4 constants.py SAFETENSORS_MAX_HEADER_LENGTH)."""
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_ELEMENT_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
"""Safetensors data types of more than one byte (github.com/huggingface/safetensors, README, Format)."""


class Source(StrEnum):
    """Where the number of weight bytes is from, best first."""

    HEADERS = "headers"
    INDEX = "index"
    FILES = "files"
    CONFIG = "config"


@dataclass(frozen=True)
class Stored:
    """
    Weights as files hold them.

    Args:
        total_bytes: Of all tensors that are the model's.
        source: What told it.
        f32_bytes: Of these, in fp32; engines load them in 16 bit.
        head_bytes: The output head's, where headers told it.
        extra_bytes: Of the layers behind the model's last one, which only guess ahead (MTP) and are not loaded; None where nobody told.
        layers: Highest number of a layer, and one; 0 where no name has a number.
        has_head: Whether a tensor is the output head.
    """

    total_bytes: int
    source: Source
    f32_bytes: int = 0
    head_bytes: int = 0
    extra_bytes: int | None = None
    layers: int = 0
    has_head: bool = False


def of_index(index: Mapping[str, Any], file_bytes: int = 0, model_layers: int = 0) -> Stored:
    """
    What `model.safetensors.index.json` says.

    Args:
        file_bytes: Size of the files that it names, taken where it does not tell the tensors' own.
        model_layers: Layers of the model; what is behind them guesses ahead.
    Raises:
        WeightsCorrupt: It names no tensors and tells no size.
    """
    metadata, names = index.get("metadata"), index.get("weight_map")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    weights = list(names) if isinstance(names, dict) else []
    if not isinstance(total, int | float) or total <= 0:
        if not file_bytes:
            raise WeightsCorrupt("the index of the weights tells neither metadata.total_size nor files that are there; fetch the model again")
        return Stored(file_bytes, Source.FILES, layers=_layers(weights), has_head=_has_head(weights))
    return Stored(int(total), Source.INDEX, layers=_layers(weights), has_head=_has_head(weights))


def of_headers(headers: list[Mapping[str, Any]], model_layers: int) -> Stored:
    """
    What the headers of all files say together.

    Raises:
        WeightsCorrupt: A tensor has no shape or type.
    """
    tensors = [(name, found) for header in headers for name, found in header.items() if name != "__metadata__"]
    sizes = {name: _tensor_bytes(name, found) for name, found in tensors}
    f32 = sum(sizes[name] for name, found in tensors if found["dtype"] == "F32")
    extra = sum(size for name, size in sizes.items() if _guesses_ahead(name, model_layers))
    head = sum(size for name, size in sizes.items() if name.endswith("lm_head.weight"))
    return Stored(sum(sizes.values()), Source.HEADERS, f32, head, extra, _layers(list(sizes)), _has_head(list(sizes)))


def _tensor_bytes(name: str, found: Any) -> int:
    if not isinstance(found, dict) or not isinstance(found.get("dtype"), str) or not isinstance(found.get("shape"), list):
        raise WeightsCorrupt(f"the tensor {name} has neither type nor shape in its file's header; fetch the model again")
    offsets = found.get("data_offsets")
    if isinstance(offsets, list) and len(offsets) == 2:
        return int(offsets[1]) - int(offsets[0])
    return prod(int(side) for side in found["shape"]) * _ELEMENT_BYTES.get(found["dtype"], 1)


def _guesses_ahead(name: str, model_layers: int) -> bool:
    number = _number(name)
    return "mtp" in name.split(".") or (model_layers > 0 and number is not None and number >= model_layers)


def _number(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _layers(names: list[str]) -> int:
    return max((number + 1 for name in names if (number := _number(name)) is not None), default=0)


def _has_head(names: list[str]) -> bool:
    return any(name.endswith("lm_head.weight") for name in names)


def header_length(first: bytes, file_bytes: int, name: str) -> int:
    """
    Length of a file's header, from its first eight bytes.

    Raises:
        WeightsCorrupt: The file is shorter than that, or the number cannot be one.
    """
    length = int.from_bytes(first[:8], "little") if len(first) >= 8 else 0
    if not 0 < length <= MAX_HEADER_BYTES or length + 8 > file_bytes:
        raise WeightsCorrupt(f"the header of {name} is cut off or damaged ({file_bytes} bytes in the file); fetch it again")
    return length
