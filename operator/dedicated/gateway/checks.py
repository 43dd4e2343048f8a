"""
What Envoy asks before it passes a call on: a route, a refusal, or nothing yet.

Envoy takes every 5xx for a failure of ours, so a refusal with one travels as 425, and Envoy says 503 (envoy.config.route, ext_authz over HTTP). Where
a call goes travels in headers that become Envoy's metadata: no client can set them. A check that is decided at once is answered at once, without a
task of its own; one that is held is a coroutine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace

import orjson

from dedicated.gateway import access
from dedicated.gateway.access import CHECK, Call, Decision, Refuse, Route, View, Wait
from dedicated.gateway.activity import Reporter
from dedicated.gateway.holding import Holding
from dedicated.gateway.ledger import Ledger
from dedicated.gateway.standing import State
from dedicated.gateway.table import Table
from dedicated.gateway.waitroom import UNREAD_BYTES, Full, hold_s
from dedicated.telemetry import metrics

TOO_EARLY = 425
LISTED_S = 30.0
"""How long a call waits for the first full list after a start."""
INTERNAL = "Internal Server Error"
JSON = "application/json"
WITH_BODY = ("POST", "PUT", "PATCH")
ROUTED, REFUSED, NOT_NOW, FAILED = (metrics.GATEWAY_CHECKS.labels(name) for name in ("routed", "refused", "not-now", "failed"))
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deps:
    """What the service stands on."""

    table: Table
    view: View
    ledger: Ledger
    reporter: Reporter
    holding: Holding
    engine_key: Callable[[str], str]
    now: Callable[[], float]
    listed: asyncio.Event


@dataclass(frozen=True, slots=True)
class Check:
    """A check as it came. (headers: by name in lower case, of several with one name all; target: path and query, CHECK before them)"""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Checks:
    """Answers Envoy's checks."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def answer(self, check: Check) -> Answer | Coroutine[None, None, Answer]:
        """The answer to a check, or a coroutine that comes to it. A bug of ours becomes a sentence here."""
        if not self._deps.listed.is_set():
            return self._guarded(check, self._when_listed(check))
        try:
            found = self._decided(check)
        except Exception:
            return failed(check.headers.get("x-request-id"))
        return found if isinstance(found, Answer) else self._guarded(check, found)

    async def _guarded(self, check: Check, coming: Coroutine[None, None, Answer]) -> Answer:
        try:
            return await coming
        except Exception:
            return failed(check.headers.get("x-request-id"))

    async def _when_listed(self, check: Check) -> Answer:
        await asyncio.wait_for(self._deps.listed.wait(), LISTED_S)
        found = self._decided(check)
        return found if isinstance(found, Answer) else await found

    def _decided(self, check: Check) -> Answer | Coroutine[None, None, Answer]:
        started = time.perf_counter()
        call = Call(check.method, check.target.removeprefix(CHECK), check.headers.get("authorization"), check.body)
        decision = access.decide(call, self._deps.view, self._deps.now())
        metrics.GATEWAY_CHECK_SECONDS.observe(time.perf_counter() - started)
        if isinstance(decision, Route):
            return self._routed(decision, check)
        if isinstance(decision, Refuse):
            return _refused(decision)
        longest_s = hold_s(check.headers, decision.endpoint.hold) if decision.passes else 0.0
        if longest_s <= 0:
            return self._not_now(decision)
        size = len(check.body) or (UNREAD_BYTES if check.method in WITH_BODY else 0)
        return self._waiting(replace(check, body=b""), replace(call, body=b""), decision, size, longest_s)

    async def _waiting(self, check: Check, call: Call, wait: Wait, size: int, longest_s: float) -> Answer:
        """Hold a call as long as it may be, and answer as it stands then."""
        began = time.monotonic()
        decision = await self._held(call, wait, size, longest_s)
        if isinstance(decision, Wait):
            return self._not_now(decision)
        if isinstance(decision, Refuse):
            return _refused(decision)
        found = self._routed(decision, check)
        waited_s = time.monotonic() - began
        metrics.GATEWAY_HELD_SECONDS.observe(waited_s)
        found.headers["x-wake-seconds"] = f"{waited_s:.1f}"
        if wait.endpoint.standing.state is not State.UP:
            found.headers["x-cold-start"] = "true"
        return found

    async def _held(self, call: Call, wait: Wait, size: int, longest_s: float) -> Decision:
        """What is decided when the endpoint answers, or will not, or the time is over."""
        decision: Decision = wait
        until = time.monotonic() + longest_s
        while isinstance(decision, Wait) and decision.passes and (left_s := until - time.monotonic()) > 0:
            full = await self._deps.holding.hold(decision.endpoint, size, left_s)
            if isinstance(full, Full):
                return Refuse(429, full.sentence, decision.headers)
            decision = access.again(call, decision, self._deps.view, self._deps.now())
        return decision

    def _routed(self, route: Route, check: Check) -> Answer:
        ROUTED.inc()
        endpoint = route.endpoint
        self._deps.ledger.began(check.headers.get("x-request-id", ""), endpoint.id, route.address, time.monotonic(), route.pod)
        if route.caller.key:
            self._deps.reporter.used(route.caller.key)
        headers = {
            "authorization": f"Bearer {self._deps.engine_key(endpoint.uid)}",
            "x-dedicated-endpoint": endpoint.id,
            "x-dedicated-address": route.address,
        }
        if route.model:
            headers["x-dedicated-model"] = f"{route.model.offset}:{route.model.length}:{endpoint.id}"
        return Answer(200, headers)

    def _not_now(self, wait: Wait) -> Answer:
        NOT_NOW.inc()
        if wait.wakes:
            self._deps.reporter.wake_soon(wait.endpoint)
        return refusal(TOO_EARLY, wait.sentence, wait.headers)


def failed(request_id: str | None) -> Answer:
    """A bug of ours, inside the handler of its exception."""
    FAILED.inc()
    log.exception("a request failed", extra={"request_id": request_id})
    return refusal(500, INTERNAL)


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Answer:
    """No, with a sentence."""
    sent = {"content-type": JSON, "x-error-source": "gateway", **(headers or {})}
    return Answer(status, sent, b'{"error": %b}' % orjson.dumps(sentence))


def _refused(refuse: Refuse) -> Answer:
    REFUSED.inc()
    return refusal(TOO_EARLY if refuse.status == 503 else refuse.status, refuse.sentence, refuse.headers)
