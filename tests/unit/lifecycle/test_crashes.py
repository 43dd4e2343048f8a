"""An engine that serves and crashes: not called healthy, not killed for good, and forgiven after an hour."""

from __future__ import annotations

from dataclasses import replace

from dedicated.api.conditions import find
from dedicated.api.reasons import Reason
from dedicated.api.status import ConditionType, EndpointStatus, Phase, Revisions
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.diagnosis.diagnose import diagnose
from dedicated.diagnosis.evidence import Termination
from dedicated.lifecycle.crashes import REMEMBERED_S
from dedicated.lifecycle.decide import decide
from dedicated.lifecycle.status import report
from tests.support.builders import LIMITS, NOW, TARGET, a_pod, an_engine, an_observation, serving, workloads
from tests.support.status_rules import broken_rules

MINUTE = 60.0


def crash(at: float, ran_s: float) -> Termination:
    return Termination(1, "Error", "", at - ran_s, at)


class Endpoint:
    """One endpoint with one pod, over time: every look reports, and the next one reads that."""

    def __init__(self) -> None:
        self.now, self.status, self.restarts = NOW, serving(TARGET), 0
        self.last: Termination | None = None

    def crashes(self, after_s: float) -> EndpointStatus:
        """It serves for so long and crashes; the kubelet waits to start it again."""
        self.now += after_s
        self.last, self.restarts = crash(self.now, after_s), self.restarts + 1
        return self.look(an_engine(waiting_reason="CrashLoopBackOff", last=self.last, restarts=self.restarts))

    def comes_back(self, in_s: float = 10.0) -> EndpointStatus:
        self.now += in_s
        return self.look(an_engine(running_since=self.now, ready=True, started=True, last=self.last, restarts=self.restarts), ready=True)

    def look(self, engine, *, ready=False) -> EndpointStatus:
        pods = (a_pod(ready=ready, containers=(engine,)),)
        old = self.status.diagnosis
        served = bool(self.status.revisions and self.status.revisions.serving == TARGET)
        limits = replace(LIMITS, served=served, crashes=tuple(map(from_rfc3339, old.crashes)) if served and old else ())
        seen = an_observation(
            now=self.now, pods=pods, status=self.status, workloads=workloads(**{TARGET: 1}), finding=diagnose(pods, limits, self.now)
        )
        self.status = report(seen, decide(seen))
        assert broken_rules(self.status, 1) == []
        return self.status


def ready(status):
    return find(status.conditions, ConditionType.READY)


def test_a_crash_each_ten_minutes_is_named_while_it_answers_and_never_given_up():
    one = Endpoint()
    for number in range(1, 40):
        down = one.crashes(10 * MINUTE)
        assert down.phase is Phase.BUILDING and find(down.conditions, ConditionType.STALLED) is None
        up = one.comes_back()
        assert up.phase is Phase.UP and ready(up).status == "True"
        assert ready(up).reason == (Reason.CRASH_LOOP if number >= 3 else Reason.ALL_READY)
        assert up.diagnosis and not up.diagnosis.given_up and len(up.diagnosis.crashes) <= 10
    assert "has crashed 5 times" in ready(up).message or "has crashed 6 times" in ready(up).message


def test_it_is_called_healthy_again_after_an_hour_without_a_crash():
    one = Endpoint()
    for _ in range(4):
        one.crashes(10 * MINUTE)
        one.comes_back()
    up = one.comes_back(REMEMBERED_S + 1)
    assert up.diagnosis is None and ready(up).reason == Reason.ALL_READY


def test_crashes_in_quick_succession_give_the_hardware_back_each_time_for_longer():
    one, waits = Endpoint(), []
    for _ in range(3):
        one.restarts = 0
        for _ in range(3):
            status = one.crashes(20)
        assert status.phase is Phase.FAILED and status.diagnosis.given_up and status.diagnosis.next_attempt_at
        waits.append(from_rfc3339(status.diagnosis.next_attempt_at) - one.now)
        one.now += waits[-1] + 1
        one.last, one.restarts = None, 0
        one.status = one.comes_back()
        assert one.status.phase is Phase.UP
    assert waits == sorted(waits) and waits[0] < waits[-1] <= 900


def test_one_crash_after_hours_of_health_is_no_failed_start():
    one = Endpoint()
    one.restarts = 7  # one a week, in one pod
    status = one.crashes(9 * 3600)
    assert status.phase is Phase.BUILDING and status.diagnosis.retryable and status.revisions.serving == TARGET
    assert one.comes_back().phase is Phase.UP


def test_a_changed_spec_forgets_the_crashes():
    one = Endpoint()
    for _ in range(4):
        one.crashes(10 * MINUTE)
        one.comes_back()
    one.last = None
    pods = (a_pod(ready=True, containers=(an_engine(running_since=one.now, ready=True),)),)
    seen = an_observation(now=one.now, inputs_hash="other", pods=pods, status=one.status, workloads=workloads(**{TARGET: 1}))
    assert report(seen, decide(seen)).diagnosis is None


def test_an_engine_that_is_told_to_go_does_not_crash():
    going = a_pod(deleting=True, containers=(an_engine(terminated=Termination(143, "Error", "", NOW - 60, NOW - 1)),))
    seen = an_observation(pods=(a_pod(ready=True), going), status=serving(TARGET), workloads=workloads(**{TARGET: 1}))
    assert report(seen, decide(seen)).diagnosis is None


def test_a_start_that_fails_is_no_crash_of_what_serves():
    pods = (a_pod(containers=(an_engine(waiting_reason="CrashLoopBackOff", last=crash(NOW - 1, 5), restarts=1),)),)
    seen = an_observation(
        pods=pods, status=EndpointStatus(phase=Phase.BUILDING, revisions=Revisions(target=TARGET)), finding=diagnose(pods, LIMITS, NOW)
    )
    assert report(seen, decide(seen)).diagnosis is None


def test_the_times_are_kept_for_a_restarted_operator():
    one = Endpoint()
    status = one.crashes(10 * MINUTE)
    assert EndpointStatus.model_validate(status.to_dict()).diagnosis.crashes == [rfc3339(one.now)]
