"""Engines that end with the words of real ones: each is named, the hardware comes back, and the log outlives the pod."""

from __future__ import annotations

import csv

import pytest

from dedicated.api.endpointlog import MAX_OBJECT, unpacked
from dedicated.api.reasons import Reason
from dedicated.diagnosis.conclude import conclude
from hack.tools import REPO
from tests.support.cluster import endpoint, wait_until
from tests.support.pods import OURS

FOLDER = REPO / "tests" / "fixtures" / "logs"
ROWS = [row for row in csv.DictReader((FOLDER / "index.csv").read_text().splitlines()) if not row["pod"]]
"""Those whose log alone tells: no pod was killed, evicted or kept from starting."""
AT_ONCE = 6
ONLY_THAT_IT_ENDED = {Reason.ENGINE_EXITED, Reason.CRASH_LOOP}


def words(row) -> str:
    """The tail as an argument of a program may be: without NUL, and no longer than the kernel lets it."""
    return (FOLDER / row["file"]).read_bytes().decode(errors="replace").replace("\0", "")[-100_000:]


def name_of(row) -> str:
    return row["file"].removesuffix(".txt")


def named(kubectl, name):
    """The diagnosis of the engine's own end: a busy node may not have started it in time at first, and it is tried again."""

    def there() -> bool:
        found = kubectl.status(name).diagnosis
        return found is not None and found.given_up and found.reason != Reason.START_DEADLINE_EXCEEDED

    wait_until(f"{name} to be diagnosed", there, 240)
    return kubectl.status(name).diagnosis


@pytest.fixture
def engines(kubectl, stub):
    """One endpoint a tail; many at once, as many as a small node starts in time."""
    for first in range(0, len(ROWS), AT_ONCE):
        some = ROWS[first : first + AT_ONCE]
        kubectl.apply(*(endpoint(name_of(row), engine=stub(f"--log-text={words(row)}", "--exit-after=200ms")) for row in some))
        for row in some:
            named(kubectl, name_of(row))
    return {row["file"]: row for row in ROWS}


def test_an_engine_that_ends_with_a_real_tail_is_named_and_gives_its_hardware_back(kubectl, engines):
    wrong = []
    for row in engines.values():
        found, expected = named(kubectl, name_of(row)), conclude(words(row))
        same = found.reason == expected.reason or {found.reason, expected.reason or Reason.ENGINE_EXITED} <= ONLY_THAT_IT_ENDED
        given_up_for_good = found.next_attempt_at is None
        right = same and found.exit_code == 1 and found.container == "engine" and found.log_tail and found.retryable != given_up_for_good
        wrong += [] if right else [(row["file"], row["coarse"], found.to_dict())]
    assert wrong == []
    permanent = {name_of(row) for row in engines.values() if not kubectl.status(name_of(row)).diagnosis.retryable}
    assert len(permanent) >= 12
    wait_until("the hardware of what stays failed", lambda: not pods_of(kubectl, permanent) and replicas_of(kubectl, permanent) == {0}, 60)
    logs = {found["metadata"]["labels"]["inference.dedicated.dev/endpoint"]: found for found in kubectl.all("endpointlogs")}
    assert set(logs) == {name_of(row) for row in engines.values()}
    for row in engines.values():
        record = logs[name_of(row)]
        last = [line for line in words(row).splitlines() if line.strip()][-1].strip()
        assert (record["spec"]["moment"] == "failed" and last[-20:] in unpacked(record["spec"]["text"])) or "***" in unpacked(record["spec"]["text"])
        assert len(str(record)) <= MAX_OBJECT


def pods_of(kubectl, names):
    return [pod for pod in kubectl.all("pod", OURS) if pod["metadata"]["labels"]["inference.dedicated.dev/endpoint"] in names]


def replicas_of(kubectl, names):
    found = [one for one in kubectl.all("deployment", OURS) if one["metadata"]["labels"]["inference.dedicated.dev/endpoint"] in names]
    return {one["spec"]["replicas"] for one in found}
