"""The cache on S3 servers as they are: SeaweedFS, which keeps conditions of writes, and rclone, which only takes them."""

from __future__ import annotations

import os
import threading

import pytest

from dedicated.adapters import s3_fetch, s3_source, tiers
from dedicated.adapters.fetch import FetchRequest
from dedicated.adapters.object_store.errors import NotWon
from dedicated.adapters.object_store.upload import digests_of, upload
from dedicated.adapters.weights_cache import WeightsCache
from dedicated.adapters.weights_collect import Collector
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import ModelChanged, ObjectStoreDenied
from dedicated.weights.fetched import fetched
from dedicated.weights.keys import blob_of
from hack import s3
from hack.hub.repository import find
from hack.hub.server import Hub
from tests.support.hub import WEIGHTS, make_models, serving
from tests.support.own_models import NEEDED
from tests.support.s3 import CREDENTIALS, Fault, a_store, proxied

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=["seaweedfs", "rclone"])
def server(request, tmp_path_factory):
    """Name and URL."""
    with getattr(s3, request.param)(tmp_path_factory.mktemp(request.param)) as url:
        yield request.param, url


@pytest.fixture
def seaweedfs(server):
    if server[0] != "seaweedfs":
        pytest.skip("of a server that keeps conditions")
    return server[1]


@pytest.fixture
def store(server):
    found = a_store(server[1])
    for one in list(found.list("")):
        found.delete(one.key)
    return found


@pytest.fixture
def start(tmp_path, server, store):
    """Start a pod that fetches acme/tiny; answers what it told, and where its files are."""
    hub, numbers = Hub(make_models(tmp_path / "models")), iter(range(99))
    with serving(hub) as url:

        def go(*, hub_down=False):
            number = next(numbers)
            endpoint = "http://127.0.0.1:9" if hub_down else url
            commit, out, words = find(hub.root, "acme/tiny").commit, tmp_path / f"pod-{number}", tmp_path / f"words-{number}"
            request = FetchRequest(endpoint, "acme/tiny", commit, out, EngineKind.LLAMACPP, termination_log=words, pause_first_s=0.01)
            assert tiers.run(request, lambda: WeightsCache(store, "", f"pod-{number}")) == 0, words.read_text()
            assert (out / "tiny.gguf").read_bytes() == WEIGHTS
            return fetched(words.read_text())

        go.hub = hub
        yield go


def test_the_probe_tells_which_servers_keep_conditions(server, store):
    assert store.keeps_conditions("probe") == (server[0] == "seaweedfs")


def test_a_model_goes_in_and_comes_out_with_the_hub_down(start, store):
    first, second = start(), start(hub_down=True)
    assert (first.tier, first.cached, second.tier, second.reason) == ("hub", True, "s3", None)
    assert Collector(store).verify(deep=True) == []


def test_a_flipped_bit_is_found_and_put_right(start, store):
    start()
    (blob,) = [found for found in store.list("") if blob_of(found.key)]
    store.put(blob.key, WEIGHTS[: 5 * MIB] + b"\x01" + WEIGHTS[5 * MIB + 1 :])
    told = start()
    assert (told.tier, told.reason) == ("s3", "CacheCorrupt") and store.get(blob.key).body == WEIGHTS


def test_several_starts_at_once_ask_the_hub_once_or_as_often_as_conditions_are_not_kept(start, server):
    told = []
    threads = [threading.Thread(target=lambda: told.append(start())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = len([path for _, path, headers in start.hub.requests if path.startswith("/cdn/") and headers.get("Range") != "bytes=0-0"])
    assert len(told) == 4 and (asked == 1 or server[0] == "rclone")
    assert start(hub_down=True).tier == "s3"


def test_a_large_file_goes_up_in_pieces_and_on_after_a_cut(server, store, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(21 * MIB))
    with proxied(server[1]) as proxy:
        proxy.faults = [Fault("PUT", "partNumber=3", status=403, code="AccessDenied")]
        with pytest.raises(ObjectStoreDenied):
            upload(a_store(proxy.url), "x", path, digests_of(path)[0], piece=5 * MIB)
        proxy.forget()
        upload(a_store(proxy.url), "x", path, digests_of(path)[0], piece=5 * MIB)
        again = proxy.count("PUT", "partNumber")
    assert b"".join(bytes(part) for part in spans(store, "x", path.stat().st_size)) == path.read_bytes()
    assert again < 5 or server[0] == "rclone"


def spans(store, key, size):
    for first in range(0, size, 7 * MIB):
        body = store.span(key, first, min(7 * MIB, size - first))
        into, at = memoryview(bytearray(min(7 * MIB, size - first))), 0
        while count := body.readinto(into[at:]):
            at += count
        body.close()
        yield into[:at]


def test_of_writers_that_race_one_wins(seaweedfs, store):
    won = []

    def create(number):
        try:
            store.put("one", str(number).encode(), if_absent=True)
            won.append(number)
        except NotWon:
            pass

    for _ in range(5):
        won.clear()
        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        store.delete("one")


def test_wrong_keys_are_denied(seaweedfs):
    from dedicated.adapters.object_store import ObjectStore
    from dedicated.api.s3 import S3Location

    wrong = {"AWS_ACCESS_KEY_ID": s3.KEY, "AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(ObjectStoreDenied, match="SignatureDoesNotMatch"):
        ObjectStore(S3Location(s3.BUCKET, endpoint=seaweedfs, path_style=True), wrong).get("x")


def test_a_folder_of_ones_own_is_read_and_one_that_changed_is_told(server, store, tmp_path):
    for name, content in NEEDED.items():
        store.put(f"own/{name}", content)
    uri, keys = f"s3://{s3.BUCKET}/own", {**CREDENTIALS, "AWS_ENDPOINT_URL": server[1]}
    source = s3_source.opened(uri, keys, EngineKind.VLLM)
    revision = source.revision()
    source.prove(revision)
    request = s3_fetch.S3Request(uri, revision, tmp_path / "pod", EngineKind.VLLM, keys)
    assert s3_fetch.bring(request, print).bytes == sum(map(len, NEEDED.values()))
    assert {name: (tmp_path / "pod" / name).read_bytes() for name in NEEDED} == NEEDED
    store.put("own/config.json", b"{}")
    with pytest.raises(ModelChanged, match=r"config\.json"):
        source.read("config.json")
    with pytest.raises(ModelChanged, match=r"the newest of its files is config\.json"):
        s3_fetch.bring(request, print)


@pytest.mark.parametrize(
    "keys", [{**CREDENTIALS, "AWS_SECRET_ACCESS_KEY": "wrongwrong"}, {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}, {}]
)
def test_wrong_keys_and_none_at_all_are_refused_by_a_server_that_asks_for_them(seaweedfs, store, keys, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)  # what this process has itself is not used
    store.put("own/config.json", b"{}")
    with pytest.raises(ObjectStoreDenied):
        s3_source.opened(f"s3://{s3.BUCKET}/own", {**keys, "AWS_ENDPOINT_URL": seaweedfs}, EngineKind.VLLM).revision()
