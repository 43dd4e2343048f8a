"""A hub token goes to the hub and nowhere else: not into messages, representations, tracebacks, logs or other hosts."""

from __future__ import annotations

import logging
import traceback

import httpx
import pytest

from dedicated.adapters.hub import Asked, Hub, HubClient, Token
from dedicated.adapters.hub.transport import no_cookies
from dedicated.api.errors import DedicatedError, HubUnavailable, TokenInvalid
from hack.hub.server import Hub as Server
from tests.support.hub import make_facts, make_models, serving

TEXT = "hf_neverToBeSeenAnywhere"
TOKEN = Token(TEXT, "Secret hub-token (key HF_TOKEN)")


def leaks(found: BaseException) -> bool:
    """Whether the token is anywhere in what a log would hold of this error, causes included."""
    seen: BaseException | None = found
    texts = traceback.format_exception(found)
    while seen is not None:
        texts += [str(seen), repr(seen), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return any(TEXT in text for text in texts)


@pytest.mark.parametrize(
    "shown", [repr, str, "{0}".format, lambda token: repr(Asked("acme/x", "main", token))], ids=["repr", "str", "format", "asked"]
)
def test_a_token_shows_where_it_is_from_and_not_what_it_is(shown):
    assert TEXT not in shown(TOKEN)
    assert "hub-token" in shown(TOKEN)


@pytest.mark.parametrize("text", ["", "hf_a b", "hf_a\nInjected: yes", "hf_é", "\ud800", "x" * 513])
def test_what_cannot_be_sent_in_a_header_is_no_token_and_is_not_repeated(text):
    with pytest.raises(TokenInvalid) as raised:
        Token(text, "Secret hub-token (key HF_TOKEN)")
    assert "Secret hub-token" in raised.value.message
    assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.Response(302, headers={"Location": "ftp://elsewhere/x"}),
        httpx.Response(302, headers={"Location": "https://[bad"}),
        httpx.Response(302, headers={"Location": "/api/models/acme/x/revision/main"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, content=b"x", headers={"Content-Encoding": "gzip"}),
        httpx.Response(403, json={"error": f"no {TEXT}"}),
        httpx.Response(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"}),
        httpx.Response(500, text=TEXT),
    ],
    ids=["refused", "late", "another protocol", "no address", "a circle", "HTML", "broken gzip", "repeated", "invalid", "broken"],
)
async def test_no_failure_repeats_the_token(answer, caplog):
    def handler(request):
        if isinstance(answer, Exception):
            answer.request = request
            raise answer
        return answer

    hub = HubClient("http://hub", httpx.AsyncClient(transport=httpx.MockTransport(handler)))
    with caplog.at_level(logging.DEBUG), pytest.raises(DedicatedError) as raised:
        await hub.info(Asked("acme/x", "main", TOKEN))
    assert not leaks(raised.value) and TEXT not in caplog.text


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_facts(make_models(tmp_path_factory.mktemp("models")))


@pytest.fixture
def servers(models):
    """A hub, and the storage that it leads to."""
    storage = Server(models)
    with serving(storage) as elsewhere:
        hub = Server(models, {TEXT: ["acme"]}, content_host=elsewhere.removeprefix("http://"))
        with serving(hub) as url:
            yield url, hub, storage


async def test_the_token_goes_along_to_the_hub_and_not_to_the_storage_that_it_leads_to(servers):
    url, server, storage = servers
    hub = Hub(url)
    info = await hub.resolve("acme/renamed", "main", TOKEN)
    await hub.safetensors_header("acme/facts", info.commit, "model.safetensors", TOKEN)
    await hub.close()
    assert [path for _, path, headers in server.requests if headers.get("Authorization") != f"Bearer {TEXT}"] == []
    assert len(storage.requests) == 1 and "Authorization" not in storage.requests[0][2]


async def test_a_cookie_of_the_hub_is_not_kept():
    cookies = []

    def handler(request):
        cookies.append(request.headers.get("Cookie"))
        return httpx.Response(200, json={"siblings": []}, headers={"Set-Cookie": "session=alice"})

    client = httpx.AsyncClient(transport=httpx.MockTransport(handler), cookies=no_cookies())
    for _ in range(2):
        await HubClient("http://hub", client).info(Asked("acme/x", "main", TOKEN))
    assert cookies == [None, None]


async def test_credentials_in_the_address_of_a_mirror_are_not_shown():
    hub = HubClient("http://user:hunter22@127.0.0.1:9")
    with pytest.raises(HubUnavailable) as raised:
        await hub.info(Asked("acme/x", "main"))
    await hub.close()
    assert "hunter22" not in raised.value.message and "http://127.0.0.1:9" in raised.value.message
