"""Walks through every state that a model can reach."""

from __future__ import annotations

from collections import deque

from tests.unit.protocol.model import Broken, Rules, State, steps


def explore(first: State, rules: Rules, most: int = 2_000_000) -> dict[State, tuple[State, str] | None]:
    """
    Every reachable state, each with the state and the step by which it was first reached.

    Raises:
        Broken: A rule does not hold; with the shortest story that leads there.
    """
    came_by: dict[State, tuple[State, str] | None] = {first: None}
    todo = deque([first])
    while todo:
        state = todo.popleft()
        try:
            for what, after in steps(state, rules):
                if after not in came_by:
                    came_by[after] = (state, what)
                    todo.append(after)
        except Broken as broken:
            raise Broken(f"{broken}:\n" + "\n".join(story(came_by, state))) from None
        assert len(came_by) <= most, "the model has become too large"
    return came_by


def story(came_by: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    """The steps that lead to a state."""
    told: list[str] = []
    while (before := came_by[state]) is not None:
        state, what = before
        told.append(what)
    return told[::-1]


FIRST = (
    "reached",
    "lists",
    "hears",
    "has heard",
    "call ends",
    "lets a held",
    "writes",
    "says",
    "is ready",
    "scales",
    "reports",
    "after the deadline",
)
"""Where nothing fails and nobody calls, in this order of eagerness; only then a Lease grows old."""


def ends_well(state: State, rules: Rules, known: set[State], most: int = 80) -> None:
    """
    Where nothing fails any more and nobody calls, every held call is answered and the endpoint sleeps.

    Args:
        known: States of which that is known; those on the way are added.
    Raises:
        Broken: It does not.
    """
    path: list[State] = []
    told: list[str] = []
    while state not in known:
        path.append(state)
        if len(path) > most:
            raise Broken("it comes to no end:\n" + "\n".join(told))
        found = [(what, after) for what, after in steps(state._replace(calls=0, faults=0), rules)]
        nexts = [(rank, what, after) for rank, word in enumerate((*FIRST, "grows old")) for what, after in found if word in what]
        if not nexts:
            held = sum(g.held for g in state.gateways if g.life == "ready")
            if held or not state.status.asleep or state.replicas:
                raise Broken(f"it ends with {held} held calls, {state.status}:\n" + "\n".join(told))
            break
        _, what, state = min(nexts, key=lambda one: one[0])
        told.append(what)
    known.update(path)
