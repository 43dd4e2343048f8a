"""A bucket through every fault that a server or the network can show: right bytes, or a sentence."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading

import pytest

from dedicated.adapters.object_store import ObjectStore, client
from dedicated.adapters.object_store import download as downloading
from dedicated.adapters.object_store.download import Report, Source, download
from dedicated.adapters.object_store.errors import Absent, NotWon
from dedicated.adapters.object_store.lease import Lease
from dedicated.adapters.object_store.upload import digests_of, upload
from dedicated.api.errors import InvalidSpec, NodeDiskFull, ObjectStoreDenied, ObjectStoreUnavailable, WeightsCorrupt
from dedicated.api.s3 import S3Location, location_from
from dedicated.weights.manifest import CachedFile
from tests.support.s3 import BUCKET, CREDENTIALS, Fault, a_store

MIB = 1024 * 1024
PART = 64 * 1024
CONTENT = os.urandom(10 * PART + 77)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloading, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr("dedicated.adapters.object_store.patience.FIRST_S", 0.001)


@pytest.fixture
def store(s3):
    return a_store(s3.url)


def put(store, path="model.bin", content=CONTENT):
    """A file in the bucket, and what a manifest says of it."""
    parts = tuple(hashlib.sha256(content[at : at + PART]).hexdigest() for at in range(0, len(content), PART))
    file = CachedFile(path, len(content), hashlib.sha256(content).hexdigest(), parts, PART)
    store.put(f"blobs/{file.sha256}", content)
    return Source(file, f"blobs/{file.sha256}")


def get(store, *sources, to, most=4):
    report = Report(sum(source.file.size for source in sources))
    download(store, sources, to, report=report, most=most)
    return report


def only(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# download


def test_files_arrive_whole_and_nothing_else_is_left(store, tmp_path):
    sources = [put(store), put(store, "deep/er/empty.txt", b""), put(store, "small.json", b"{}")]
    report = get(store, *sources, to=tmp_path)
    assert only(tmp_path) == ["deep/er/empty.txt", "model.bin", "small.json"]
    assert (tmp_path / "model.bin").read_bytes() == CONTENT and report.done == report.total and not report.bad


FAULTS = {
    "cut in the middle of a part": [Fault(cut_after=PART + 1000)],
    "cut before the first byte": [Fault(cut_after=0)],
    "cut again and again": [Fault(cut_after=10_000, times=30)],
    "asked to slow down": [Fault(status=503, times=3)],
    "a 500": [Fault(status=500, code="InternalError")],
    "one bit flipped on the way": [Fault(flip=True, path="blobs")],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
def test_what_passes_by_itself_costs_requests_and_never_a_byte(store, s3, tmp_path, faults):
    source = put(store)
    s3.faults = [Fault(**{**vars(fault)}) for fault in faults]
    report = get(store, source, to=tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT and not report.bad
    assert sum(fault.shown for fault in s3.faults) > 0


def test_a_cut_stream_goes_on_at_the_byte_where_it_stopped(store, s3, tmp_path):
    source = put(store)
    s3.faults = [Fault(path="blobs", cut_after=PART + 1000)]
    get(store, source, to=tmp_path, most=1)
    ranges = [ranged for method, path, ranged in s3.requests if method == "GET" and "blobs" in path]
    assert ranges[0] == f"bytes=0-{4 * PART - 1}" and ranges[1].startswith(f"bytes={PART + 1000}-")


def test_connections_are_used_again(store, s3, tmp_path):
    source = put(store)
    before = s3.connections
    get(store, source, to=tmp_path, most=1)
    assert s3.count("GET", "blobs") == 3 and s3.connections - before <= 1


def test_a_body_without_a_response_beneath_is_read_the_librarys_way():
    body = io.BytesIO(b"abc")
    direct, into = client._Direct(body), memoryview(bytearray(5))
    assert (direct.readinto(into), bytes(into[:3])) == (3, b"abc")
    direct.close()
    assert body.closed


def test_a_part_that_stays_wrong_leaves_the_file_out_and_the_others_arrive(store, tmp_path):
    good, bad = put(store, "good.bin"), put(store, "bad.bin", os.urandom(5 * PART))
    flipped = bytearray(store.get(bad.key).body)
    flipped[3 * PART + 5] ^= 1
    store.put(bad.key, bytes(flipped))
    report = get(store, good, bad, to=tmp_path)
    assert only(tmp_path) == ["good.bin"] and list(report.bad) == ["bad.bin"]
    assert "not what its digest says, at part 4" in str(report.bad["bad.bin"])


@pytest.mark.parametrize("kept", [0, 1, 3 * PART + 10], ids=["missing", "one byte", "cut short in a part"])
def test_a_missing_or_truncated_object_leaves_the_file_out(store, tmp_path, kept):
    source = put(store)
    if kept:
        store.put(source.key, CONTENT[:kept])
    else:
        store.delete(source.key)
    report = get(store, source, to=tmp_path)
    assert only(tmp_path) == [] and list(report.bad) == ["model.bin"]


def test_a_killed_run_is_taken_up_and_what_it_left_is_not_believed(store, s3, tmp_path):
    source = put(store)
    s3.faults = [Fault(path="blobs", skip=1, status=403, code="AccessDenied", times=9)]
    with pytest.raises(ObjectStoreDenied):
        get(store, source, to=tmp_path, most=1)
    assert only(tmp_path) == ["model.bin.done", "model.bin.parts"]
    with (tmp_path / "model.bin.parts").open("r+b") as left:
        left.seek(2 * PART)
        left.write(b"\0" * 100)
    s3.faults, s3.requests[:] = [], []
    get(store, source, to=tmp_path, most=1)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT
    ranges = [ranged for method, path, ranged in s3.requests if "blobs" in path]
    assert ranges[0] == f"bytes={2 * PART}-{3 * PART - 1}" and ranges[1].startswith(f"bytes={4 * PART}-")


def test_what_a_fetch_from_the_hub_left_is_taken_up(store, s3, tmp_path):
    source = put(store)
    (tmp_path / "model.bin.partial").write_bytes(CONTENT[: 5 * PART + 9])
    get(store, source, to=tmp_path, most=1)
    assert next(ranged for method, path, ranged in s3.requests if method == "GET" and "blobs" in path).startswith(f"bytes={5 * PART}-")
    assert only(tmp_path) == ["model.bin"] and (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_store_that_stays_away_is_given_up_and_said(store, s3, tmp_path):
    source = put(store)
    s3.faults = [Fault(path="blobs", status=503, times=10_000)]
    with pytest.raises(ObjectStoreUnavailable, match="asks for fewer requests"):
        get(store, source, to=tmp_path)


def test_a_full_disk_is_said_with_what_is_missing(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    source = put(store)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NodeDiskFull, match=r"model.bin needs 640.1 KiB"):
        get(store, source, to=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NodeDiskFull):
        get(store, source, to=tmp_path)
    assert not (tmp_path / "model.bin").exists()


def test_a_file_that_would_leave_the_folder_is_refused(store, tmp_path):
    source = put(store, "../x")
    with pytest.raises(InvalidSpec):
        get(store, source, to=tmp_path / "in")
    assert only(tmp_path) == []


# upload


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "weights.bin"
    found.write_bytes(os.urandom(17 * MIB))
    return found


PIECE = 5 * MIB


def send(store, path, sha256=None):
    return upload(store, "blobs/x", path, sha256 or digests_of(path)[0], part_bytes=PART, piece=PIECE)


def test_a_large_file_goes_up_in_pieces_and_comes_with_the_digests_of_its_parts(store, s3, path):
    parts = send(store, path)
    assert store.get("blobs/x").body == path.read_bytes() and parts == digests_of(path, PART)[1]
    assert s3.count("PUT", "partNumber") == 4


def test_an_upload_that_was_cut_off_goes_on_where_it_was(store, s3, path):
    s3.faults = [Fault("PUT", "partNumber=3", status=403, code="AccessDenied")]
    with pytest.raises(ObjectStoreDenied):
        send(store, path)
    with pytest.raises(Absent):
        store.head("blobs/x")
    s3.requests[:] = []
    send(store, path)
    assert store.get("blobs/x").body == path.read_bytes()
    assert s3.count("POST", "uploads") == 0 and s3.count("PUT", "partNumber") < 4


def test_a_file_that_is_not_what_its_digest_says_never_becomes_an_object(store, path):
    for file in (path, path.with_name("small")):
        file.write_bytes(path.read_bytes()[: 20 * MIB if file == path else 10])
        with pytest.raises(WeightsCorrupt):
            send(store, file, "0" * 64)
    assert list(store.list("")) == [] and store.open_upload("blobs/x") is None


def test_two_that_upload_the_same_both_succeed(s3, path):
    sha, done = digests_of(path)[0], []
    threads = [threading.Thread(target=lambda: done.append(send(a_store(s3.url), path, sha))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 2 and a_store(s3.url).get("blobs/x").body == path.read_bytes()


# conditions and leases


def test_a_server_that_keeps_conditions_is_told_from_one_that_does_not(store, s3):
    assert store.keeps_conditions("probe")
    s3.faults = [Fault("PUT", "probe", times=99, drop_conditions=True)]
    assert not store.keeps_conditions("probe")
    assert list(store.list("probe")) == []


def test_of_many_that_create_one_object_one_wins(store):
    won = []

    def create(number):
        try:
            store.put("one", str(number).encode(), if_absent=True)
            won.append(number)
        except NotWon:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and store.get("one").body == str(won[0]).encode()


def test_a_lease_is_held_renewed_and_given_back(store):
    ours, theirs = Lease(store, "lease", "a", renew_s=0.05), Lease(store, "lease", "b")
    assert ours.acquire() and not theirs.acquire()
    ours.done = 7
    threading.Event().wait(0.3)
    assert theirs.held().done == 7 and theirs.held().holder == "a"
    ours.release()
    assert theirs.held() is None and theirs.acquire()
    theirs.release()


def test_a_lease_that_ran_out_is_taken_over_once_and_its_holder_learns_of_it(store):
    dead = Lease(store, "lease", "dead", renew_s=60)
    assert dead.acquire()
    heirs = [Lease(store, "lease", name, renew_s=60, ttl_s=0) for name in "bc"]
    assert heirs[0].acquire() and heirs[0].held().epoch == 2
    assert not dead._renewed()
    dead.release()
    assert heirs[0].held().holder == "b"
    heirs[0].release()


def test_a_container_that_was_restarted_goes_on_with_the_lease_of_its_pod(store):
    assert Lease(store, "lease", "pod-1", renew_s=60).acquire()
    again = Lease(store, "lease", "pod-1", renew_s=60)
    assert again.acquire() and again.held().epoch == 2
    again.release()


def test_a_lease_whose_answer_was_lost_is_still_ours(store, s3):
    s3.faults = [Fault("PUT", "lease", lose_answer=True)]
    lease = Lease(store, "lease", "a", renew_s=60)
    assert lease.acquire()
    s3.faults = [Fault("PUT", "lease", lose_answer=True)]
    with pytest.raises(ObjectStoreUnavailable):
        lease._renewed()
    assert lease._renewed()
    lease.release()


# errors and settings


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("AccessDenied", 403, ObjectStoreDenied), ("NoSuchBucket", 404, ObjectStoreDenied), ("SlowDown", 503, ObjectStoreUnavailable)],
)
def test_what_a_server_answers_is_one_of_our_errors(store, s3, code, status, error):
    s3.faults = [Fault(path="x", status=status, code=code)]
    with pytest.raises(error, match=code):
        store.get("x")


def test_a_server_that_is_not_there_is_unavailable_and_no_credentials_are_denied(monkeypatch):
    with pytest.raises(ObjectStoreUnavailable, match="cannot be reached"):
        a_store("http://127.0.0.1:9").get("x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(ObjectStoreDenied, match="no credentials"):
        ObjectStore(S3Location(BUCKET, endpoint="http://127.0.0.1:9")).get("x")


def test_a_web_identity_is_used_where_there_are_no_keys(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/weights")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    store = ObjectStore(S3Location(BUCKET, region="eu-west-1"))
    assert store._s3._request_signer._credentials.method == "assume-role-with-web-identity"
    assert store._s3.meta.region_name == "eu-west-1"


def test_a_users_own_credentials_go_before_what_is_in_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
    store = ObjectStore(S3Location(BUCKET), CREDENTIALS)
    assert store._s3._request_signer._credentials.access_key == "writer"


def test_a_location_survives_the_environment():
    location = S3Location("b", "p/x", "https://s3.example", "eu-west-1", True, "-----BEGIN CERTIFICATE-----")
    assert location_from(location.variables()) == location and location_from({}) is None
