"""What the hub asked to wait for is waited for: by all, and ended by one."""

from __future__ import annotations

import pytest

from dedicated.adapters.hub.gate import Gate, NoGate
from dedicated.api.errors import HubRateLimited, HubUnavailable


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate(clock):
    return Gate(clock)


def limited(wait_s=12.0):
    return HubRateLimited("Wait.", retry_after_s=wait_s)


def passes(gate, *keys):
    try:
        gate.check(*keys)
    except HubRateLimited as held:
        return held.retry_after_s
    return True


def test_all_wait_until_the_time_that_was_named_and_are_told_what_is_left_of_it(gate, clock):
    gate.hold("api", 12, limited())
    assert passes(gate, "api") == 12
    clock.now += 5
    assert passes(gate, "reach", "api") == 7


def test_another_key_is_free(gate):
    gate.hold(("api", "alice"), 12, limited())
    assert passes(gate, ("api", "bob")) is True and passes(gate, ("resolvers", "alice")) is True


def test_after_the_time_one_goes_ahead_and_its_success_opens_the_gate(gate, clock):
    gate.hold("api", 12, limited())
    clock.now += 12
    assert [passes(gate, "api") for _ in range(3)] == [True, 2, 2]
    gate.open("api")
    assert [passes(gate, "api") for _ in range(3)] == [True, True, True]


def test_one_that_goes_ahead_and_fails_holds_the_gate_again(gate, clock):
    gate.hold("api", 12, limited())
    clock.now += 12
    assert passes(gate, "api") is True
    gate.hold("api", 30, limited(30))
    assert passes(gate, "api") == 30


def test_one_that_goes_ahead_and_never_comes_back_holds_nobody_for_ever(gate, clock):
    gate.hold("api", 12, limited())
    clock.now += 12
    assert passes(gate, "api") is True
    clock.now += 2
    assert passes(gate, "api") is True


def test_a_hub_that_is_away_names_no_time_so_that_who_waits_backs_off(gate):
    gate.hold("reach", 5, HubUnavailable("It is away."))
    with pytest.raises(HubUnavailable, match="It is away") as raised:
        gate.check("reach")
    assert raised.value.retry_after_s is None


def test_what_is_held_is_bounded(gate, monkeypatch):
    monkeypatch.setattr("dedicated.adapters.hub.gate.MOST", 2)
    for key in "abc":
        gate.hold(key, 12, limited())
    assert [passes(gate, key) for key in "abc"] == [True, 12, 12]


def test_a_process_with_its_own_patience_is_not_held():
    gate = NoGate()
    gate.hold("api", 12, limited())
    gate.check("api")
