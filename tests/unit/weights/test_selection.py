"""Which files an engine needs: one form of the weights, and a question where there is a choice."""

from __future__ import annotations

import pytest

from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec
from dedicated.weights.selection import RepoFile, wanted_files

GIB = 1024**3


def files(*paths, size=GIB):
    return [RepoFile(path, size if path.endswith((".safetensors", ".bin", ".gguf")) else 100) for path in paths]


def names(selection):
    return [file.path for file in selection.files]


def test_weights_that_ship_twice_are_counted_once():
    shards = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    twice = files("config.json", *shards, "original/model.safetensors", "metal/model.bin", "pytorch_model.bin", "consolidated.safetensors")
    chosen = wanted_files(twice, engine=EngineKind.VLLM)
    assert names(chosen) == ["config.json", *shards]
    assert chosen.weight_bytes == 2 * GIB


def test_a_gguf_repository_of_one_model_needs_that_file_alone():
    chosen = wanted_files(files("README.md", "m-Q4_K_M.gguf", "mmproj-f16.gguf"), engine=EngineKind.LLAMACPP)
    assert (names(chosen), chosen.entry) == (["m-Q4_K_M.gguf"], "m-Q4_K_M.gguf")


def test_several_quantisations_ask_for_a_choice_and_list_it():
    repo = files("m-Q4_K_M.gguf", "m-Q8_0.gguf")
    with pytest.raises(InvalidSpec, match=r"include to one of: m-Q4_K_M.gguf \(1.0 GiB\), m-Q8_0.gguf"):
        wanted_files(repo, engine=EngineKind.LLAMACPP)
    assert wanted_files(repo, engine=EngineKind.LLAMACPP, include=["*Q8_0*"]).entry == "m-Q8_0.gguf"


def test_all_shards_of_a_split_gguf_belong_together_and_the_first_is_opened():
    shards = [f"q8/m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    chosen = wanted_files(files(*shards), engine=EngineKind.LLAMACPP)
    assert (names(chosen), chosen.entry, chosen.weight_bytes) == (shards, shards[0], 3 * GIB)
    with pytest.raises(InvalidSpec, match="2 of 3 shards"):
        wanted_files(files(*shards), engine=EngineKind.LLAMACPP, exclude=["*00002*"])


def test_patterns_that_leave_nothing_are_an_error_not_an_empty_pod():
    with pytest.raises(InvalidSpec, match="none of the repository's 1 files"):
        wanted_files(files("a.gguf"), engine=EngineKind.CUSTOM, include=["*.bin"])


def test_a_custom_engine_gets_everything_that_is_not_excluded():
    chosen = wanted_files(files("a.bin", "b/c.json", "b/d.bin"), engine=EngineKind.CUSTOM, exclude=["b/"])
    assert names(chosen) == ["a.bin"]


def test_a_repository_without_gguf_says_what_llamacpp_needs():
    with pytest.raises(InvalidSpec, match="no GGUF file"):
        wanted_files(files("model.safetensors"), engine=EngineKind.LLAMACPP)
