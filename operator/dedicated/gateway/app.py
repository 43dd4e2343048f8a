"""
The decision service: what Envoy asks before it passes a call on, and what the gateway answers itself.

A check comes under /check. Envoy takes every 5xx for a failure of ours, so a refusal with one travels as 425, and Envoy says 503
(envoy.config.route, ext_authz over HTTP). Where a call goes travels in headers that become Envoy's metadata: no client can set them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from aiohttp import web

from dedicated.api.endpointlog import EndpointLogSpec
from dedicated.gateway import access, answers
from dedicated.gateway.access import CHECK, Call, Caller, Decision, Refuse, Route, View, Wait
from dedicated.gateway.activity import Reporter
from dedicated.gateway.holding import Holding
from dedicated.gateway.ledger import Ledger
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint, Table
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
    recorded: Callable[[Endpoint], Awaitable[Sequence[EndpointLogSpec]]]


class App:
    """Answers Envoy."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request; the one place where a bug of ours becomes a sentence."""
        try:
            if not self._deps.listed.is_set():
                await asyncio.wait_for(self._deps.listed.wait(), LISTED_S)
            if request.raw_path.startswith(CHECK):
                return await self._check(request)
            return await self._answer(request)
        except Exception:
            FAILED.inc()
            log.exception("a request failed", extra={"request_id": request.headers.get("X-Request-Id")})
            return _refusal(500, INTERNAL)

    async def _check(self, request: web.BaseRequest) -> web.Response:
        started = time.perf_counter()
        path = request.raw_path.removeprefix(CHECK)
        body = await request.content.read() if request.body_exists else b""
        call = Call(request.method, path, _authorization(request), body)
        decision = access.decide(call, self._deps.view, self._deps.now())
        metrics.GATEWAY_CHECK_SECONDS.observe(time.perf_counter() - started)
        if isinstance(decision, Route):
            return self._routed(decision, request)
        if isinstance(decision, Wait):
            size = len(body) or (UNREAD_BYTES if request.method in WITH_BODY else 0)
            del body
            return await self._waiting(replace(call, body=b""), decision, size, request)
        return _checked_refusal(decision)

    async def _waiting(self, call: Call, wait: Wait, size: int, request: web.BaseRequest) -> web.Response:
        """Hold a call as long as it may be, and answer as it stands then."""
        longest_s = hold_s(request.headers, wait.endpoint.hold)
        began = time.monotonic()
        decision = await self._held(call, wait, size, longest_s) if wait.passes and longest_s > 0 else wait
        if isinstance(decision, Wait):
            NOT_NOW.inc()
            return self._not_now(decision, TOO_EARLY)
        if isinstance(decision, Refuse):
            return _checked_refusal(decision)
        answer = self._routed(decision, request)
        waited_s = time.monotonic() - began
        answer.headers["X-Wake-Seconds"] = f"{waited_s:.1f}"
        if wait.endpoint.standing.state is not State.UP:
            answer.headers["X-Cold-Start"] = "true"
        metrics.GATEWAY_HELD_SECONDS.observe(waited_s)
        return answer

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

    def _routed(self, route: Route, request: web.BaseRequest) -> web.Response:
        ROUTED.inc()
        endpoint = route.endpoint
        self._deps.ledger.began(request.headers.get("X-Request-Id", ""), endpoint.id, route.address, time.monotonic(), route.pod)
        if route.caller.key:
            self._deps.reporter.used(route.caller.key)
        headers = {
            "Authorization": f"Bearer {self._deps.engine_key(endpoint.uid)}",
            "X-Dedicated-Endpoint": endpoint.id,
            "X-Dedicated-Address": route.address,
        }
        if route.model:
            headers["X-Dedicated-Model"] = f"{route.model.offset}:{route.model.length}:{endpoint.id}"
        return web.Response(headers=headers)

    def _not_now(self, wait: Wait, status: int) -> web.Response:
        if wait.wakes:
            self._deps.reporter.wake_soon(wait.endpoint)
        return _refusal(status, wait.sentence, wait.headers)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        """What is asked of the gateway itself."""
        caller = access.authenticate(_authorization(request), self._deps.view, self._deps.now())
        if isinstance(caller, Refuse):
            return _refused(caller)
        if request.path == "/v1/models" and request.method == "GET":
            return _json(200, answers.models(caller.owner, self._deps.table))
        return await self._about_endpoint(request, caller)

    async def _about_endpoint(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        found = access.about(request.raw_path)
        answer = self._subjects().get((request.method, found[1])) if found else None
        if not found or not answer:
            return _refusal(404, access.NOT_FOUND)
        endpoint = access.owned(found[0], caller, self._deps.view.endpoints)
        return _refused(endpoint) if isinstance(endpoint, Refuse) else await answer(endpoint)

    def _subjects(self) -> dict[tuple[str, str], Callable[[Endpoint], Awaitable[web.Response]]]:
        return {("GET", ""): self._status, ("GET", "logs"): self._logs, ("POST", "wake"): self._wake}

    async def _status(self, endpoint: Endpoint) -> web.Response:
        return _json(200, answers.endpoint_status(endpoint, self._deps.now()))

    async def _logs(self, endpoint: Endpoint) -> web.Response:
        return _json(200, answers.logs(endpoint, await self._deps.recorded(endpoint)))

    async def _wake(self, endpoint: Endpoint) -> web.Response:
        """202 whether it sleeps, wakes already or is up; a wake that cannot be written down is a failure of ours."""
        found = {"id": endpoint.id, "state": endpoint.standing.state.value}
        if endpoint.standing.state is State.UP and self._deps.table.usable(endpoint):
            return _json(202, found)
        wait = access.not_now(endpoint, self._deps.now())
        if not (wait.wakes or wait.passes or endpoint.standing.state is State.BUILDING):
            return self._not_now(wait, 503)
        if wait.wakes and not await self._deps.reporter.wake(endpoint):
            return _refusal(500, INTERNAL)
        return _json(202, {**found, "message": wait.sentence})


def _authorization(request: web.BaseRequest) -> str | None:
    """The header; of two neither counts."""
    sent = request.headers.getall("Authorization", [])
    return sent[0] if len(sent) == 1 else None


def _json(status: int, value: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type=JSON)


def _refused(refuse: Refuse) -> web.Response:
    return _refusal(refuse.status, refuse.sentence, refuse.headers)


def _checked_refusal(refuse: Refuse) -> web.Response:
    """To Envoy, which takes a 5xx for our failure."""
    REFUSED.inc()
    return _refusal(TOO_EARLY if refuse.status == 503 else refuse.status, refuse.sentence, refuse.headers)


def _refusal(status: int, sentence: str, headers: Any = None) -> web.Response:
    sent = {"X-Error-Source": "gateway", **(headers or {})}
    return web.Response(status=status, body=b'{"error": %b}' % orjson.dumps(sentence), content_type=JSON, headers=sent)
