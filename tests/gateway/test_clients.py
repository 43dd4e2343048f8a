"""The clients that people use: the openai package, and curl."""

from __future__ import annotations

import json
import subprocess

import openai
import pytest
from aiohttp import web

from dedicated.adapters.kinds import ENDPOINT_SLICE
from dedicated.render.isolation import engine_key
from hack.cluster.processes import free_port
from hack.images.build import stub_program
from tests.gateway.conftest import ALICE, BOB, ELASTIC, settle
from tests.support.cluster import wait_until
from tests.support.engine import sends
from tests.support.gateway import SYSTEM_KEY, TEAM, a_slice, an_endpoint


@pytest.fixture
def stub(world):
    """The stub engine in place of the endpoint that is up: it demands its key and knows one model name."""
    port = free_port()
    up = an_endpoint("is-up")
    key = engine_key(SYSTEM_KEY, up["metadata"]["uid"])
    arguments = [f"--port={port}", f"--served-model-name={world.ids['up']}", f"--api-key={key}", "--tokens-per-second=500"]
    process = subprocess.Popen([stub_program(), *arguments], stdout=subprocess.DEVNULL)
    world.api.put(a_slice(up, "127.0.0.1", port=port))
    settle(world)
    wait_until("the stub to answer", lambda: world.gateway.chat(world.ids["up"], ALICE).status == 200, 10)
    yield world.ids["up"]
    process.kill()
    process.wait()


def test_an_address_that_another_endpoint_has_by_now_answers_nothing(world, stub):
    bobs = an_endpoint("bobs", owner="bob")
    port = int(next(iter(world.api.get(ENDPOINT_SLICE, TEAM, a_slice(an_endpoint("is-up"), port=1)["metadata"]["name"])["ports"]))["port"])
    world.api.put(a_slice(bobs, "127.0.0.1", port=port))
    settle(world)
    reply = world.gateway.chat(world.ids["bobs"], BOB)
    assert (reply.status, reply.error) == (401, "Unauthorized")  # the engine demands its own key, and bob's endpoint has another


def client(world, key=ALICE, path="/v1", **more):
    return openai.OpenAI(api_key=key, base_url=f"http://127.0.0.1:{world.gateway.port}{path}", **{"max_retries": 0, **more})


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("by_path", [False, True], ids=["by model", "by path"])
def test_openai_chats_and_streams(world, stub, by_path):
    asked = client(world, path=f"/api/d/{stub}/v1" if by_path else "/v1").chat.completions
    assert asked.create(model=stub, messages=MESSAGES).choices[0].message.content.startswith("token0 token1")
    pieces = [chunk.choices[0].delta.content for chunk in asked.create(model=stub, messages=MESSAGES, stream=True)]
    assert "".join(piece or "" for piece in pieces) == "".join(f"token{number} " for number in range(16))


def test_openai_sees_the_catalogue_and_calls_by_its_names(world):
    names = [model.id for model in client(world).models.list()]
    assert ELASTIC in names and world.ids["up"] in names and world.ids["bobs"] not in names
    world.other.behave = sends(200, b'{"id": "1", "object": "chat.completion", "created": 1, "model": "x", "choices": []}')
    big = [{"role": "user", "content": "ü" * 500_000}]
    client(world).chat.completions.create(model=ELASTIC, messages=big)
    got = world.other.received[0]
    assert got.model == world.ids["shared"] and json.loads(got.body)["messages"] == big
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize(
    ("model", "key", "error", "says"),
    [
        ("is-up", BOB, openai.PermissionDeniedError, "Unauthorized access to dedicated endpoint"),
        ("is-up", "dk-wrong", openai.AuthenticationError, "Invalid API key"),
        ("No Such", ALICE, openai.NotFoundError, "Model 'No Such' is not in the catalogue."),
    ],
    ids=["another's endpoint", "a wrong key", "no such model"],
)
def test_openai_raises_what_it_means(world, model, key, error, says):
    with pytest.raises(error, match=says):
        client(world, key).chat.completions.create(model=world.ids["up"] if model == "is-up" else model, messages=MESSAGES)


def test_openai_comes_again_after_503_as_retry_after_says(world):
    answers = iter([503, 200])

    async def later(_request, _body):
        if next(answers) == 503:
            return web.json_response({"error": "x"}, status=429)
        return web.json_response({"id": "1", "object": "chat.completion", "created": 1, "model": "x", "choices": []})

    world.engine.behave = later
    client(world, max_retries=2).chat.completions.create(model=world.ids["up"], messages=MESSAGES)
    assert len(world.engine.received) == 2
    with pytest.raises(openai.InternalServerError) as refused:
        client(world).chat.completions.create(model=world.ids["sleeping"], messages=MESSAGES)
    assert refused.value.status_code == 503 and refused.value.response.headers["retry-after"] == "10"


def test_curl_streams_over_http_1_and_2(world, stub):
    body = json.dumps({"model": stub, "messages": MESSAGES, "stream": True})
    for version in ("--http1.1", "--http2-prior-knowledge"):
        reply = world.gateway.curl("/v1/chat/completions", version, "-H", f"Authorization: Bearer {ALICE}", "-d", body)
        assert reply.status == 200 and reply.body.endswith(b"data: [DONE]\n\n") and reply.body.count(b"data: ") == 18
