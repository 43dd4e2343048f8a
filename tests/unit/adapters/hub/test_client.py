"""The hub's calls: what is learnt of a model, from the hub, from a renamed one, from a mirror that says little, and from what is no hub at all."""

from __future__ import annotations

import httpx
import pytest

from dedicated import __version__
from dedicated.adapters.hub import Asked, HubClient, Token
from dedicated.adapters.hub.client import model_info
from dedicated.adapters.hub.gate import Gate
from dedicated.api.errors import HubUnavailable, InvalidSpec, ModelDisabled, ModelNotFound, RevisionNotFound, WeightsCorrupt
from hack.hub.faults import Fault
from hack.hub.server import Hub as Server
from tests.support.hub import TENSORS, make_facts, make_models, safetensors, serving

TOKEN = Token("hf_goodgoodgood")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_facts(make_models(tmp_path_factory.mktemp("models")))


@pytest.fixture
def server(models):
    return Server(models, {TOKEN.text: ["acme/secret"]})


@pytest.fixture
def url(server):
    with serving(server) as address:
        yield address


@pytest.fixture
async def hub(url):
    client = HubClient(url)
    yield client
    await client.close()


def answering(*answers, gate=None):
    """A client of a hub that gives these answers, one after the other; the last one for ever."""
    left = list(answers)

    def handler(request):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    return HubClient("http://mirror", httpx.AsyncClient(transport=httpx.MockTransport(handler)), gate)


async def test_a_revision_becomes_a_commit_with_files_sizes_and_digests(hub, server):
    info = await hub.info(Asked("acme/tiny", "main"))
    (weights,) = [file for file in info.files if file.path.endswith(".gguf")]
    assert (len(info.commit), weights.size, len(weights.sha256), info.license) == (40, 10 * 1024**2, 64, "apache-2.0")
    assert (info.gated, info.private, info.disabled, info.is_open) == (False, False, False, True)
    assert {headers["User-Agent"] for _, _, headers in server.requests} == {f"dedicated/{__version__}"}


async def test_what_the_hub_says_of_a_model_is_all_taken(hub):
    info = await hub.info(Asked("acme/facts", "v1"))
    assert (info.architecture, info.pipeline_tag, info.license) == ("LlamaForCausalLM", "text-generation", "llama3.1")
    assert (info.parameters, info.parameters_by_dtype) == (68098, {"BF16": 64000, "F8_E4M3": 4096, "F32": 2})
    quantised = await hub.info(Asked("acme/quantised", "main"))
    assert (quantised.architecture, quantised.parameters, quantised.gguf["context_length"]) == ("qwen3", 751632384, 40960)


@pytest.mark.parametrize(
    ("said", "license_"),
    [
        ({"cardData": {"license": "mit"}}, "mit"),
        ({"cardData": {"license": "other", "license_name": "acme-1"}}, "acme-1"),
        ({"cardData": {"license": "other"}}, "other"),
        ({"cardData": {"license": ["mit", "apache-2.0"]}, "tags": ["license:mit"]}, "mit"),
        ({"cardData": None, "tags": ["x", None, "license:gemma"]}, "gemma"),
        ({}, None),
    ],
    ids=["a known one", "the author's own", "another without a name", "several", "a tag only", "none"],
)
def test_a_license_is_read_from_the_card_or_the_tags(said, license_):
    assert model_info({"siblings": [], **said}, "main").license == license_


async def test_metadata_of_a_gated_model_needs_no_token_and_that_of_a_private_one_does(hub):
    assert (await hub.info(Asked("acme/gated", "main"))).gated == "manual"
    with pytest.raises(ModelNotFound, match="does not exist or is private"):
        await hub.info(Asked("acme/secret", "main"))
    assert (await hub.info(Asked("acme/secret", "main", TOKEN))).private


async def test_a_repository_that_was_renamed_is_found_under_its_old_name(hub):
    assert (await hub.info(Asked("acme/renamed", "main"))).architecture == "LlamaForCausalLM"


async def test_a_disabled_model_is_so_whether_the_hub_refuses_it_or_only_says_so(hub):
    with pytest.raises(ModelDisabled):
        await hub.info(Asked("acme/disabled", "main", TOKEN))
    with pytest.raises(ModelDisabled, match="http://mirror/acme/x"):
        await answering(httpx.Response(200, json={"siblings": [], "disabled": True})).info(Asked("acme/x", "main"))


@pytest.mark.parametrize("revision", [".", ".."])
async def test_a_revision_cannot_lead_to_another_place_of_the_hub(revision):
    with pytest.raises(RevisionNotFound):
        await answering(AssertionError("asked")).info(Asked("acme/x", revision))


async def test_a_revision_with_a_slash_is_one_part_of_the_path():
    asked = []

    def handler(request):
        asked.append(request.url.raw_path)
        return httpx.Response(200, json={"siblings": []})

    await answering(handler).info(Asked("acme/x", "refs/pr/1"))
    assert asked == [b"/api/models/acme/x/revision/refs%2Fpr%2F1?blobs=true"]


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "a//b", "."])
async def test_a_file_cannot_lead_to_another_place_of_the_hub(path):
    with pytest.raises(InvalidSpec):
        await answering(AssertionError("asked")).head(Asked("acme/x", "main"), path)


async def test_a_mirror_that_says_little_is_unknown_not_broken():
    info = await answering(httpx.Response(200, json={"siblings": [{"rfilename": "a.gguf"}]}), httpx.Response(404)).info(Asked("acme/x", "v1"))
    assert (info.commit, info.gated, info.license, info.files[0].sized, info.is_open, info.parameters_by_dtype) == (
        "v1",
        None,
        None,
        False,
        False,
        {},
    )


async def test_a_mirror_may_live_below_a_path():
    asked = []

    def handler(request):
        asked.append(request.url.raw_path)
        return httpx.Response(307, headers={"Location": "/api/hf/moved"}) if len(asked) == 1 else httpx.Response(200, json={"siblings": []})

    await HubClient("http://mirror/api/hf/", httpx.AsyncClient(transport=httpx.MockTransport(handler))).info(Asked("acme/x", "main"))
    assert asked == [b"/api/hf/api/models/acme/x/revision/main?blobs=true", b"/api/hf/moved"]


async def test_sizes_that_a_mirror_leaves_out_are_read_from_the_tree():
    tree = [{"type": "directory", "path": "a"}, {"path": "a.gguf", "size": 7}, "odd"]
    hub = answering(httpx.Response(200, json={"siblings": [{"rfilename": "a.gguf"}, {"rfilename": "b"}]}), httpx.Response(200, json=tree))
    info = await hub.info(Asked("acme/x", "v1"))
    assert [(file.size, file.sized) for file in info.files] == [(7, True), (0, False)]


async def test_a_size_that_nobody_tells_is_asked_of_the_storage(models):
    hub = answering(httpx.Response(206, content=b"x", headers={"Content-Range": "bytes 0-0/4711"}))
    info = model_info({"siblings": [{"rfilename": "a"}, {"rfilename": "b", "size": 3}]}, "main")
    assert [file.size for file in await hub.sized(Asked("acme/x", "v1"), info.files)] == [4711, 3]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"siblings": [{}]}),
        httpx.Response(200, json={"siblings": [], "config": "odd"}),
        httpx.Response(200, text="[" * 100_000),
        httpx.ConnectError("refused"),
        httpx.Response(307),
    ],
    ids=["HTML", "nothing", "a list", "a file without a name", "a config that is none", "depth", "refused", "a redirect to nowhere"],
)
async def test_what_is_no_hub_is_the_hub_being_unavailable(answer):
    with pytest.raises(HubUnavailable):
        await answering(answer).info(Asked("acme/x", "main"))


async def test_a_description_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr("dedicated.adapters.hub.client.MOST_INFO", 1000)
    with pytest.raises(HubUnavailable, match="more than 1000 B"):
        await answering(httpx.Response(200, text="x" * 1001)).info(Asked("acme/x", "main"))


async def test_an_answer_that_trickles_is_given_up(server, hub, monkeypatch):
    monkeypatch.setattr("dedicated.adapters.hub.transport.WHOLE_S", 0.2)
    server.faults = [Fault(kind="api", silent=True)]
    with pytest.raises(HubUnavailable, match="TimeoutError"):
        await hub.auth_check(Asked("acme/tiny", "main"))


@pytest.mark.parametrize("path", ["model.safetensors", "config.json"], ids=["from storage", "from the hub"])
async def test_a_span_of_a_file_is_read_and_no_more(hub, server, models, path):
    content = (models / "acme/facts" / path).read_bytes()
    asked = Asked("acme/facts", "main")
    assert await hub.span(asked, path, 0, 10) == content[:10]
    assert await hub.span(asked, path, 5, 10) == content[5:15]
    assert await hub.span(asked, path, len(content) - 3, 10) == content[-3:]
    assert await hub.span(asked, path, len(content), 10) == b""
    assert "bytes=5-14" in [headers.get("Range") for _, _, headers in server.requests]


async def test_a_mirror_that_knows_no_ranges_still_gives_the_span():
    content = safetensors(TENSORS)
    hub = answering(httpx.Response(200, content=content))
    assert await hub.span(Asked("acme/x", "main"), "model.safetensors", 8, 20) == content[8:28]


async def test_a_file_that_is_listed_and_not_there_is_said_to_be_missing(hub):
    with pytest.raises(WeightsCorrupt, match=r"has no file none\.safetensors at main"):
        await hub.span(Asked("acme/facts", "main"), "none.safetensors", 0, 10)


async def test_a_call_that_a_mirror_lacks_tells_nothing():
    for status in (404, 405, 501):
        hub = answering(httpx.Response(status))
        asked = Asked("acme/x", "main", TOKEN)
        assert (await hub.whoami(asked), await hub.auth_check(asked), await hub.head(asked, "a.gguf")) == (None, False, False)


async def test_a_missing_repository_is_no_missing_call():
    with pytest.raises(ModelNotFound):
        await answering(httpx.Response(404, headers={"X-Error-Code": "RepoNotFound"})).auth_check(Asked("acme/x", "main", TOKEN))


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="x" * 70_000), httpx.Response(302, headers={"Location": "ftp://x"})], ids=["too long", "another protocol"]
)
async def test_an_odd_answer_for_one_model_keeps_nobody_else_waiting(answer):
    gate = Gate()
    hub = answering(answer, gate=gate)
    with pytest.raises(HubUnavailable, match="no answer that can be used"):
        await hub.auth_check(Asked("acme/x", "main"))
    gate.check(("reach", False))
