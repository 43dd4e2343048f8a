"""Trying again what may pass by itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from dedicated.api.errors import ObjectStoreUnavailable

TRIES = 5
FIRST_S, LONGEST_S = 0.2, 5.0
T = TypeVar("T")


def patiently(call: Callable[[], T], tries: int = TRIES) -> T:
    """The answer of a call that may be made again. Raises what the last one of so many raised."""
    for attempt in range(tries):
        try:
            return call()
        except ObjectStoreUnavailable:
            if attempt == tries - 1:
                raise
            longest = min(FIRST_S * 2**attempt, LONGEST_S)
            time.sleep(random.uniform(longest / 2, longest))
    raise AssertionError("unreachable")
