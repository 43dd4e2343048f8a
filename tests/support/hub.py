"""A hub over a small folder of models, in a thread of its own so that the blocking huggingface_hub client can be used on it too."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from aiohttp import web

from hack.hub.server import Hub

WEIGHTS = bytes(range(256)) * (40 * 1024)
"""10 MiB: large-file storage."""


def make_models(root: Path) -> Path:
    """acme/tiny (GGUF), acme/sharded (safetensors and leftovers), acme/gated, acme/secret and acme/disabled."""
    write_repo(root, "acme/tiny", {"tiny.gguf": WEIGHTS, "README.md": b"# tiny\n", ".hub.yaml": b"license: apache-2.0\n"})
    shards = {f"model-0000{n}-of-00002.safetensors": WEIGHTS[: n * 1000] for n in (1, 2)}
    small = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "tokenizer.json": b"{}"}
    write_repo(root, "acme/sharded", {**shards, **small, "original/consolidated.safetensors": WEIGHTS, "pytorch_model.bin": WEIGHTS})
    write_repo(root, "acme/gated", {"model.gguf": b"x" * 100, ".hub.yaml": b"gated: manual\n"})
    write_repo(root, "acme/secret", {"model.gguf": b"x" * 100, ".hub.yaml": b"private: true\n"})
    write_repo(root, "acme/disabled", {"model.gguf": b"x" * 100, ".hub.yaml": b"disabled: true\n"})
    return root


TENSORS = {"embed": ("BF16", (1000, 64)), "layers.0.w": ("F8_E4M3", (64, 64)), "layers.0.s": ("F32", (2,))}
_ELEMENT_BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1}


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]], *, padding: int = 0) -> bytes:
    """A real file with these tensors, all zero. (padding: so many bytes more of header, as a model of many tensors has)"""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", "padding": "x" * padding}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + prod(shape) * _ELEMENT_BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(end)


def make_facts(root: Path) -> Path:
    """
    acme/facts (config.json, one safetensors file), acme/shards (an index and two, the first with a header longer than 100 kB), acme/renamed.

    All for who reads what a model is made of.
    """
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64}
    settings = b"license: llama3.1\npipeline_tag: text-generation\ntags: [v1]\n"
    write_repo(root, "acme/facts", {"config.json": json.dumps(config).encode(), "model.safetensors": safetensors(TENSORS), ".hub.yaml": settings})
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 256}, "weight_map": names}
    shards = {names["a"]: safetensors({"a": ("BF16", (64,))}, padding=150_000), names["b"]: safetensors({"b": ("BF16", (64,))})}
    write_repo(root, "acme/shards", {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode(), **shards})
    write_repo(root, "acme/renamed", {".hub.yaml": b"moved_to: acme/facts\n"})
    write_repo(root, "acme/quantised", {"q4.gguf": b"GGUF", ".hub.yaml": b"gguf: {architecture: qwen3, context_length: 40960, total: 751632384}\n"})
    return root


def write_repo(root: Path, repo_id: str, files: Mapping[str, bytes]) -> None:
    """A repository of these files."""
    for name, content in files.items():
        path = root / repo_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The hub's URL while it serves on loopback."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(hub.app())
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    port = runner.addresses[0][1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
