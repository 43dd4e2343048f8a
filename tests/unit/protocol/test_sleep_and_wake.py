"""
Every order in which things can happen, with the real decisions of operator and gateway: see model.py.

Calls may come at every step. A fault is one of: the operator dies between two of its writes; a gateway dies, or its decision service or its Envoy
alone; it is cut off; its write is done and the answer lost. A write that is refused (429) is one that comes later.
"""

from __future__ import annotations

import pytest

from dedicated.gateway import handover
from dedicated.lifecycle import drain
from tests.unit.protocol import model
from tests.unit.protocol.explore import ends_well, explore
from tests.unit.protocol.model import Broken, Rules, start

WORLDS = [
    ("two calls and a fault around one sleep", Rules(calls=2, faults=1, most_epochs=1), "none"),
    ("two calls around two sleeps", Rules(calls=2, faults=0, most_epochs=2), "none"),
    ("a fault at one of two gateways", Rules(calls=1, faults=1, most_epochs=1, only_at="b", late_lease=False), "ready"),
    ("a gateway that starts meanwhile", Rules(calls=1, faults=0, most_epochs=1, late_lease=False), "absent"),
]


@pytest.mark.parametrize(("rules", "second"), [world[1:] for world in WORLDS], ids=[world[0] for world in WORLDS])
def test_no_call_is_sent_to_a_pod_that_goes_none_is_cut_off_by_a_sleep_and_each_sleep_ends_in_one_wake(rules, second):
    reached = explore(start(rules, second=second), rules)
    asleep = sum(state.status.asleep for state in reached)
    woken = sum(state.wakes > 0 for state in reached)
    print(f"{len(reached)} states, {asleep} of them asleep, {woken} after a wake")
    assert asleep and woken


ENDS = {
    "a fault": (Rules(1, 1, 1), "none"),
    "two calls": (Rules(2, 0, 1), "none"),
    "two gateways": (Rules(1, 0, 1, late_lease=False), "ready"),
}


@pytest.mark.parametrize(("rules", "second"), ENDS.values(), ids=ENDS.keys())
def test_from_every_state_held_calls_are_answered_and_an_idle_endpoint_sleeps(rules, second):
    known: set[model.State] = set()
    for state in explore(start(rules, second=second), rules):
        ends_well(state, rules._replace(most_epochs=9), known)


def broken_routing(monkeypatch):
    monkeypatch.setattr(handover, "routable", lambda replicas, _drain: list(replicas))


def impatient_operator(monkeypatch):
    monkeypatch.setattr(drain, "unanswered", lambda _seen, _drain: ())


def careless_word(monkeypatch):
    monkeypatch.setattr(handover, "acknowledgement", lambda drain, _seen: str(drain.epoch) if drain.pods else None)


def no_last_word(monkeypatch):
    monkeypatch.setattr(model, "asks", lambda *_: False)


def forgetful_status(monkeypatch):
    monkeypatch.setattr(drain, "MOST_GONE", 0)
    monkeypatch.setattr(handover, "routable", lambda replicas, found: [one for one in replicas if one.pod not in found.pods])


MISTAKES = [broken_routing, impatient_operator, careless_word, no_last_word, forgetful_status]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.__name__.replace("_", " ") for mistake in MISTAKES])
def test_the_exploration_finds_a_mistake_in_either_half(mistake, monkeypatch):
    rules = Rules(calls=1, faults=0, most_epochs=1, late_lease=False)
    model.decided.cache_clear()
    if mistake is not no_last_word:
        model.asks.cache_clear()
    mistake(monkeypatch)
    with pytest.raises(Broken):
        explore(start(rules, second="absent"), rules)
    monkeypatch.undo()
    model.decided.cache_clear()
    model.asks.cache_clear()
