"""Keys on a real API server: what `dedicated keys` makes, shows and revokes, and what nobody may change."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dedicated.api import apikey


@pytest.fixture
def keys(plane, kubectl):
    """`dedicated keys` in the test's namespace; answers the finished process."""

    def run(*args):
        env = {**os.environ, "KUBECONFIG": str(plane.kubeconfig), "DEDICATED_SYSTEM_NAMESPACE": kubectl.namespace}
        return subprocess.run([sys.executable, "-m", "dedicated", "keys", *args], env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


def made(keys, *args):
    done = keys("create", "--owner", "alice", *args, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_key_is_made_listed_and_revoked_and_its_secret_is_nowhere(keys, kubectl):
    key = made(keys)
    assert apikey.well_formed(key["key"])
    assert key["name"] == apikey.object_name(apikey.hash_of(key["key"]))
    assert key["key"] not in kubectl.must("get", "apikeys", "-o=json")
    assert [row["state"] for row in json.loads(keys("list", "-o", "json").stdout)] == ["active"]
    assert "is revoked" in keys("revoke", key["key"]).stdout
    assert [row["state"] for row in json.loads(keys("list", "-o", "json").stdout)] == ["revoked"]
    assert "cannot be taken back" in kubectl.run("patch", "apikey", key["name"], "--type=merge", '-p={"spec":{"revoked":false}}').stderr


def test_a_key_that_expires_says_when_and_text_is_for_people(keys):
    key = made(keys, "--expires-in", "90d")
    assert key["expiresAt"] > "2026"
    shown = keys("create", "--owner", "bob")
    assert apikey.well_formed(shown.stdout.strip()) and "shown only now" in shown.stderr
    assert "bob" not in keys("list", "--owner", "alice").stdout and key["name"] in keys("list").stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("revoke", "k-nobody"), 1, "no such key"),
        (("create", "--owner", "alice", "--expires-in", "soon"), 2, "write a duration"),
        (("create", "--owner", ""), 2, "--owner needs"),
    ],
    ids=["a key that is not there", "no duration", "no owner"],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(keys, args, code, says):
    done = keys(*args)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr


def test_the_owner_and_the_hash_of_a_key_never_change(keys, kubectl):
    key = made(keys)
    said = kubectl.run("patch", "apikey", key["name"], "--type=merge", '-p={"spec":{"owner":"mallory"}}').stderr
    assert "create another key" in said


def test_a_name_that_is_not_the_hash_is_refused(kubectl):
    manifest = apikey.manifest(apikey.secret_from(bytes(40)), "alice", kubectl.namespace)
    manifest["metadata"]["name"] = "k-of-mine"
    assert "first 40 characters" in kubectl.refused(manifest)
