"""
What is in flight and what was lately, from Envoy's access log. Holds no clock: every call brings its time.

*Theory of operation.* A check that routes is the beginning of a request; Envoy then writes a line each period while the request lasts, and one at its
end. A line renews the request, the end removes it, and one of which nothing was heard for three periods is forgotten: its Envoy is gone. So a new
service knows after one period what is in flight, whatever it missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

PERIOD_S = 5.0
FORGOTTEN_S = 3 * PERIOD_S
AVOIDED_S = 5.0
"""How long an address is left out after it could not be connected to; the watch of EndpointSlices has told by then whether it is gone."""
NO_CONNECTION = "UF"
"""Envoy's response flag of a failed upstream connection (envoyproxy.io, access log, RESPONSE_FLAGS)."""


@dataclass(slots=True)
class _Flight:
    endpoint: str
    address: str
    pod: str
    seen: float


@dataclass(slots=True)
class Ledger:
    """Requests in flight. (all times: seconds of one monotonic clock)"""

    _live: dict[str, _Flight] = field(default_factory=dict)
    _per_endpoint: Counter[str] = field(default_factory=Counter)
    _per_address: Counter[str] = field(default_factory=Counter)
    _last: dict[str, float] = field(default_factory=dict)
    _avoided: dict[str, float] = field(default_factory=dict)
    _turn: int = 0

    def began(self, request: str, endpoint: str, address: str, now: float, pod: str = "") -> None:
        """A request was sent on its way, or still lasts. (pod: empty where the log told of it)"""
        self._last[endpoint] = now
        known = self._live.get(request)
        if known is not None and known.address != address:  # the check was repeated, and chose anew
            self._drop(request)
            known = None
        if known is None:
            self._live[request] = _Flight(endpoint, address, pod, now)
            self._per_endpoint[endpoint] += 1
            self._per_address[address] += 1
        else:
            known.seen = now

    def ended(self, request: str, endpoint: str, address: str, flags: str, now: float) -> None:
        """A request is over."""
        self._last[endpoint] = now
        if NO_CONNECTION in flags.split(","):
            self._avoided[address] = now + AVOIDED_S
        self._drop(request)

    def over(self, request: str) -> None:
        """A request ended before anything of it was sent on its way."""
        self._drop(request)

    def sweep(self, now: float) -> None:
        """Forget requests whose Envoy is gone, and addresses that may be tried again."""
        for request in [request for request, flight in self._live.items() if now - flight.seen > FORGOTTEN_S]:
            self._drop(request)
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}

    def forget(self, endpoints: set[str]) -> None:
        """Endpoints that are no more."""
        for endpoint in endpoints:
            self._last.pop(endpoint, None)

    def in_flight(self, endpoint: str) -> int:
        """Requests in flight to an endpoint."""
        return self._per_endpoint[endpoint]

    def in_flight_on(self, endpoint: str, pods: Collection[str], elsewhere: Collection[str]) -> int:
        """Requests in flight on these pods. One of which only the log told, by its address, counts unless that is one of those elsewhere."""
        flights = (flight for flight in self._live.values() if flight.endpoint == endpoint)
        return sum(flight.pod in pods if flight.pod else flight.address not in elsewhere for flight in flights)

    def total(self) -> int:
        """Requests in flight."""
        return len(self._live)

    def known(self) -> set[str]:
        """Endpoints that were called since the start."""
        return set(self._last)

    def last(self, endpoint: str) -> float | None:
        """When a request of an endpoint was last seen."""
        return self._last.get(endpoint)

    def pick(self, addresses: Collection[str]) -> str:
        """The address with the fewest requests in flight; among equals each in turn, and one that failed just now only where there is no other."""
        self._turn += 1
        count = len(addresses)
        turn = self._turn % count
        known = list(addresses)
        if count == 1:
            return known[0]
        order = known[turn:] + known[:turn]
        return min(order, key=lambda address: (address in self._avoided, self._per_address.get(address, 0)))

    def _drop(self, request: str) -> None:
        flight = self._live.pop(request, None)
        if flight is None:
            return
        for counter, name in ((self._per_endpoint, flight.endpoint), (self._per_address, flight.address)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
