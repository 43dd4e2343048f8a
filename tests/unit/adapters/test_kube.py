"""What is asked of the API server: of Secrets that are watched nothing but metadata."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from dedicated.adapters.kinds import POD, SECRET
from dedicated.adapters.kube import KubeApi
from tests.support.process import kubeconfig_for

META = {"metadata": {"name": "hub-token", "uid": "s1", "resourceVersion": "7"}}


@pytest.fixture
async def api(tmp_path):
    """A KubeApi of a server that knows one object of each kind and keeps in `accepts` how it was asked."""
    accepts, watched = [], [META]

    async def answer(request):
        accepts.append(request.headers["Accept"])
        if "watch" in request.query:
            return web.Response(body=b"".join(json.dumps({"type": "MODIFIED", "object": one}).encode() + b"\n" for one in watched))
        return web.json_response(META if request.path.endswith("hub-token") else {"items": [META], "metadata": {"resourceVersion": "9"}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kube = await KubeApi.connect(str(kubeconfig_for(f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path / "kubeconfig")))
    kube.accepts, kube.watched = accepts, watched
    yield kube
    await kube.close()
    await runner.cleanup()


@pytest.mark.parametrize(("kind", "metadata_only"), [(SECRET, True), (POD, False)], ids=["secrets", "pods"])
async def test_a_list_and_a_watch_take_the_data_of_no_secret_off_the_api_server(api, kind, metadata_only):
    seen = []
    assert await api.snapshot(kind, seen.append) == ({"s1"}, "9")
    seen += [event["object"] async for event in api.watch(kind, "9", 5)]
    assert seen == [META, META]
    assert ["PartialObjectMetadata" in accept for accept in api.accepts] == [metadata_only, metadata_only]
    assert [";as=PartialObjectMetadataList;" in accept for accept in api.accepts] == [metadata_only, False]


async def test_the_largest_object_that_there_can_be_comes_through_a_watch(api):
    """etcd takes requests of 1.5 MiB; as JSON, with what the API server adds, it stays below twice that."""
    api.watched[:] = [{**META, "spec": "x" * 3 * 1024 * 1024}, META]
    assert [event["object"] async for event in api.watch(POD, "9", 5)] == api.watched


async def test_the_labels_of_one_object_can_be_read_without_the_rest(api):
    assert await api.get(SECRET, "team-a", "hub-token", metadata_only=True) == META
    await api.get(SECRET, "team-a", "hub-token")
    assert [";as=PartialObjectMetadata;" in accept for accept in api.accepts] == [True, False]


@pytest.fixture
async def talking(tmp_path):
    """A KubeApi whose pods have one log, set by the test, and that counts what was sent of it."""
    said = {"text": b"", "query": {}}

    async def answer(request):
        said["query"] = dict(request.query)
        lines = said["text"].split(b"\n")[-int(request.query["tailLines"]) :]
        return web.Response(body=b"\n".join(lines)[: int(request.query.get("limitBytes", 1 << 40))])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kube = await KubeApi.connect(str(kubeconfig_for(f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path / "kubeconfig")))
    yield kube, said
    await kube.close()
    await runner.cleanup()


async def test_of_a_log_with_lines_of_10_mb_the_end_is_read_and_no_more_is_held(talking):
    kube, said = talking
    said["text"] = b"x" * 10_000_000 + b"\nlast words"
    assert await kube.logs("n", "p", "engine", previous=False) == "last words"
    said["text"] = b"first\n" + b"y" * 10_000_000
    found = await kube.logs("n", "p", "engine", previous=False)
    assert len(found) <= 262_144 and set(found) == {"y"}
    assert int(said["query"]["limitBytes"]) == 16 * 1024 * 1024


async def test_bytes_that_are_no_text_are_replaced(talking):
    kube, said = talking
    said["text"] = b"\xff\xfe fine"
    assert await kube.logs("n", "p", "engine", previous=True) == "\ufffd\ufffd fine"
    assert said["query"]["previous"] == "true"


async def test_a_short_log_is_read_whole(talking):
    kube, said = talking
    said["text"] = b"one\ntwo"
    assert await kube.logs("n", "p", "engine", previous=False, lines=5) == "one\ntwo"
    assert [line async for line in kube.follow("n", "p", "engine")] == ["one", "two"]
