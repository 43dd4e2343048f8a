"""What a model's own files say, in a folder or on a hub: the best source wins, and damage is one sentence."""

from __future__ import annotations

import json

import pytest

from dedicated.adapters.hub_files import HubFiles
from dedicated.adapters.model_files import Folder, facts_from
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import HubUnavailable, InvalidSpec, ModelNotFound, TokenMissing, WeightsCorrupt
from dedicated.planner.stored import Source
from hack.hub.server import Hub as Server
from tests.support.checkpoints import gguf, index, safetensors, with_config
from tests.support.hub import serving

QWEN = "Qwen/Qwen3-0.6B"
LLAMA_GGUF = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.block_count": 16,
    "llama.embedding_length": 2048,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.context_length": 8192,
    "tokenizer.ggml.tokens": [f"token-{number}" for number in range(5000)],
}


def facts(path, engine=None):
    found, _ = facts_from(Folder(path), engine)
    return found


def test_a_config_alone_is_enough(tmp_path):
    found = facts(with_config(tmp_path, QWEN))
    assert found.source is Source.CONFIG and found.layers == 28


def test_an_index_goes_before_arithmetic(tmp_path):
    found = facts(index(with_config(tmp_path, QWEN), 1_503_264_768, "model.layers.27.mlp.up_proj.weight", "lm_head.weight"))
    assert (found.source, found.stored_bytes) == (Source.INDEX, 1_503_264_768)
    assert found.loaded_bytes < 1_200_000_000  # the head is a copy of the tied embeddings


def test_without_an_index_the_headers_of_the_files_are_read(tmp_path):
    with_config(tmp_path, QWEN)
    safetensors(tmp_path / "model-00001-of-00002.safetensors", {"model.layers.0.mlp.up_proj.weight": ("BF16", [10, 10], 200)})
    safetensors(tmp_path / "model-00002-of-00002.safetensors", {"model.layers.1.mlp.up_proj.weight": ("F32", [10, 10], 400)})
    found = facts(tmp_path)
    assert (found.source, found.stored_bytes, found.loaded_bytes) == (Source.HEADERS, 600, 400)


def test_copies_of_the_weights_are_not_counted_twice(tmp_path):
    with_config(tmp_path, QWEN)
    one = {"model.layers.0.mlp.up_proj.weight": ("BF16", [10, 10], 200)}
    (tmp_path / "original").mkdir()
    names = ("model.safetensors", "model.fp32-00001-of-00001.safetensors", "consolidated.safetensors", "original/model.safetensors")
    for name in names:
        safetensors(tmp_path / name, one)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 999)
    assert facts(tmp_path).stored_bytes == 200


def test_files_without_headers_are_known_by_their_size(tmp_path):
    with_config(tmp_path, QWEN)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x" * 999)
    assert (facts(tmp_path).source, facts(tmp_path).stored_bytes) == (Source.FILES, 999)


@pytest.mark.parametrize(
    ("name", "said", "method"),
    [
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "modelopt"),
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "gptq"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 64}, "awq"),
    ],
)
def test_a_quantisation_that_stands_in_a_file_of_its_own_is_found(tmp_path, name, said, method):
    (with_config(tmp_path, QWEN) / name).write_text(json.dumps(said))
    assert facts(tmp_path).quantization.name == method


def test_a_gguf_file_tells_its_shape_and_asks_for_llamacpp(tmp_path):
    found, engine = facts_from(Folder(gguf(tmp_path / "tiny-Q4_K_M.gguf", LLAMA_GGUF)), None)
    assert engine is EngineKind.LLAMACPP
    assert (found.layers, found.kv_heads, found.vocab, found.stored_bytes) == (16, 8, 5000, (tmp_path / "tiny-Q4_K_M.gguf").stat().st_size)


def test_shards_of_a_gguf_model_count_together(tmp_path):
    first = gguf(tmp_path / "big-00001-of-00002.gguf", LLAMA_GGUF)
    (tmp_path / "big-00002-of-00002.gguf").write_bytes(b"x" * 1000)
    assert facts(first).stored_bytes == facts(tmp_path).stored_bytes == first.stat().st_size + 1000


def test_several_gguf_models_are_asked_about(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        gguf(tmp_path / name, LLAMA_GGUF)
    with pytest.raises(InvalidSpec, match="holds 2 GGUF models"):
        facts(tmp_path)


def test_mistrals_own_params_are_read_where_there_is_no_config(tmp_path):
    params = {"dim": 5120, "n_layers": 40, "head_dim": 128, "hidden_dim": 32768, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 131_072}
    (tmp_path / "params.json").write_text(json.dumps({**params, "max_position_embeddings": 131_072}))
    assert facts(tmp_path).stored_bytes == pytest.approx(47_144_806_400, rel=1e-3)
    moe = {"num_experts": 128, "expert_hidden_dim": 4096, "num_shared_experts": 1, "first_k_dense_replace": 3}
    latent = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
    large = {**params, **latent, "dim": 7168, "n_layers": 61, "n_heads": 128, "hidden_dim": 16384, "moe": moe}
    (tmp_path / "params.json").write_text(json.dumps({**large, "quantization": {"qformat_weight": "fp8_e4m3"}}))
    assert facts(tmp_path).stored_bytes == pytest.approx(675e9, rel=0.01)


def test_a_config_may_be_named_itself(tmp_path):
    assert facts(with_config(tmp_path, QWEN) / "config.json").layers == 28


def test_patterns_of_the_endpoint_choose_among_the_files(tmp_path):
    with_config(tmp_path, QWEN)
    for name, size in (("model.safetensors", 8), ("other.safetensors", 80)):
        safetensors(tmp_path / name, {"model.layers.0.a": ("BF16", [size // 2], size)})
    found, _ = facts_from(Folder(tmp_path), None, include=["other.safetensors", "*.json"])
    assert found.stored_bytes == 80


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])
    return path


def damaged_header(folder):
    with_config(folder, QWEN)
    cut(safetensors(folder / "model.safetensors", {"a": ("BF16", [1], 2)}), 30)


def damaged_index(folder):
    with_config(folder, QWEN)
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}}')


def missing_shard(folder):
    with_config(folder, QWEN)
    safetensors(folder / "model-00001-of-00002.safetensors", {"a": ("BF16", [1], 2)})


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda folder: None, InvalidSpec, "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), WeightsCorrupt, "config.json in .* is not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), WeightsCorrupt, "is no JSON object"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), WeightsCorrupt, "is not JSON"),
        (damaged_header, WeightsCorrupt, "the header of model.safetensors is cut off or damaged"),
        (missing_shard, WeightsCorrupt, "1 of 2 shards of the weights are there"),
        (damaged_index, WeightsCorrupt, "tells neither metadata.total_size nor files"),
        (lambda folder: (folder / "x.gguf").write_bytes(b"PK\x03\x04"), WeightsCorrupt, "x.gguf is no GGUF file"),
        (lambda folder: cut(gguf(folder / "x.gguf", LLAMA_GGUF), 90), WeightsCorrupt, "the head of x.gguf is cut off or damaged"),
        (lambda folder: gguf(folder / "x.gguf", LLAMA_GGUF, version=9), WeightsCorrupt, "is of GGUF version 9"),
    ],
    ids=[
        "nothing",
        "broken JSON",
        "a list",
        "no text",
        "cut header",
        "a shard missing",
        "empty index",
        "another format",
        "cut GGUF",
        "GGUF of tomorrow",
    ],
)
def test_damage_is_one_sentence(tmp_path, damage, error, says):
    damage(tmp_path)
    with pytest.raises(error, match=says):
        facts(tmp_path)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InvalidSpec, match="nowhere does not exist"):
        Folder(tmp_path / "nowhere")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    index(with_config(root / "acme" / "llama", "meta-llama/Llama-3.2-1B-Instruct"), 2_471_628_800)
    safetensors(with_config(root / "acme" / "small", QWEN) / "model.safetensors", {"model.layers.0.a": ("BF16", [4], 8)})
    (root / "acme" / "gguf").mkdir()
    gguf(root / "acme" / "gguf" / "tiny.gguf", LLAMA_GGUF)
    (with_config(root / "acme" / "gated", QWEN) / ".hub.yaml").write_text("gated: manual\n")
    with serving(Server(root)) as url:
        yield url


def repository(url, repo, cache, *, offline=False):
    return HubFiles(url, repo, "main", token=None, cache=cache, offline=offline)


@pytest.mark.parametrize(("repo", "source"), [("acme/llama", Source.INDEX), ("acme/small", Source.HEADERS), ("acme/gguf", Source.FILES)])
def test_a_repository_tells_the_same_as_a_folder_and_again_without_a_hub(hub, tmp_path, repo, source):
    first, _ = facts_from(repository(hub, repo, tmp_path), None)
    again, _ = facts_from(repository(hub, repo, tmp_path, offline=True), None)
    assert first == again and first.source is source


def test_offline_needs_to_have_read_it_before(hub, tmp_path):
    with pytest.raises(HubUnavailable, match="was never read"):
        repository(hub, "acme/llama", tmp_path, offline=True)
    files = repository(hub, "acme/llama", tmp_path)
    offline = repository(hub, "acme/llama", tmp_path, offline=True)
    assert [file.path for file in offline.files()] == [file.path for file in files.files()]
    with pytest.raises(HubUnavailable, match=r"config\.json of acme/llama was never read"):
        offline.read("config.json")


def test_a_part_of_a_file_is_read_as_a_part(hub, tmp_path):
    files = repository(hub, "acme/llama", tmp_path)
    whole = files.read("config.json")
    assert files.read("config.json", 5, 10) == whole[5:15]
    assert files.read("config.json", len(whole), 10) == b""


def test_what_the_hub_refuses_is_told_as_it_is(hub, tmp_path):
    with pytest.raises(ModelNotFound):
        repository(hub, "acme/none", tmp_path)
    with pytest.raises(TokenMissing):
        facts_from(repository(hub, "acme/gated", tmp_path), None)


def test_a_cache_that_cannot_be_written_costs_only_time(hub, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found, _ = facts_from(repository(hub, "acme/llama", tmp_path / "file"), None)
    assert found.layers == 16


def test_a_hub_that_does_not_answer_is_one_sentence(tmp_path):
    with pytest.raises(HubUnavailable, match="cannot be reached"):
        repository("http://127.0.0.1:9", "acme/llama", tmp_path)
