"""`dedicated wake|pause|resume|wait` against an API server in memory."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from dedicated.adapters.kinds import ENDPOINT, LEASE
from dedicated.api import names
from dedicated.cli import app
from dedicated.cli.life import progress
from tests.support.fakeapi import serving_api
from tests.support.process import kubeconfig_for

SLEEPING = {"Ready": ("True", "NoTraffic"), "Active": ("False", "NoTraffic")}
UP = {"Ready": ("True", "AllReady"), "Active": ("True", "AllReady")}
PAUSED = {"Ready": ("False", "Suspended"), "Active": ("False", "Suspended")}
FAILED = {"Ready": ("False", "HostOutOfMemory"), "Active": ("False", "HostOutOfMemory"), "Stalled": ("True", "HostOutOfMemory")}
WAKE_FAILED = {"Ready": ("False", "WakeFailed"), "Active": ("False", "WakeFailed")}
UID = "uid-one"


def endpoint(conditions, **status):
    told = [{"type": kind, "status": word, "reason": reason, "message": "Told."} for kind, (word, reason) in conditions.items()]
    meta = {"name": "one", "namespace": "team-a", "uid": UID, "generation": 1}
    found = {"conditions": told, "observedGeneration": 1, "drain": {"epoch": 4, "reason": "NoTraffic"}, **status}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": meta, "spec": {"access": {"owner": "alice"}}, "status": found}


@pytest.fixture
def api(tmp_path, monkeypatch):
    with serving_api() as running:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig_for(running.url, tmp_path / "kubeconfig")))
        yield running


def run(*args):
    return CliRunner().invoke(app, [*args, "--namespace=team-a"])


def test_waking_writes_the_epoch_of_the_sleep_and_says_how_long_it_takes(api):
    api.put(endpoint(SLEEPING, wake={"expectedSeconds": 20}))
    done = run("wake", "one")
    assert (done.exit_code, done.stdout) == (0, "Endpoint is SLEEPING and is now WAKING UP; expected in about 20 s.\n")
    lease = api.get(LEASE, "dedicated-activity", names.endpoint_id(UID))
    assert lease["metadata"]["annotations"][names.ANNOTATION_WAKE] == "4"


@pytest.mark.parametrize(
    ("conditions", "says"),
    [(PAUSED, "is paused, not asleep"), (FAILED, "has failed (HostOutOfMemory)"), (WAKE_FAILED, "The last wake of one failed")],
    ids=["paused", "failed", "before the next attempt"],
)
def test_what_cannot_be_woken_says_why(api, conditions, says):
    api.put(endpoint(conditions, diagnosis={"nextAttemptAt": "2999-01-01T00:00:00Z"}))
    done = run("wake", "one")
    assert done.exit_code == 1 and says in done.stderr
    assert api.writes == []


def test_pausing_and_resuming_change_the_spec(api):
    api.put(endpoint(UP))
    for command, suspended in (("pause", True), ("resume", False)):
        assert run(command, "one").exit_code == 0
        assert api.get(ENDPOINT, "team-a", "one")["spec"]["suspend"] is suspended


def test_waiting_ends_when_it_is_up_and_when_it_will_not_come_up(api):
    api.put(endpoint(UP))
    assert run("wait", "one").stdout == "one is up.\n"
    api.put(endpoint(FAILED))
    done = run("wait", "one")
    assert (done.exit_code, done.stderr) == (1, "one is failed: Told.\n")
    assert run("wait", "two").exit_code == 1


def test_phases_are_told_as_far_as_they_are_known():
    phases = [{"phase": "fetch", "seconds": 12.0, "bytes": 2_000_000_000}, {"phase": "load"}]
    assert progress({"wake": {"current": {"phases": phases}}}) == ["  fetch    12 s, 2.0 GB", "  load     ..."]
    assert progress({}) == []
