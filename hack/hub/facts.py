"""What the hub tells of a model besides its files: it reads config.json and the headers of safetensors itself."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

from hack.hub.repository import File, Repository

TOLD_OF_CONFIG = ("architectures", "model_type", "quantization_config")
"""Keys of config.json that the hub repeats; it tells more of them, which nobody here reads."""


def facts(repo: Repository) -> dict[str, Any]:
    """The blocks `config`, `safetensors` and `gguf`, each where there is something to tell. That of GGUF is told as the settings have it."""
    found = {"config": _config(repo.files), "safetensors": _safetensors(repo.files), "gguf": repo.settings.get("gguf")}
    return {name: told for name, told in found.items() if told}


def _config(files: Sequence[File]) -> dict[str, Any]:
    said = next((_json(file.at.read_bytes()) for file in files if file.path == "config.json"), {})
    return {key: said[key] for key in TOLD_OF_CONFIG if key in said}


def _json(raw: bytes) -> dict[str, Any]:
    """Of what is no JSON object, nothing is told."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _safetensors(files: Sequence[File]) -> dict[str, Any]:
    """Elements by dtype, of the files in the root: model.safetensors, or its shards."""
    parameters: Counter[str] = Counter()
    for file in files:
        if file.path.startswith("model") and file.path.endswith(".safetensors"):
            for tensor in _tensors(file):
                parameters[tensor["dtype"]] += prod(tensor["shape"])
    return {"parameters": dict(parameters), "total": parameters.total()} if parameters else {}


def _tensors(file: File) -> list[dict[str, Any]]:
    """Of a file that is none, none: the hub tells nothing then."""
    with file.at.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8).ljust(8, b"\0"))
        raw = content.read(length) if length < file.size else b"{}"
    return [tensor for name, tensor in _json(raw).items() if name != "__metadata__"]
