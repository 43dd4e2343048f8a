"""Weights from the cache, else from the hub, and into the cache on the way: whatever breaks, the files are right or there is a reason."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from dataclasses import replace

import pytest

from dedicated.adapters import boot, tiers
from dedicated.adapters.fetch import EXIT_PERMANENT, EXIT_RETRYABLE, FetchRequest
from dedicated.adapters.object_store import download as downloading
from dedicated.adapters.object_store.lease import Lease
from dedicated.adapters.weights_cache import WeightsCache
from dedicated.api.endpoint import EngineKind
from dedicated.core.quantities import canonical_json
from dedicated.weights.fetched import fetched
from dedicated.weights.keys import Keys, Model, blob_of, model_of, scope_of
from hack.hub.faults import Fault as HubFault
from hack.hub.repository import find
from hack.hub.server import Hub
from tests.support.hub import WEIGHTS, make_models, serving
from tests.support.s3 import Fault, a_store

TOKEN, OTHER = "hf_goodgoodgood", "hf_otherother"
TEAM_A, TEAM_B = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55", "1c9a8e1f-6d8b-4a7f-8e54-4b9b2e2a3d66"
GATED = b"x" * 100


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr("dedicated.adapters.object_store.patience.FIRST_S", 0.001)
    monkeypatch.setattr(tiers, "POLL_S", 0.05)


@pytest.fixture
def hub(tmp_path):
    return Hub(make_models(tmp_path / "models"), {TOKEN: ["acme/gated", "acme/secret"], OTHER: []})


@pytest.fixture
def start(hub, s3, tmp_path):
    """Start a pod that fetches; answers its exit code and last words."""
    numbers = iter(range(100))
    with serving(hub) as url:

        def go(repo="acme/sharded", *, namespace=TEAM_A, token=None, hub_down=False, engine=EngineKind.VLLM, to=None, commit=None):
            number = next(numbers)
            words = tmp_path / f"words-{number}"
            request = FetchRequest(
                endpoint="http://127.0.0.1:9" if hub_down else url,
                repo=repo,
                commit=commit or find(hub.root, repo).commit,
                directory=to or tmp_path / f"pod-{number}",
                engine=engine,
                token=token,
                termination_log=words,
                pause_first_s=0.001,
            )
            code = tiers.run(request, lambda: WeightsCache(a_store(s3.url), namespace, f"pod-{number}"))
            return code, request.directory, words.read_text()

        yield go


def content_calls(hub, repo):
    """Downloads of large files, and reads of small ones whole."""
    return [path for method, path, headers in hub.requests if path.startswith(f"/cdn/{repo}") and headers.get("Range") != "bytes=0-0"]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != boot.MARK}


def sharded(hub):
    folder = hub.root / "acme" / "sharded"
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "config.json", "tokenizer.json")
    return {name: (folder / name).read_bytes() for name in names}


def keys_in(s3):
    return [found.key for found in a_store(s3.url).list("")]


def test_the_first_start_fills_the_cache_and_the_second_needs_no_hub(start, hub, s3):
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub)
    first = fetched(words)
    assert (first.tier, first.cached, first.reason) == ("hub", True, None)
    code, folder, words = start(hub_down=True, namespace=TEAM_B)
    assert code == 0 and files(folder) == sharded(hub)
    second = fetched(words)
    assert (second.tier, second.cached, second.by_source) == ("s3", True, {"s3": second.bytes})
    assert {scope_of(key) for key in keys_in(s3)} == {"public"}
    assert not [key for key in keys_in(s3) if "/leases/" in key or "/intents/" in key]


def test_the_ref_is_the_last_thing_that_is_written(start, s3):
    start()
    written = [path for method, path, _ in s3.requests if method == "PUT"]
    assert "/refs/" in written[-1] and "/manifests/" in written[-2]
    assert next(i for i, path in enumerate(written) if "/intents/" in path) < next(i for i, path in enumerate(written) if "/blobs/" in path)


@pytest.mark.parametrize("kind", ["blobs", "manifests", "refs"])
def test_a_writer_that_loses_the_store_at_any_step_starts_all_the_same_and_leaves_no_ref(start, hub, s3, kind):
    s3.faults = [Fault("PUT|POST", kind, status=403, code="AccessDenied", times=99)]
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub)
    told = fetched(words)
    assert (told.tier, told.cached, told.reason) == ("hub", False, "ObjectStoreDenied")
    assert not [key for key in keys_in(s3) if model_of(key)]
    s3.faults = []
    assert fetched(start()[2]).cached is True


def test_a_store_that_is_away_makes_no_start_worse(start, hub, s3):
    s3.faults = [Fault(".*", status=503, times=10_000)]
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub) and fetched(words).reason == "ObjectStoreUnavailable"


def test_neither_store_nor_hub_is_a_reason_and_no_file(start, s3):
    start()
    s3.faults = [Fault(".*", status=503, times=10_000)]
    code, folder, words = start(hub_down=True)
    assert code == EXIT_RETRYABLE and json.loads(words)["reason"] == "HubUnavailable" and files(folder) == {}


# wrong content


def damage(s3, how, path="/blobs/", size=None):
    """Change one blob of the store; answers its key."""
    store = a_store(s3.url)
    found = max((one for one in store.list("") if path in one.key), key=lambda one: one.size)
    body = bytearray(store.get(found.key).body)
    if how == "one bit":
        body[len(body) // 3] ^= 4
    if how == "missing":
        store.delete(found.key)
    else:
        store.put(found.key, bytes(body[: len(body) // 2]) if how == "truncated" else bytes(body))
    return found.key


@pytest.mark.parametrize("how", ["one bit", "missing", "truncated"])
def test_a_wrong_blob_is_found_quarantined_and_put_right_from_the_hub(start, hub, s3, how):
    start()
    key = damage(s3, how)
    hub.requests.clear()
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub)
    told = fetched(words)
    assert (told.tier, told.reason, told.cached) == ("s3", "CacheCorrupt", True) and told.by_source["hub"] == 2000
    assert len(content_calls(hub, "acme/sharded")) == 1, "only the wrong file was asked for again"
    assert [path for method, path, _ in s3.requests if method == "PUT" and "/quarantine/" in path]
    assert not [left for left in keys_in(s3) if "/quarantine/" in left]
    assert a_store(s3.url).get(key).body == sharded(hub)["model-00002-of-00002.safetensors"]
    assert fetched(start(hub_down=True)[2]).reason is None


def test_a_wrong_blob_while_the_hub_is_down_fails_the_start_and_is_marked(start, s3):
    start()
    key = damage(s3, "one bit")
    code, folder, _words = start(hub_down=True)
    assert code == EXIT_RETRYABLE and "model-00002-of-00002.safetensors" not in files(folder)
    assert [left for left in keys_in(s3) if left.endswith(f"/quarantine/{blob_of(key)}.json")]


@pytest.mark.parametrize("path", ["/manifests/", "/refs/"])
@pytest.mark.parametrize("how", ["one bit", "truncated"])
def test_a_wrong_manifest_or_ref_is_not_believed_and_written_anew(start, hub, s3, how, path):
    start()
    damage(s3, how, path)
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub) and fetched(words).tier == "hub"
    assert fetched(start(hub_down=True)[2]).tier == "s3"


@pytest.mark.parametrize("what", ["safetensors", "config.json"])
def test_a_cache_that_somebody_filled_with_other_files_is_found_out_by_the_hub(start, hub, s3, what):
    start()
    evil = (hub.root / "acme" / "evil").resolve()
    evil.mkdir()
    for name, content in sharded(hub).items():
        (evil / name).write_bytes(content[::-1] if name.endswith(what) else content)
    start("acme/evil")
    store, keys = a_store(s3.url), Keys("", "public")
    good, bad = (Model(repo, find(hub.root, repo).commit, "one-form") for repo in ("acme/sharded", "acme/evil"))
    manifest = json.loads(store.get(keys.manifest(json.loads(store.get(keys.ref(bad)).body)["manifest"])).body)
    forged = canonical_json({**manifest, "repo": good.repo, "commit": good.commit})
    digest = hashlib.sha256(forged).hexdigest()
    store.put(keys.manifest(digest), forged)
    store.put(keys.ref(good), json.dumps({"manifest": digest}).encode())
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub)
    assert (fetched(words).tier, fetched(words).reason) == ("hub", "CacheCorrupt")
    assert files(start(hub_down=True)[1]) == sharded(hub)


# who may read what


def test_gated_weights_stay_in_the_namespace_whose_token_opened_them(start, hub, s3):
    gguf = {"repo": "acme/gated", "engine": EngineKind.LLAMACPP}
    assert start(**gguf, token=TOKEN)[0] == 0
    assert {scope_of(key) for key in keys_in(s3)} == {f"n-{TEAM_A}"}
    hub.requests.clear()
    code, folder, words = start(**gguf, token=TOKEN)
    assert (code, fetched(words).tier, files(folder)) == (0, "s3", {"model.gguf": GATED})
    assert fetched(start(**gguf, namespace=TEAM_B, token=TOKEN)[2]).tier == "hub"


@pytest.mark.parametrize("token", [None, OTHER], ids=["without a token", "with a token that may not"])
def test_the_cache_hands_gated_weights_to_nobody_whom_the_hub_would_refuse(start, token):
    gguf = {"repo": "acme/gated", "engine": EngineKind.LLAMACPP}
    start(**gguf, token=TOKEN)
    for hub_down in (False, True):
        code, folder, words = start(**gguf, token=token, hub_down=hub_down)
        assert code == (EXIT_RETRYABLE if hub_down else EXIT_PERMANENT) and files(folder) == {}
        assert json.loads(words)["reason"] in ("TokenMissing", "GatedAccessDenied", "HubUnavailable")


def test_a_token_that_is_revoked_between_two_starts_opens_nothing(start, hub):
    gguf = {"repo": "acme/gated", "engine": EngineKind.LLAMACPP, "token": TOKEN}
    start(**gguf)
    hub.tokens = {}
    code, folder, words = start(**gguf)
    assert code == EXIT_PERMANENT and json.loads(words)["reason"] == "TokenInvalid" and files(folder) == {}


def test_while_the_hub_is_down_a_token_counts_for_a_day_after_it_was_seen_to_open(start, monkeypatch):
    gguf = {"repo": "acme/gated", "engine": EngineKind.LLAMACPP, "token": TOKEN}
    start(**gguf)
    assert fetched(start(**gguf, hub_down=True)[2]).tier == "s3"
    monkeypatch.setattr("dedicated.adapters.weights_cache.ACCESS_S", 0.0)
    code, folder, words = start(**gguf, hub_down=True)
    assert code == EXIT_RETRYABLE and "does not hand it out" in json.loads(words)["message"] and files(folder) == {}


def test_a_private_model_that_can_be_listed_by_nobody_is_not_public(start, s3):
    assert start("acme/secret", engine=EngineKind.LLAMACPP, token=TOKEN)[0] == 0
    assert {scope_of(key) for key in keys_in(s3)} == {f"n-{TEAM_A}"}


# several at once


def test_a_start_whose_turn_comes_when_another_has_just_finished_takes_it_from_the_cache(start, s3, monkeypatch):
    """Between its look at the cache and its lease, another start begins, fills the cache, and ends."""
    lease, others = WeightsCache.lease, []

    def late(cache, keys, model):
        if not others:
            others.append(None)
            others[0] = start("acme/tiny", engine=EngineKind.LLAMACPP)
        return lease(cache, keys, model)

    monkeypatch.setattr(WeightsCache, "lease", late)
    code, folder, words = start("acme/tiny", engine=EngineKind.LLAMACPP)
    assert (code, files(folder), fetched(words).tier) == (0, {"tiny.gguf": WEIGHTS}, "s3")
    assert fetched(others[0][2]).tier == "hub"
    assert s3.requests[-1][0] == "DELETE" and "/leases/" in s3.requests[-1][1], "its lease is given back"


def test_several_starts_of_one_model_ask_the_hub_once(start, hub, s3):
    hub.faults = [HubFault(kind="content", bytes_per_second=3_000_000)]
    done = []
    threads = [threading.Thread(target=lambda: done.append(start("acme/tiny", engine=EngineKind.LLAMACPP))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _, _ in done] == [0] * 5
    assert all(files(folder) == {"tiny.gguf": WEIGHTS} for _, folder, _ in done)
    assert sorted(fetched(words).tier for _, _, words in done) == ["hub", "s3", "s3", "s3", "s3"]
    assert len(content_calls(hub, "acme/tiny")) == 1


def test_without_conditional_writes_all_fetch_and_the_cache_is_right(start, hub, s3):
    s3.faults = [Fault("PUT", times=10_000, drop_conditions=True)]
    done = []
    threads = [threading.Thread(target=lambda: done.append(start())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _, _ in done] == [0] * 3 and all(files(folder) == sharded(hub) for _, folder, _ in done)
    assert files(start(hub_down=True)[1]) == sharded(hub)


def test_a_writer_that_died_is_succeeded_when_its_lease_has_run_out(start, hub, s3, monkeypatch):
    model = Model("acme/sharded", find(hub.root, "acme/sharded").commit, "one-form")
    dead = Lease(a_store(s3.url), Keys("", "public").lease(model), "dead", renew_s=60)
    assert dead.acquire()
    monkeypatch.setattr(tiers, "TTL_S", 1.0)
    monkeypatch.setattr(Lease.__init__, "__kwdefaults__", {"renew_s": 30.0, "ttl_s": 1.0})
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub) and fetched(words).cached is True


def test_a_writer_without_progress_is_not_waited_for(start, hub, s3, monkeypatch):
    model = Model("acme/sharded", find(hub.root, "acme/sharded").commit, "one-form")
    stuck = Lease(a_store(s3.url), Keys("", "public").lease(model), "stuck", renew_s=0.1)
    assert stuck.acquire()
    monkeypatch.setattr(tiers, "STANDSTILL_S", 0.5)
    code, folder, words = start()
    assert (code, fetched(words).tier, fetched(words).cached) == (0, "hub", False) and files(folder) == sharded(hub)
    stuck.release()


# what was left behind


def test_files_of_another_boot_are_hashed_again_before_they_count(start, hub, tmp_path):
    start("acme/tiny", engine=EngineKind.LLAMACPP)
    _code, folder, _ = start("acme/tiny", engine=EngineKind.LLAMACPP, hub_down=True)
    (folder / boot.MARK).write_text("another boot")
    (folder / "tiny.gguf").write_bytes(b"\0" * len(WEIGHTS))
    again = start("acme/tiny", engine=EngineKind.LLAMACPP, hub_down=True, to=folder)
    assert again[0] == 0 and files(folder) == {"tiny.gguf": WEIGHTS}


def test_a_restart_in_the_same_boot_fetches_nothing_again(start, s3):
    start()
    code, folder, _ = start(hub_down=True)
    s3.requests.clear()
    code, _, words = start(hub_down=True, to=folder)
    assert code == 0 and s3.count("GET", "/blobs/") == 0 and fetched(words).by_source == {"s3": 0}


def test_a_fetch_that_the_store_breaks_off_goes_on_at_the_hub(start, hub, s3):
    start()
    s3.faults = [Fault("GET", "/blobs/", status=503, times=10_000)]
    code, folder, words = start()
    assert code == 0 and files(folder) == sharded(hub) and fetched(words).tier == "hub"


def test_a_branch_is_never_cached(start, hub, s3):
    code, _folder, words = start(commit="main")
    assert code == 0 and keys_in(s3) == [] and fetched(words).cached is None


def test_without_a_cache_the_fetch_tells_the_same(hub, tmp_path):
    with serving(hub) as url:
        request = FetchRequest(url, "acme/tiny", "main", tmp_path / "out", EngineKind.LLAMACPP)
        done = asyncio.run(tiers.bring(replace(request), None, lambda line: None))
    assert (done.tier, done.bytes, done.cached) == ("hub", len(WEIGHTS), None)
