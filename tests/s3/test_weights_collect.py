"""Looking after the cache: what nobody uses goes after a day, what somebody uses never, and what is wrong is told."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from dedicated.adapters.object_store import client
from dedicated.adapters.object_store.errors import Absent
from dedicated.adapters.weights_cache import Filling, WeightsCache
from dedicated.adapters.weights_collect import Collector
from dedicated.cli import app
from dedicated.weights.collect import GRACE_S
from dedicated.weights.keys import PUBLIC, Keys, Model, blob_of
from dedicated.weights.selection import RepoFile
from tests.support.hub import make_models, serving
from tests.support.s3 import BUCKET, CREDENTIALS, a_store

KEYS = Keys("", PUBLIC)


class Clock:
    """The server's clock, which a test can put forward."""

    ahead_s = 0.0

    def forward(self, seconds):
        self.ahead_s += seconds


@pytest.fixture
def clock(monkeypatch):
    real, found = client._date, Clock()
    monkeypatch.setattr(client, "_date", lambda answer: real(answer) + found.ahead_s)
    return found


@pytest.fixture
def store(s3):
    return a_store(s3.url)


@pytest.fixture
def fill(store, tmp_path):
    """Put a model of these files into the cache; answers its model."""

    def filled(name, **files):
        model = Model(f"acme/{name}", "a" * 40, "all")
        filling = begin(store, model, files)
        for file, content in files.items():
            path = tmp_path / f"{name}-{file}"
            path.write_bytes(content)
            filling.add(RepoFile(file, len(content)), path)
        filling.finish()
        return model

    return filled


def begin(store, model, files, holder="writer"):
    filling = Filling(WeightsCache(store, "", holder), KEYS, model, [RepoFile(name, len(content)) for name, content in files.items()])
    filling.begin()
    return filling


def blobs(store):
    return {sha for found in store.list("") if (sha := blob_of(found.key))}


def days(store, clock, count):
    """So many daily collections; answers the last one's report."""
    for _ in range(count):
        clock.forward(GRACE_S + 60)
        swept = Collector(store).collect()
    return swept


def test_what_models_refer_to_stays_for_ever(store, fill, clock):
    fill("one", a=b"shared", b=b"b")
    fill("two", a=b"shared", c=b"c")
    before = {found.key for found in store.list("")}
    days(store, clock, 4)
    assert {found.key for found in store.list("")} == before and Collector(store).verify(deep=True) == []


def test_an_evicted_model_is_marked_on_one_day_and_goes_on_the_next_but_for_what_others_share(store, fill, clock):
    fill("one", a=b"shared", b=b"only one")
    fill("two", a=b"shared")
    assert len(Collector(store).evict("acme/one")) == 1
    assert days(store, clock, 1).marked == 1 and len(blobs(store)) == 2
    assert days(store, clock, 1).removed == 1 and len(blobs(store)) == 1
    assert [entry.model.repo for entry in Collector(store).entries()] == ["acme/two"]
    assert Collector(store).verify(deep=True) == [] and "marks" not in "".join(json.loads(store.get(KEYS.marks).body))


def test_a_dry_run_touches_nothing(store, fill, clock):
    fill("one", a=b"1")
    Collector(store).evict("acme/one")
    days(store, clock, 1)
    clock.forward(GRACE_S + 60)
    before = {(found.key, found.etag) for found in store.list("")}
    assert Collector(store).collect(dry_run=True).removed == 1
    assert {(found.key, found.etag) for found in store.list("")} == before


def test_a_writer_that_is_at_work_keeps_the_blobs_that_it_counts_on(store, fill, clock, tmp_path):
    fill("one", a=b"will be used again")
    Collector(store).evict("acme/one")
    clock.forward(2 * GRACE_S)
    sha = next(iter(blobs(store)))
    filling = Filling(WeightsCache(store, "", "writer"), KEYS, Model("acme/two", "b" * 40, "all"), [RepoFile("a", 18, sha)])
    Collector(store).collect()
    filling.begin()
    assert filling._suspect == {sha}, "a marked blob is written again, not taken for granted"
    clock.forward(0)
    (tmp_path / "a").write_bytes(b"will be used again")
    filling.add(RepoFile("a", 18, sha), tmp_path / "a")
    assert Collector(store).collect().removed == 0
    filling.finish()
    days(store, clock, 3)
    assert Collector(store).verify(deep=True) == [] and blobs(store) == {sha}


def test_an_intent_keeps_a_blob_that_was_never_marked(store, fill, clock):
    fill("one", a=b"kept")
    Collector(store).evict("acme/one")
    clock.forward(2 * GRACE_S)
    (sha,) = blobs(store)
    store.put(KEYS.intent(Model("acme/two", "b", "all"), "w"), json.dumps({"blobs": [sha]}).encode())
    assert Collector(store).collect().marked == 0


def test_what_crashed_writers_left_goes_too(store, clock):
    begin(store, Model("acme/crashed", "a" * 40, "all"), {"a": b"x"})
    store.put(KEYS.lease(Model("acme/crashed", "a" * 40, "all")), b"{}")
    store.put(KEYS.manifest("f" * 64), b"{}")
    upload = store.begin_upload(KEYS.blob("e" * 64))
    store.put_part(KEYS.blob("e" * 64), upload, 1, os.urandom(1000))
    clock.forward(GRACE_S / 2)
    assert Collector(store).collect().forgotten == 0
    clock.forward(2 * GRACE_S)
    Collector(store).collect()
    clock.forward(2 * GRACE_S)
    Collector(store).collect()
    assert [found.key for found in store.list("") if found.key != KEYS.marks] == []
    assert store.open_upload(KEYS.blob("e" * 64)) is None


def test_a_ref_that_leads_nowhere_goes_and_is_told_before(store, fill):
    fill("one", a=b"1")
    (entry,) = Collector(store).entries()
    store.delete(KEYS.manifest(entry.manifest.digest))
    assert [problem for _, problem in Collector(store).verify()] == ["its manifest is missing"]
    Collector(store).collect()
    assert Collector(store).entries() == []


def test_the_budget_evicts_what_was_longest_unused_and_endpoints_last(store, fill, clock):
    fill("old", a=b"x" * 100)
    clock.forward(100)
    for number, name in enumerate(("used", "new")):
        fill(name, a=bytes([number]) * 100)
    swept = Collector(store).collect(budget_bytes=150, in_use={("acme/old", "a" * 40)})
    assert len(swept.evicted) == 2 and [entry.model.repo for entry in Collector(store).entries()] == ["acme/old"]


# the command


@pytest.fixture
def run(s3, monkeypatch):
    said = {"BUCKET": BUCKET, "ENDPOINT": s3.url, "PATH_STYLE": "true", "REGION": "us-east-1"}
    for name, value in {**{f"DEDICATED_S3_{key}": value for key, value in said.items()}, **CREDENTIALS}.items():
        monkeypatch.setenv(name, value)
    return lambda *args: CliRunner().invoke(app, ["cache", *args])


def test_ls_shows_what_is_there(run, fill):
    fill("one", a=b"x" * 2048)
    assert "acme/one" in run("ls").output and "2.0 KiB" in run("ls").output
    (row,) = json.loads(run("ls", "-o", "json").output)
    assert (row["repo"], row["scope"], row["bytes"]) == ("acme/one", "public", 2048)


def test_verify_says_no_where_something_is_wrong(run, fill, store):
    fill("one", a=b"right")
    assert run("verify", "--deep").exit_code == 0
    (sha,) = blobs(store)
    store.put(KEYS.blob(sha), b"wrong")
    assert run("verify").exit_code == 0, "sizes agree"
    found = run("verify", "--deep")
    assert found.exit_code == 1 and "is not what its digest says" in found.output
    assert store.head(KEYS.quarantine(sha))


def test_evict_and_gc_say_what_they_did(run, fill, clock):
    fill("one", a=b"x" * 2048)
    assert "evicted acme/one" in run("evict", "acme/one").output and run("evict", "acme/one").exit_code == 1
    clock.forward(GRACE_S + 60)
    assert "1 marked" in run("gc").output
    clock.forward(GRACE_S + 60)
    assert json.loads(run("gc", "-o", "json").output)["removedBytes"] == 2048


def test_prefetch_fills_the_cache_once(run, store, tmp_path, monkeypatch):
    with serving_models(tmp_path) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        first = run("prefetch", "acme/tiny", "--engine", "llamacpp")
        assert first.exit_code == 0 and "is in the cache" in first.output
        assert "already" in run("prefetch", "acme/tiny", "--engine", "llamacpp").output
        assert run("prefetch", "acme/none").exit_code == 1
    assert Collector(store).verify(deep=True) == [] and len(Collector(store).entries()) == 1


def serving_models(tmp_path):
    from hack.hub.server import Hub

    return serving(Hub(make_models(tmp_path / "models")))


def test_without_a_bucket_or_a_server_a_sentence_and_a_code(run, monkeypatch):
    monkeypatch.setenv("DEDICATED_S3_ENDPOINT", "http://127.0.0.1:9")
    assert run("ls").exit_code == 3
    assert run("gc", "--budget", "much").exit_code == 2
    monkeypatch.delenv("DEDICATED_S3_BUCKET")
    assert run("ls").exit_code == 2 and "DEDICATED_S3_BUCKET" in run("ls").output


def test_a_budget_needs_the_cluster(run, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = run("gc", "--budget", "1Gi")
    assert found.exit_code == 3 and "cannot be reached" in found.output


def test_a_missing_object_is_absent(store):
    with pytest.raises(Absent):
        store.head("nothing")
