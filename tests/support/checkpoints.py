"""Checkpoints without weights: what their files say, and nothing behind it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tests.support.models import config_of


def with_config(folder: Path, repo: str, **changes: Any) -> Path:
    """A folder with the config.json of a repository; keyword arguments replace its fields."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config_of(repo), **changes}))
    return folder


def index(folder: Path, total_size: int, *tensors: str) -> Path:
    """A safetensors index in a folder."""
    weight_map = dict.fromkeys(tensors or ("model.embed_tokens.weight",), "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total_size}, "weight_map": weight_map}))
    return folder


def safetensors(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> Path:
    """A safetensors file that ends after its header. (tensors: type, shape, bytes by name)"""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


_UINT32, _FLOAT32, _TEXT, _LIST = 4, 6, 8, 9


def gguf(path: Path, metadata: dict[str, Any], version: int = 3) -> Path:
    """A GGUF file that ends after its key-value pairs."""
    pairs = b"".join(_text(key) + _typed(value) for key, value in metadata.items())
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, len(metadata)) + pairs)
    return path


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _typed(value: Any) -> bytes:
    kind, raw = _value(value)
    return struct.pack("<I", kind) + raw


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, str):
        return _TEXT, _text(value)
    if isinstance(value, float):
        return _FLOAT32, struct.pack("<f", value)
    if isinstance(value, list):
        parts = [_value(item) for item in value]
        return _LIST, struct.pack("<IQ", parts[0][0], len(parts)) + b"".join(raw for _, raw in parts)
    return _UINT32, struct.pack("<I", value)
