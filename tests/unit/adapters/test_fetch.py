"""`dedicated fetch` against a hub on loopback: what arrives, what is asked again, what is said when it fails."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dedicated.adapters import fetch as fetching
from dedicated.adapters import tiers
from dedicated.adapters.fetch import FetchRequest
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec
from hack.hub.faults import Fault
from hack.hub.server import Hub
from tests.support.hub import WEIGHTS, make_models, serving

TOKEN = "hf_goodgoodgood"


@pytest.fixture
def hub(tmp_path):
    return Hub(make_models(tmp_path / "models"), {TOKEN: ["acme/gated"]})


@pytest.fixture
def url(hub):
    with serving(hub) as address:
        yield address


@pytest.fixture
def request_(url, tmp_path):
    return FetchRequest(url, "acme/tiny", "main", tmp_path / "out", EngineKind.LLAMACPP, termination_log=tmp_path / "last-words", pause_first_s=0.01)


def run(request):
    """Without a cache."""
    return tiers.run(request, None)


def words(request):
    return json.loads(request.termination_log.read_text())


def ranges(hub):
    return [headers.get("Range") for method, path, headers in hub.requests if path.startswith("/cdn/") and method == "GET"]


def test_the_wanted_file_arrives_whole_and_readable_by_all(request_, capsys):
    assert run(request_) == 0
    out = request_.directory / "tiny.gguf"
    assert out.read_bytes() == WEIGHTS
    assert out.stat().st_mode & 0o444 == 0o444
    assert sorted(path.name for path in request_.directory.iterdir()) == [".dedicated-boot", "tiny.gguf"]
    assert "fetched 10.0 MiB of 10.0 MiB (100 %)" in capsys.readouterr().out


def test_a_cut_stream_goes_on_where_it_stopped(request_, hub):
    hub.faults = [Fault(kind="content", cut_after_bytes=4 * 1024 * 1024, times=1)]
    assert run(request_) == 0
    first, second = ranges(hub)
    assert first is None
    assert second is not None and 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 4 * 1024 * 1024
    assert (request_.directory / "tiny.gguf").read_bytes() == WEIGHTS


def test_what_is_there_whole_is_not_fetched_again(request_, hub):
    run(request_)
    before = len(ranges(hub))
    assert run(request_) == 0
    assert len(ranges(hub)) == before


def test_a_run_that_was_killed_is_taken_up_by_the_next(request_, hub):
    request_.directory.mkdir()
    (request_.directory / "tiny.gguf.partial").write_bytes(WEIGHTS[: 7 * 1024 * 1024])
    assert run(request_) == 0
    assert ranges(hub) == [f"bytes={7 * 1024 * 1024}-"]
    assert (request_.directory / "tiny.gguf").read_bytes() == WEIGHTS


def test_kill_9_in_the_middle_leaves_no_file_that_looks_whole(url, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dedicated.cli", "fetch", "--repo", "acme/tiny", "--commit", "main", "--engine", "llamacpp", "--to", str(out)]
    code = f"import sys; sys.argv = {command[2:]!r}; from dedicated.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "HF_ENDPOINT": url})
    partial = out / "tiny.gguf.partial"
    while process.poll() is None and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "tiny.gguf").exists() or (out / "tiny.gguf").read_bytes() == WEIGHTS
    assert run(FetchRequest(url, "acme/tiny", "main", out, EngineKind.LLAMACPP)) == 0
    assert (out / "tiny.gguf").read_bytes() == WEIGHTS


def test_a_damaged_beginning_is_noticed_and_fetched_anew(request_, capsys):
    request_.directory.mkdir()
    (request_.directory / "tiny.gguf.partial").write_bytes(b"\xff" * 1000)
    assert run(request_) == 0
    assert "wrong content; fetching it again" in capsys.readouterr().out
    assert (request_.directory / "tiny.gguf").read_bytes() == WEIGHTS


def test_content_that_is_wrong_twice_is_weights_corrupt(request_, hub, monkeypatch):
    monkeypatch.setattr("hack.hub.repository.File.sha256", property(lambda self: "0" * 64))
    assert run(request_) == fetching.EXIT_PERMANENT
    assert words(request_)["reason"] == "WeightsCorrupt"
    assert not (request_.directory / "tiny.gguf").exists()


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"repo": "acme/none"}, 3, "ModelNotFound"),
        ({"commit": "f" * 40}, 3, "RevisionNotFound"),
        ({"repo": "acme/gated"}, 3, "TokenMissing"),
        ({"repo": "acme/tiny", "token": "hf_unknown"}, 3, "TokenInvalid"),
        ({"include": ("*.txt",)}, 3, "InvalidSpec"),
        ({"endpoint": "http://127.0.0.1:9"}, 1, "HubUnavailable"),
    ],
    ids=["no such model", "no such commit", "gated, no token", "unknown token", "nothing matches", "hub is down"],
)
def test_each_failure_leaves_its_reason_and_says_whether_to_try_again(request_, change, code, reason):
    request = replace(request_, **change)
    assert run(request) == code
    assert words(request)["reason"] == reason
    assert words(request)["retryable"] == (code == 1)


@pytest.fixture
def mirror(hub):
    with serving(Hub(hub.root, hub.tokens, mirror=True)) as address:
        yield address


def test_a_mirror_that_tells_no_sizes_still_gives_the_whole_file(request_, mirror):
    assert run(replace(request_, endpoint=mirror)) == 0
    assert (request_.directory / "tiny.gguf").read_bytes() == WEIGHTS


def test_a_token_is_in_no_representation_of_what_is_fetched(request_):
    assert TOKEN not in repr(replace(request_, token=TOKEN))


def test_a_token_opens_a_gated_model_and_is_never_logged(request_, capsys):
    assert run(replace(request_, repo="acme/gated", token=TOKEN)) == 0
    assert TOKEN not in capsys.readouterr().out


def test_a_token_is_not_carried_to_another_host(request_, hub, tmp_path):
    other = Hub(hub.root)
    with serving(other) as elsewhere:
        port = elsewhere.rpartition(":")[2]
        hub.content_host = f"localhost:{port}"
        assert run(replace(request_, token=TOKEN)) == 0
    assert [path for _, path, _ in other.requests] and all("Authorization" not in headers for _, _, headers in other.requests)


def test_a_full_disk_says_how_much_is_missing(request_, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetching._Download, "_write", full)
    assert run(request_) == fetching.EXIT_RETRYABLE
    assert words(request_)["reason"] == "NodeDiskFull"
    assert "needs 10.0 MiB more" in words(request_)["message"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b"])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(path):
    with pytest.raises(InvalidSpec):
        fetching.safe_path(path)


def test_the_folder_appears_when_it_is_missing(request_):
    assert run(replace(request_, directory=Path(request_.directory) / "deep" / "er")) == 0
