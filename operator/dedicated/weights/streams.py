"""How many streams to fetch over: more while that pays, fewer when the store asks for it."""

from __future__ import annotations

from dataclasses import dataclass

FEWEST, FIRST, MOST = 1, 8, 64
STEP = 4
GAIN = 1.05
"""What more streams must bring to be kept: a twentieth more."""


@dataclass(frozen=True)
class Streams:
    """The number of streams, and the best rate that was seen with fewer. (bytes per second)"""

    count: int = FIRST
    best_rate: float = 0.0
    settled: bool = False

    def after(self, rate: float, *, slowed: bool, most: int = MOST) -> Streams:
        """
        The number after an interval at this rate. (slowed: the store asked for less in it)

        Half where the store asked for it; a step more while the last step paid; else one step back, and it stays so.
        """
        if slowed:
            return Streams(max(FEWEST, self.count // 2), 0.0, True)
        if self.settled:
            return self
        if rate > self.best_rate * GAIN and self.count < most:
            return Streams(min(most, self.count + STEP), rate)
        grown = self.best_rate > 0 and rate <= self.best_rate * GAIN
        return Streams(max(FEWEST, self.count - STEP) if grown else self.count, max(rate, self.best_rate), True)


def parts_at_once(streams: int) -> int:
    """Parts in one request: 64 MiB while there are few streams, 16 MiB beyond that, so that all of them have work till the end."""
    return 4 if streams <= FIRST else 1
