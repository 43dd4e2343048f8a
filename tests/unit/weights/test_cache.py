"""The cache's keys, manifests, sharing and collection: what is named by content, who shares it, and what may go."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import CacheCorrupt
from dedicated.weights.collect import GRACE_S, Blob, Ref, evicted, held_bytes, marked, removable
from dedicated.weights.keys import Keys, Model, blob_of, filter_name, model_of, scope_for, scope_of
from dedicated.weights.manifest import PART_BYTES, CachedFile, Manifest, decoded, in_order, part_count

UID = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"
DAY = 86_400.0


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def a_file(path: str = "model.safetensors", size: int = 3 * PART_BYTES + 5, part_bytes: int = PART_BYTES) -> CachedFile:
    parts = tuple(sha(f"{path}{index}") for index in range(part_count(size, part_bytes)))
    return CachedFile(path, size, sha(path), parts, part_bytes)


def a_manifest(*files: CachedFile) -> Manifest:
    return Manifest("acme/tiny", "a" * 40, "public", "all", files or (a_file(),))


paths = st.sampled_from(["config.json", "a.bin", "b.bin", "deep/er/c.safetensors", "é.txt"])
file_sets = st.lists(st.builds(a_file, paths, st.integers(0, 100), st.integers(10, 64)), min_size=1, max_size=5)
manifests = file_sets.map(lambda files: a_manifest(*{file.path: file for file in files}.values()))


@given(manifests)
def test_a_manifest_is_read_as_it_was_written_and_goes_by_the_digest_of_its_bytes(manifest):
    raw = manifest.encoded()
    assert manifest.digest == hashlib.sha256(raw).hexdigest()
    assert decoded(raw, manifest.digest) == manifest


@given(manifests, st.data())
def test_a_manifest_with_any_bit_flipped_is_refused(manifest, data):
    raw = bytearray(manifest.encoded())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CacheCorrupt):
        decoded(bytes(raw), manifest.digest)


@given(st.integers(0, 200), st.integers(1, 50))
def test_parts_cover_every_byte_of_a_file_once(size, part_bytes):
    file = a_file(size=size, part_bytes=part_bytes)
    spans = [file.span(index) for index in range(len(file.parts))]
    assert [first for first, _ in spans] == [index * part_bytes for index in range(len(spans))]
    assert sum(length for _, length in spans) == size and all(length > 0 for _, length in spans)


def changed(**fields):
    said = orjson.loads(a_manifest().encoded())
    for name, value in fields.items():
        if name in said:
            said[name] = value
        else:
            said["files"][0][name] = value
    raw = orjson.dumps(said)
    return raw, hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "../../etc/passwd"},
        {"path": "/etc/passwd"},
        {"path": ""},
        {"size": 1},
        {"size": -5, "totalBytes": -5},
        {"partSize": 0},
        {"sha256": "f" * 63},
        {"sha256": "../x"},
        {"parts": [1, 2, 3, 4]},
        {"schema": 2},
        {"totalBytes": 1},
        {"files": []},
        {"files": 7},
    ],
    ids=str,
)
def test_a_manifest_that_someone_else_made_up_is_refused(fields):
    with pytest.raises(CacheCorrupt):
        decoded(*changed(**fields))


def test_a_manifest_that_names_a_file_twice_is_refused():
    raw = a_manifest(a_file("a"), a_file("a")).encoded()
    with pytest.raises(CacheCorrupt, match="twice"):
        decoded(raw, hashlib.sha256(raw).hexdigest())


def test_small_files_come_first_and_shards_in_their_order():
    names = ["model-00002-of-00002.safetensors", "tokenizer.json", "model-00001-of-00002.safetensors", "config.json"]
    sized = dict(zip(names, (10, 900, 99, 5), strict=True))
    ordered = [file.path for file in in_order(a_file(name, sized[name]) for name in names)]
    assert ordered == ["config.json", "tokenizer.json", names[2], names[0]]


# scope


def test_weights_are_public_only_where_an_anonymous_read_has_succeeded():
    assert scope_for(anonymous_read=True, namespace_uid=UID) == "public"
    assert scope_for(anonymous_read=False, namespace_uid=UID) == f"n-{UID}"


@pytest.mark.parametrize("uid", ["", "public", "../public", "team-a", UID.upper(), UID + "/x"])
def test_a_namespace_without_a_uid_has_no_scope_at_all(uid):
    with pytest.raises(ValueError, match="UID"):
        scope_for(anonymous_read=False, namespace_uid=uid)


@given(st.sampled_from(["public", f"n-{UID}"]), st.sampled_from(["", "a", "a/b/"]), st.sampled_from(["acme/tiny", "gpt2"]))
def test_keys_tell_what_they_were_made_of(scope, prefix, repo):
    keys, model = Keys(prefix, scope), Model(repo, "c" * 40, "one-form")
    assert model_of(keys.ref(model)) == model and scope_of(keys.ref(model)) == scope
    assert blob_of(keys.blob(sha("x"))) == sha("x") and blob_of(keys.ref(model)) is None
    assert model_of(keys.blob(sha("x"))) is None and not keys.root.startswith("/")


def test_scopes_share_no_key():
    ours, theirs = Keys("", "public"), Keys("", f"n-{UID}")
    assert not theirs.blob(sha("x")).startswith(ours.root) and not ours.blob(sha("x")).startswith(theirs.root)


def test_engines_that_choose_alike_share_and_patterns_count_whatever_their_order():
    assert filter_name(EngineKind.VLLM) == filter_name(EngineKind.SGLANG) != filter_name(EngineKind.LLAMACPP)
    assert filter_name(EngineKind.VLLM, ["a", "b"]) == filter_name(EngineKind.VLLM, ["b", "a"]) != filter_name(EngineKind.VLLM, ["a"], ["b"])


# collection


def test_a_blob_goes_a_day_after_it_was_marked_and_never_while_somebody_refers_to_it():
    blobs = [Blob("used", 1, 9 * DAY), Blob("old", 1, 9 * DAY), Blob("new", 1, 10.0)]
    marks = marked(blobs, {"used"}, {}, now=1000.0)
    assert marks == {"old": 1000.0}
    assert removable(blobs, {"used"}, marks, now=1000.0 + GRACE_S - 1) == []
    later = [Blob(blob.sha256, 1, blob.age_s + GRACE_S) for blob in blobs]
    assert [blob.sha256 for blob in removable(later, {"used"}, marks, now=1000.0 + GRACE_S)] == ["old"]
    assert removable(later, {"used", "old"}, marks, now=1000.0 + GRACE_S) == []


def test_a_marked_blob_that_was_written_again_stays():
    assert removable([Blob("back", 1, age_s=60.0)], set(), {"back": 1000.0}, now=1000.0 + 2 * GRACE_S) == []


names = st.sampled_from("abcdefgh")
blob_lists = st.lists(st.builds(Blob, names, st.just(1), st.floats(0, 5 * GRACE_S)), unique_by=lambda blob: blob.sha256)


@given(blob_lists, st.sets(names), st.dictionaries(names, st.floats(0, 1e6)), st.floats(1e6, 2e6))
def test_nothing_that_is_used_or_younger_than_a_day_is_ever_marked_or_removed(blobs, used, marks, now):
    gone = {blob.sha256 for blob in removable(blobs, used, marks, now)}
    new = marked(blobs, used, marks, now)
    assert not gone & used and not set(new) & used
    assert all(blob.age_s >= GRACE_S for blob in blobs if blob.sha256 in gone | set(new))
    assert all(since <= now for since in new.values())


def a_ref(name: str, idle_s: float, scope: str = "public", **blobs: int) -> Ref:
    return Ref(scope, Model(f"acme/{name}", "c", "all"), blobs, idle_s)


def test_the_longest_unused_goes_first_and_what_an_endpoint_uses_last():
    refs = [a_ref("fresh", 1, a=10), a_ref("old", 99, b=10), a_ref("older", 999, c=10)]
    assert [ref.model.repo for ref in evicted(refs, 20, set())] == ["acme/older"]
    assert [ref.model.repo for ref in evicted(refs, 20, {("acme/older", "c")})] == ["acme/old"]
    assert evicted(refs, 30, set()) == []


def test_shared_blobs_count_once_in_a_scope():
    refs = [a_ref("one", 1, a=10), a_ref("two", 2, a=10), a_ref("theirs", 3, f"n-{UID}", a=10)]
    assert held_bytes(refs) == 20


holdings = st.sets(st.sampled_from("abcd"), min_size=1)


@given(st.lists(st.tuples(st.floats(0, 1e6), holdings), max_size=8), st.integers(0, 60))
def test_what_is_kept_fits_the_budget_or_is_nothing(drawn, budget):
    refs = [a_ref(str(number), idle_s, **dict.fromkeys(blobs, 10)) for number, (idle_s, blobs) in enumerate(drawn)]
    gone = evicted(refs, budget, set())
    kept = list(refs)
    for ref in gone:
        kept.remove(ref)
    assert not kept or held_bytes(kept) <= budget
    if gone and kept:
        assert min(ref.idle_s for ref in gone) >= max(ref.idle_s for ref in kept)
