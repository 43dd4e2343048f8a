"""When an endpoint that answers is idle: the rows of idle.py's table, to the second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedicated.api.activity import renewal_period_s
from dedicated.api.status import Condition, Drain, EndpointStatus
from dedicated.core.clock import rfc3339
from dedicated.lifecycle.idle import idle, quiet_at
from dedicated.lifecycle.observation import Activity, Load
from tests.support.builders import NOW, a_spec, an_observation

TELLS = {"kind": "llamacpp"}


def up(*, up_s=1000.0, called_s=None, load=None, wake=None, drain=None, engine=None, **scaling):
    """An endpoint that came up and was called so many seconds ago."""
    spec = a_spec(scaling={"idleAfter": "5m", "minAwake": "1m", **scaling}, **({"engine": engine} if engine else {}))
    active = Condition(type="Active", status="True", reason="AllReady", last_transition_time=rfc3339(NOW - up_s))
    activity = Activity(None if called_s is None else NOW - called_s, wake)
    return an_observation(spec=spec, status=EndpointStatus(conditions=[active], drain=drain), activity=activity, load=load)


@pytest.mark.parametrize(
    ("seen", "sleeps"),
    [
        (up(called_s=314.9), False),
        (up(called_s=315), True),
        (up(up_s=314), False),
        (up(up_s=315), True),
        (up(called_s=2000, up_s=314), False),
        (up(up_s=599, called_s=599, minAwake="10m"), False),
        (up(up_s=600, called_s=600, minAwake="10m"), True),
        (up(called_s=10_000, idleAfter="0s"), False),
        (up(called_s=900, idleAfter="15m"), False),
        (up(called_s=945, up_s=2000, idleAfter="15m"), True),
        (up(called_s=900, engine=TELLS), False),
        (up(called_s=900, engine=TELLS, load=Load(None)), False),
        (up(called_s=900, engine=TELLS, load=Load(1)), False),
        (up(called_s=900, engine=TELLS, load=Load(0)), True),
        (up(called_s=900, wake=3, drain=Drain(epoch=3, pods=["a"], reason="NoTraffic", at=rfc3339(NOW - 5))), False),
        (up(called_s=900, wake=2, drain=Drain(epoch=3, pods=["a"], reason="NoTraffic", at=rfc3339(NOW - 5))), True),
        (up(called_s=900, drain=Drain(epoch=3, at=rfc3339(NOW - 14))), False),
        (up(called_s=900, drain=Drain(epoch=3, at=rfc3339(NOW - 15))), True),
    ],
    ids=[
        "called a moment too late",
        "called exactly so long ago",
        "never called, up a second too short",
        "never called, up for exactly so long",
        "called before it came up",
        "minAwake is not over",
        "minAwake is just over",
        "never sleeps",
        "idle for idleAfter, but not for a renewal period more",
        "a renewal period of a twentieth",
        "the engine was not asked",
        "the engine did not answer",
        "the engine has a request that no gateway knows",
        "both witnesses agree",
        "a call came during the handover",
        "a call of an earlier sleep",
        "a handover was taken back just now",
        "a handover was taken back a period ago",
    ],
)
def test_when_it_sleeps(seen, sleeps):
    assert idle(seen).sleep is sleeps


def test_it_is_looked_at_again_when_time_alone_can_change_the_answer():
    assert idle(up(called_s=100)).look_again_at == pytest.approx(NOW + 215)
    assert idle(up(called_s=900, engine=TELLS, load=Load(1))).look_again_at == NOW + 15
    assert idle(up(called_s=900, engine=TELLS, load=Load(None))).look_again_at == NOW + 10
    assert idle(up(called_s=900, idleAfter="0s")).look_again_at is None


@pytest.mark.parametrize(("idle_s", "period_s"), [(0, 60), (60, 15), (300, 15), (900, 45), (1200, 60), (86_400, 60)])
def test_the_period_is_a_twentieth_between_15_s_and_60_s(idle_s, period_s):
    assert renewal_period_s(idle_s) == period_s


def test_the_shortest_period_is_a_setting():
    assert quiet_at(replace(up(called_s=100), renewal_s=1.0)) == pytest.approx(NOW - 100 + 300 + 15)
    assert quiet_at(replace(up(called_s=100, idleAfter="60s"), renewal_s=1.0)) == pytest.approx(NOW - 100 + 60 + 3)
