"""A model of the user's own in S3, fetched: at the objects that were resolved, or a sentence that names what is another now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from dedicated.adapters import s3_fetch, s3_source, tiers
from dedicated.adapters.object_store import download as downloading
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec, ModelChanged, ModelNotFound, ObjectStoreDenied, ObjectStoreUnavailable, WeightsCorrupt
from dedicated.weights.fetched import Tier, fetched
from tests.support.hub import WEIGHTS
from tests.support.own_models import BESIDE, MODELS, NEEDED, SHARDS, put_model
from tests.support.s3 import CREDENTIALS, Fault, make_bucket

URI = f"s3://{MODELS}/own"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr("dedicated.adapters.object_store.patience.FIRST_S", 0.001)


def keys(s3):
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": s3.url}


def look(s3, uri=URI, engine=EngineKind.VLLM):
    """The folder as it is now."""
    return s3_source.opened(uri, keys(s3), engine)


@pytest.fixture
def start(s3, tmp_path):
    """A pod that fetches what was resolved; answers exit code, folder and last words."""
    numbers = iter(range(100))

    def go(revision, uri=URI, *, to=None):
        number = next(numbers)
        words, folder = tmp_path / f"words-{number}", to or tmp_path / f"pod-{number}"
        request = s3_fetch.S3Request(uri, revision, folder, EngineKind.VLLM, keys(s3))
        return tiers.last_words(lambda: s3_fetch.bring(request, print), words), folder, words.read_text()

    return go


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


def test_a_fetch_brings_what_the_engine_needs_and_nothing_else(start, s3, s3_servers):
    put_model(s3_servers[0])
    code, folder, words = start(look(s3).revision())
    told = fetched(words)
    size = sum(map(len, NEEDED.values()))
    assert code == 0 and files(folder) == NEEDED
    assert (told.tier, told.bytes, told.by_source, told.cached) == (Tier.S3, size, {"s3": size}, None)


def test_a_revision_names_the_files_that_the_engine_needs_and_no_others(s3, s3_servers):
    store = put_model(s3_servers[0])
    first = look(s3).revision()
    store.put("own/original/consolidated.safetensors", b"another")
    store.put("own-2/config.json", b"of another model")
    assert look(s3).revision() == first and set(look(s3).objects) == {*NEEDED, *BESIDE}
    seen = {first}
    for change in (
        lambda: store.put("own/config.json", b"{ }"),
        lambda: store.delete("own/tokenizer.json"),
        lambda: store.put("own/merges.txt", b""),
    ):
        change()
        seen.add(look(s3).revision())
    assert len(seen) == 4


@pytest.mark.parametrize(("path", "content"), [("config.json", b"{}"), (next(iter(SHARDS)), b"z" * 100_000)], ids=["shorter", "of the same size"])
def test_a_file_that_was_replaced_since_is_named_and_nothing_is_fetched(start, s3, s3_servers, path, content):
    store = put_model(s3_servers[0])
    revision = look(s3).revision()
    store.put(f"own/{path}", content)
    code, folder, words = start(revision)
    told = json.loads(words)
    assert (code, told["reason"], told["retryable"]) == (3, "ModelChanged", False)
    assert revision[:12] in told["message"] and files(folder) == {}


def test_a_file_that_is_replaced_while_it_is_fetched_is_named_and_never_mixed(start, s3, s3_servers):
    store = put_model(s3_servers[0])
    revision, go_on = look(s3).revision(), threading.Event()
    path = "model-00002-of-00002.safetensors"
    s3.faults = [Fault(path=path, stall=go_on)]
    replaced = threading.Thread(target=lambda: (_until(lambda: s3.faults[0].shown), store.put(f"own/{path}", b"z" * 200_000), go_on.set()))
    replaced.start()
    code, folder, words = start(revision)
    replaced.join()
    assert code == 3 and json.loads(words)["reason"] == "ModelChanged" and path in json.loads(words)["message"]
    assert path not in files(folder) and not [name for name in files(folder) if path in name]


def _until(check):
    from tests.support.cluster import wait_until

    wait_until("it", check, 10, every_s=0.01)


def test_a_server_that_does_not_keep_the_condition_of_a_read_is_found_out(start, s3, s3_servers):
    store = put_model(s3_servers[0])
    source = look(s3)
    assert source.objects
    store.put("own/config.json", b"{}")
    s3.faults = [Fault(path="config.json", drop_conditions=True)]
    with pytest.raises(ModelChanged, match=r"config\.json was replaced"):
        source.read("config.json", 0, 2)
    assert s3.faults[0].shown == 1


def test_a_cut_stream_goes_on_and_a_busy_server_is_waited_for(start, s3, s3_servers):
    put_model(s3_servers[0])
    revision = look(s3).revision()
    s3.faults = [Fault(path="00002-of", cut_after=70_000), Fault(path="00001-of", status=503)]
    code, folder, _ = start(revision)
    assert code == 0 and files(folder) == NEEDED and [fault.shown for fault in s3.faults] == [1, 1]


def test_what_a_killed_fetch_left_is_not_believed(start, s3, s3_servers, tmp_path):
    put_model(s3_servers[0])
    to = tmp_path / "pod"
    to.mkdir()
    name = "model-00001-of-00002.safetensors"
    for ending, content in ((".parts", b"w" * 100_000), (".done", b"\0\0\0\0"), (".partial", b"w" * 100)):
        (to / f"{name}{ending}").write_bytes(content)
    code, folder, _ = start(look(s3).revision(), to=to)
    assert code == 0 and files(folder) == NEEDED


def nothing(url):
    make_bucket(url, MODELS)


def two_models(url):
    put_model(url, files={"a.gguf": b"GGUF", "b.gguf": b"GGUF"})


REFUSED = {
    "no such prefix": (nothing, URI, EngineKind.VLLM, ModelNotFound, "holds no file: 0 objects"),
    "the mark of a folder alone": (lambda url: put_model(url, files={"": b""}), URI, EngineKind.VLLM, ModelNotFound, "holds no file: 1 objects"),
    "no such bucket": (nothing, "s3://nowhere/own", EngineKind.VLLM, ObjectStoreDenied, "no such bucket"),
    "no weights for the engine": (
        put_model,
        URI,
        EngineKind.LLAMACPP,
        InvalidSpec,
        "spec.model.s3.uri: .* name the folder that holds the model alone",
    ),
    "two models": (two_models, URI, EngineKind.LLAMACPP, InvalidSpec, r"a\.gguf, b\.gguf"),
    "a file that leads out": (lambda url: put_model(url, files={"../x": b""}), URI, EngineKind.VLLM, InvalidSpec, "leads out of its folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_model_says_why(s3, s3_servers, case):
    make, uri, engine, error, says = REFUSED[case]
    make(s3_servers[0])
    with pytest.raises(error, match=says):
        look(s3, uri, engine).revision()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(path=MODELS, status=403, code="AccessDenied", times=99), ObjectStoreDenied),
        (Fault(path=MODELS, status=503, times=99), ObjectStoreUnavailable),
        (Fault(path=MODELS, status=500, code="InternalError", times=99), ObjectStoreUnavailable),
    ],
    ids=["refused", "busy", "broken"],
)
def test_a_server_that_refuses_or_fails_is_told_apart(s3, s3_servers, fault, error):
    put_model(s3_servers[0])
    s3.faults = [fault]
    with pytest.raises(error):
        look(s3).revision()


def test_a_list_that_is_allowed_proves_nothing_where_the_files_are_not(s3, s3_servers):
    put_model(s3_servers[0])
    source = look(s3)
    revision = source.revision()
    s3.faults = [Fault(path="00002-of", status=403, code="AccessDenied")]
    with pytest.raises(ObjectStoreDenied):
        source.prove(revision)


def test_a_head_that_cannot_be_is_not_read(s3, s3_servers, monkeypatch):
    put_model(s3_servers[0])
    monkeypatch.setattr(s3_source, "MOST_READ", 1000)
    with pytest.raises(WeightsCorrupt, match="at most 1000"):
        look(s3).read("model-00001-of-00002.safetensors")
    assert look(s3).read("model-00001-of-00002.safetensors", 10, 20) == WEIGHTS[10:30]


def test_a_config_that_tells_no_architecture_hinders_nothing(s3, s3_servers):
    for config in (b"no json", b"[]", b'{"architectures": 7}', b"{}"):
        put_model(s3_servers[0], files={"config.json": config, "model.safetensors": b"x"})
        assert look(s3).architecture() is None


def test_the_command_fetches_with_the_keys_of_the_users_secret(s3, s3_servers, tmp_path):
    put_model(s3_servers[0])
    command = [
        sys.executable,
        "-m",
        "dedicated",
        "fetch",
        "--s3",
        URI,
        "--commit",
        look(s3).revision(),
        "--engine",
        "vllm",
        "--to",
        str(tmp_path / "pod"),
    ]
    done = subprocess.run(command, env={**os.environ, **keys(s3)}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "pod") == NEEDED


@pytest.mark.parametrize("named", [[], ["--s3", URI, "--repo", "acme/tiny"]], ids=["no source", "two"])
def test_the_command_wants_one_source(named, tmp_path):
    command = [sys.executable, "-m", "dedicated", "fetch", *named, "--commit", "c", "--to", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "--repo or --s3" in done.stderr
