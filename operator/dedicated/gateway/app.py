"""What callers ask of the gateway itself: models, an endpoint's state and logs, a wake. Envoy passes these calls on as they came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from dedicated.gateway import access, answers
from dedicated.gateway.access import Caller, Refuse
from dedicated.gateway.checks import INTERNAL, JSON, LISTED_S, Answer, Deps, failed, refusal
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint

log = logging.getLogger(__name__)


class App:
    """Answers Envoy."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """What is asked of the gateway itself; a bug of ours becomes a sentence here, as it does for checks in `checks.py`."""
        try:
            if not self._deps.listed.is_set():
                await asyncio.wait_for(self._deps.listed.wait(), LISTED_S)
            return await self._answer(request)
        except Exception:
            return _web(failed(request.headers.get("X-Request-Id")))

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
            return _refusal(503, wait.sentence, wait.headers)
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


def _refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _web(refusal(status, sentence, headers))


def _web(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
