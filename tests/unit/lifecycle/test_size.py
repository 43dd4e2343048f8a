"""The status stays under 16 KiB, whatever logs, events and API servers say."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedicated.api.reasons import Reason
from dedicated.api.status import EndpointStatus, Plan, RejectedClass
from dedicated.diagnosis.diagnose import diagnose
from dedicated.diagnosis.evidence import EventFacts
from dedicated.lifecycle.decide import decide
from dedicated.lifecycle.size import MAX_STATUS
from dedicated.lifecycle.status import report
from tests.support.builders import LIMITS, NOW, TARGET, a_pod, an_engine, an_observation, ended, workloads
from tests.support.status_rules import broken_rules

REJECTED = [RejectedClass(accelerator=f"class-{at}", reason=Reason.NO_CAPACITY, message="é" * 256) for at in range(16)]
PLAN = Plan(accelerator="l4", count=1, rejected=REJECTED, alternatives=["x" * 63] * 5, message="😀" * 512)


def size(status: EndpointStatus) -> int:
    return len(orjson.dumps(status.to_dict()))


def told(log: str, message: str, *, pods: int = 1, plan: Plan | None = None) -> EndpointStatus:
    engine = an_engine(terminated=ended(1, message[:200], message), restarts=3, log_tail=log)
    event = EventFacts("Failed", message, True)
    found = tuple(replace(a_pod(containers=(engine,), events=(event,)), name=f"{'p' * 240}-{at}") for at in range(pods))
    seen = an_observation(pods=found, plan=plan, workloads=workloads(**{TARGET: 1}), finding=diagnose(found, LIMITS, NOW))
    return report(seen, decide(seen))


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=1500), st.text(max_size=1500), st.integers(min_value=1, max_value=40), st.booleans())
def test_no_log_and_no_message_makes_the_status_larger_than_16_kib(log, message, pods, planned):
    status = told(log, message, pods=pods, plan=PLAN if planned else None)
    assert size(status) <= MAX_STATUS and broken_rules(status, 1) == []


@pytest.mark.parametrize(
    "letter", ["x", "é", "漢", "😀", '"', "\\", "\x00", "\ufffd"], ids=["ascii", "2 bytes", "3 bytes", "4 bytes", "quote", "slash", "nul", "lost"]
)
@pytest.mark.parametrize(
    "log", ["{}\n", "RuntimeError: {} CUDA out of memory. Tried to allocate 1.00 GiB\n", "{}"], ids=["lines", "a cause", "one line"]
)
def test_the_worst_of_everything_at_once_still_fits(letter, log):
    status = told(log.format(letter * 300) * 40, letter * 5000, pods=20, plan=PLAN)
    assert size(status) <= MAX_STATUS and broken_rules(status, 1) == []
    assert EndpointStatus.model_validate(status.to_dict()) == status


def test_an_ordinary_failure_loses_nothing():
    status = told("loading\nValueError: it broke", "", pods=2)
    assert status.diagnosis.log_tail == "loading\nValueError: it broke" and len(status.pods) == 2
    assert size(status) < MAX_STATUS / 4
