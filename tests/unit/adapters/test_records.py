"""Recorded logs as objects: once a run, redacted, bounded, and nobody's hindrance."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import orjson
import pytest

from dedicated.adapters.kinds import ENDPOINT_LOG
from dedicated.adapters.records import Records, recorded
from dedicated.adapters.store import Store
from dedicated.api.endpointlog import MAX_OBJECT, Moment, unpacked
from dedicated.api.errors import ApiUnavailable
from dedicated.lifecycle.records import Run
from tests.support.builders import NOW
from tests.support.fake_kube import FakeKube

RUN = Run(Moment.FAILED, "one-x", "engine", "rev", 2, NOW - 60, NOW - 5, 137, "loading\nout of memory")


def an_endpoint(number=1):
    return {"metadata": {"name": f"e{number}", "namespace": "team-a", "uid": f"uid-{number}"}}


@pytest.fixture
def kube():
    return FakeKube(Store())


def keep(records, kube, *runs, number=1):
    asyncio.run(records.keep(kube, an_endpoint(number), runs))


def logs(kube):
    return [obj["spec"] for obj in kube.all(ENDPOINT_LOG)]


def test_a_run_is_recorded_once_also_by_an_operator_that_starts_anew(kube):
    records = Records()
    keep(records, kube, RUN)
    keep(records, kube, RUN)
    keep(Records(), kube, RUN)
    assert kube.calls.count("apply EndpointLog") == 1
    (spec,) = logs(kube)
    assert (spec["attempt"], spec["exitCode"], spec["container"], spec["encoding"]) == (2, 137, "engine", "gzip+base64")
    assert unpacked(spec["text"]) == "loading\nout of memory"


def test_a_later_run_replaces_it_and_the_first_readiness_stands_beside_it(kube):
    records, ready = Records(), replace(RUN, moment=Moment.READY, log=None)
    kube.log = "Application startup complete"
    for run in (RUN, replace(RUN, ended_at=NOW, log="again"), ready):
        keep(records, kube, run)
    assert sorted(unpacked(spec["text"]) for spec in logs(kube)) == ["Application startup complete", "again"]
    assert [one.moment for one in asyncio.run(recorded(kube, "team-a", "e1", "uid-1"))] == [Moment.FAILED, Moment.READY]
    assert asyncio.run(recorded(kube, "team-a", "e1", "uid-2")) == []


def test_secrets_colours_and_progress_bars_are_not_recorded(kube):
    keep(Records(), kube, replace(RUN, log="\x1b[1mtoken=hf_abcdefghijklmnop\x1b[0m\n10%\r20%\r30%"))
    text = unpacked(logs(kube)[0]["text"])
    assert "hf_abc" not in text and "\x1b" not in text and text.endswith("30%") and "10%" not in text


def test_no_object_is_larger_than_16_kib(kube):
    dice = random.Random(7)
    noise = "\n".join(dice.randbytes(60).hex() for _ in range(2000))
    keep(Records(), kube, replace(RUN, log=noise, pod="p" * 253, revision="r" * 63))
    (obj,) = kube.all(ENDPOINT_LOG)
    assert 12_000 < len(orjson.dumps(obj)) <= MAX_OBJECT


def test_beyond_the_total_the_oldest_go_and_a_look_at_everything_finds_what_others_left(kube):
    records = Records(limit=3000)
    for number in range(12):
        kube.time = NOW + number
        keep(records, kube, RUN, number=number)
        assert sum(len(orjson.dumps(obj)) for obj in kube.all(ENDPOINT_LOG)) <= 4000
    left = {obj["metadata"]["name"] for obj in kube.all(ENDPOINT_LOG)}
    assert any(name.startswith("e11-") for name in left) and not any(name.startswith("e0-") for name in left)
    smaller = Records(limit=1000)
    asyncio.run(smaller.sweep(kube))
    assert len(kube.all(ENDPOINT_LOG)) == 1


def test_what_cannot_be_recorded_hinders_no_pass(kube, caplog):
    async def refuse(_manifest):
        raise ApiUnavailable("no answer")

    kube.apply = refuse
    keep(Records(), kube, RUN)
    assert "log not recorded" in caplog.text


def test_a_log_that_is_gone_is_not_recorded(kube):
    keep(Records(), kube, replace(RUN, log=None))
    assert logs(kube) == []
