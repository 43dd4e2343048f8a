"""
Calls that are held until their endpoint answers: who may come in, who is let go, and when. Sans-IO: events with their time in, effects out.

*Theory of operation.* A call that meets an endpoint which does not answer now, and whose caller or endpoint asks for it, enters the room with a
deadline. It leaves in one of four ways, if it comes in at all:

| event | effect |
|---|---|
| the endpoint answers | all of its calls are let go, in the order in which they came |
| its wake failed, it was paused or deleted, or there is no room for it | all of its calls are let go: judged again, they get the reason |
| the deadline of a call | it is let go, and gets 503 with Retry-After |
| the caller left | its place and bytes are free; the wake goes on |
| the room is full | it does not enter: 429 |

Who is let go is judged again by `access.again`, so nothing that was true when it came is taken for granted. While there are calls of an endpoint in
the room, and addresses of which nobody knows whether they answer, these are probed: each 50 ms for two seconds, then each 250 ms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dedicated.gateway.table import Hold

FAST_S, FAST_FOR_S, SLOW_S = 0.05, 2.0, 0.25
"""Between two probes of one endpoint, for how long, and after that."""
PROBED_AT_ONCE = 20
"""Endpoints that are probed at that rate; of more each is probed the more slowly."""
UNREAD_BYTES = 256 * 1024
"""What a held call counts for whose body was not read: Envoy keeps no more of it (`envoy.BUFFER_BYTES`)."""
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
_SECONDS = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*s?\s*")


@dataclass(frozen=True, slots=True)
class Caps:
    """How many calls may be held at once. (count, bytes)"""

    requests: int
    bytes: int


@dataclass(eq=False, slots=True)
class Held:
    """A call in the room. (since, deadline: seconds of the room's clock)"""

    endpoint: str
    size: int
    since: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Full:
    """It may not come in: one sentence says why."""

    sentence: str


@dataclass(slots=True)
class _Queue:
    calls: dict[Held, None] = field(default_factory=dict)
    """In the order in which they came."""
    bytes: int = 0


class WaitRoom:
    """The room of one gateway. Every call brings its time, of one monotonic clock."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._queues: dict[str, _Queue] = {}
        self._requests, self._bytes = 0, 0

    def __len__(self) -> int:
        return self._requests

    @property
    def bytes(self) -> int:
        """Bytes of the calls that are held."""
        return self._bytes

    def endpoints(self) -> list[str]:
        """Those of which calls are held."""
        return list(self._queues)

    def holds(self, endpoint: str) -> bool:
        """Whether calls of this endpoint are held."""
        return endpoint in self._queues

    def enter(self, endpoint: str, size: int, hold: Hold, hold_s: float, now: float) -> Held | Full:
        """A call asks to be held. (size: bytes of its body; hold_s: for how long)"""
        queue = self._queues.get(endpoint) or _Queue()
        full = self._full(queue, size, hold)
        if full:
            return full
        held = Held(endpoint, size, now, now + hold_s)
        self._queues[endpoint] = queue
        queue.calls[held] = None
        queue.bytes += size
        self._requests, self._bytes = self._requests + 1, self._bytes + size
        return held

    def _full(self, queue: _Queue, size: int, hold: Hold) -> Full | None:
        if len(queue.calls) >= hold.requests:
            return Full(f"Too many calls already wait for this endpoint: at most {hold.requests} at once.")
        if queue.bytes + size > hold.bytes:
            return Full(f"The calls that wait for this endpoint are too large together: at most {hold.bytes} bytes.")
        if self._requests >= self._caps.requests or self._bytes + size > self._caps.bytes:
            return Full("Too many calls already wait at this gateway.")
        return None

    def leave(self, held: Held) -> None:
        """A call was answered, or its caller left; again is as good as once."""
        queue = self._queues.get(held.endpoint)
        if queue is None or held not in queue.calls:
            return
        del queue.calls[held]
        queue.bytes -= held.size
        self._requests, self._bytes = self._requests - 1, self._bytes - held.size
        if not queue.calls:
            del self._queues[held.endpoint]

    def let_go(self, endpoint: str) -> list[Held]:
        """The endpoint answers, or will not: all of its calls, first come first; they have left the room."""
        queue = self._queues.get(endpoint)
        return self._out(list(queue.calls)) if queue else []

    def expire(self, now: float) -> list[Held]:
        """Calls whose time is over, those that came first before; they have left the room."""
        return self._out([held for queue in self._queues.values() for held in queue.calls if held.deadline <= now])

    def _out(self, calls: list[Held]) -> list[Held]:
        for held in calls:
            self.leave(held)
        return calls


def hold_s(headers: Mapping[str, str], hold: Hold) -> float:
    """
    For how long a call is to be held: as it asks, else as its endpoint says, and no longer than that allows. (seconds)

    By headers, their names in lower case: `X-Scale-Up-Timeout: 30` or `30s`, or `Prefer: wait=30` (RFC 7240, 4.3). What cannot be read counts as not
    said.
    """
    if hold.requests == 0:
        return 0.0
    asked = _SECONDS.fullmatch(headers.get("x-scale-up-timeout") or "") or _WAIT.search(headers.get("prefer") or "")
    return min(float(asked[1]) if asked else float(hold.default_s), float(hold.longest_s))


def pause_s(since_s: float, endpoints: int) -> float:
    """Until an endpoint is probed again. (since_s: seconds since its address is known; endpoints: how many are probed now)"""
    pace_s = FAST_S if since_s < FAST_FOR_S else SLOW_S
    return pace_s * max(1.0, endpoints / PROBED_AT_ONCE)
