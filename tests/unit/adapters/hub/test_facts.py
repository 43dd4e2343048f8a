"""What a model is made of, read from its files at a commit: once, in few bytes, and never trusted to be what it claims."""

from __future__ import annotations

import json
import struct

import pytest

from dedicated.adapters.hub import Hub, Token
from dedicated.api.errors import DedicatedError, WeightsCorrupt
from dedicated.api.reasons import Reason
from hack.hub.server import Hub as Server
from tests.support.gguf import a_gguf
from tests.support.hub import TENSORS, make_facts, make_models, safetensors, serving, write_repo

TOKEN = Token("hf_good", "Secret hub-token (key HF_TOKEN)")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = make_facts(make_models(tmp_path_factory.mktemp("models")))
    big = a_gguf(vocabulary=30_000, file_type_last=True)
    write_repo(root, "acme/q4", {"q4.gguf": big + bytes(1_000_000), "broken.gguf": b"GGUF\x01\0\0\0", "none.gguf": b""})
    huge = struct.pack("<Q", 25_000_001) + b"{}"
    files = {"huge.safetensors": huge, "html.safetensors": b"<!DOCTYPE html>" * 10, "short.safetensors": safetensors(TENSORS)[:100]}
    write_repo(root, "acme/odd", {**files, "config.json": b"<html>", "list.json": b"[]", "deep.json": b"[" * 100_000})
    write_repo(root, "acme/locked", {"config.json": b"{}", "model.safetensors": safetensors(TENSORS), ".hub.yaml": b"gated: auto\n"})
    return root


@pytest.fixture
def server(models):
    return Server(models, {TOKEN.text: ["acme/locked"]})


@pytest.fixture
def url(server):
    with serving(server) as address:
        yield address


@pytest.fixture
async def hub(url):
    found = Hub(url)
    yield found
    await found.close()


async def commit(hub, repo):
    return (await hub.resolve(repo, "main")).commit


def read(server):
    """Files that were asked for, with the ranges."""
    return [(path.rpartition("/")[2], headers.get("Range")) for _, path, headers in server.requests if "/resolve/" in path]


async def test_config_and_index_are_read_once_per_commit(hub, server):
    at = await commit(hub, "acme/shards")
    for _ in range(3):
        assert await hub.file_json("acme/shards", at, "config.json") == {}
        assert (await hub.file_json("acme/shards", at, "model.safetensors.index.json"))["metadata"]["total_size"] == 256
    assert len(read(server)) == 2


async def test_a_file_that_is_not_there_is_none_and_that_is_remembered_too(hub, server):
    at = await commit(hub, "acme/tiny")
    assert [await hub.file_json("acme/tiny", at, "config.json") for _ in range(2)] == [None, None]
    assert len(read(server)) == 1


async def test_what_lies_at_a_branch_is_read_each_time(hub, server):
    for _ in range(2):
        await hub.file_json("acme/facts", "main", "config.json")
    assert len(read(server)) == 2


async def test_a_header_is_read_in_one_request(hub, server):
    header = await hub.safetensors_header("acme/facts", await commit(hub, "acme/facts"), "model.safetensors")
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in header.tensors} == TENSORS
    assert (header.weight_bytes, dict(header.bytes_by_dtype)) == (132_104, {"BF16": 128_000, "F8_E4M3": 4096, "F32": 8})
    assert read(server) == [("model.safetensors", "bytes=0-100000")]


async def test_a_long_header_is_read_in_two_requests_and_no_byte_twice(hub, server):
    header = await hub.safetensors_header("acme/shards", await commit(hub, "acme/shards"), "model-00001-of-00002.safetensors")
    assert header.weight_bytes == 128
    (_, first), (_, rest) = read(server)
    assert first == "bytes=0-100000" and rest.startswith("bytes=100001-150")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("huge.safetensors", "claims 25000001 bytes"),
        ("html.safetensors", "claims"),
        ("short.safetensors", "cannot be read"),
    ],
    ids=["a header too long", "HTML", "a file that ends in its header"],
)
async def test_a_file_that_is_not_what_its_name_says_is_corrupt(hub, path, says):
    with pytest.raises(WeightsCorrupt, match=says) as raised:
        await hub.safetensors_header("acme/odd", await commit(hub, "acme/odd"), path)
    assert path in raised.value.message


@pytest.mark.parametrize("path", ["config.json", "list.json", "deep.json"])
async def test_a_config_that_is_no_object_is_corrupt(hub, path):
    with pytest.raises(WeightsCorrupt, match=path):
        await hub.file_json("acme/odd", await commit(hub, "acme/odd"), path)


async def test_a_gguf_header_is_read_in_steps_until_it_is_known(hub, server):
    header = await hub.gguf_header("acme/q4", await commit(hub, "acme/q4"), "q4.gguf")
    assert (header.architecture, header.block_count, header.vocab_size, header.file_type, header.complete) == ("llama", 32, 30_000, 15, True)
    assert read(server) == [("q4.gguf", "bytes=0-262143"), ("q4.gguf", "bytes=262144-2097151")]


@pytest.mark.parametrize("path", ["broken.gguf", "none.gguf"])
async def test_a_gguf_file_that_is_none_is_corrupt(hub, path):
    with pytest.raises(WeightsCorrupt, match=path):
        await hub.gguf_header("acme/q4", await commit(hub, "acme/q4"), path)


async def test_facts_of_a_gated_model_are_read_with_a_token_that_opens_it_and_refused_as_access_is(hub):
    at = await commit(hub, "acme/locked")
    assert await hub.file_json("acme/locked", at, "config.json", TOKEN) == {}
    assert (await hub.safetensors_header("acme/locked", at, "model.safetensors", TOKEN)).weight_bytes == 132_104
    for asked in (hub.file_json("acme/locked", at, "config.json"), hub.safetensors_header("acme/locked", at, "model.safetensors")):
        with pytest.raises(DedicatedError) as raised:
            await asked
        assert raised.value.reason is Reason.TOKEN_MISSING


async def test_the_tests_own_header_is_one_that_the_format_allows():
    raw = safetensors(TENSORS)
    (length,) = struct.unpack("<Q", raw[:8])
    assert json.loads(raw[8 : 8 + length])["embed"]["data_offsets"] == [0, 128_000]
