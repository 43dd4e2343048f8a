"""Sentences that everybody says in the same words."""

from __future__ import annotations

from dedicated.api.messages import still_waking, waking_up


def test_a_wake_says_how_long_it_takes_where_that_is_known():
    assert waking_up(20.2) == "Endpoint is SLEEPING and is now WAKING UP; expected in about 20 s."
    assert waking_up(300) == "Endpoint is SLEEPING and is now WAKING UP; expected in about 5 min."
    assert waking_up(None) == "Endpoint is SLEEPING and is now WAKING UP; how long that takes is not known yet."
    assert still_waking(0.2) == "Endpoint is WAKING UP; expected in about 1 s."
