"""The hub's HTTP behaviour: model info, tree, resolve with redirects, access checks, and how all that is changed while it serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web
from pydantic import ValidationError

from hack.hub.accounts import ACCOUNTS, INVALID_TOKEN, INVALID_USER_TOKEN, NO_USER, NOT_FOUND, Account, Refusal, gate, hidden
from hack.hub.content import CLOSING, hang_up, pause, send
from hack.hub.facts import facts
from hack.hub.faults import FAULTS, Fault
from hack.hub.repository import File, Repository, find

PAGE = 1000
CHALLENGE = 'Bearer realm="Authentication required", charset="UTF-8"'
UNTOUCHED = ("/control/", "/healthz")
"""Paths that are neither recorded nor made to fail."""


@dataclass
class Hub:
    """
    What is served, to whom, and what is made to go wrong. `tokens` maps a token to its account, or to the repositories that it may read.

    `POST /control/faults` and `POST /control/tokens` replace these two while it serves; `GET /control/faults` shows how often each fault was.
    """

    root: Path
    tokens: Mapping[str, Account | list[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    content_host: str | None = None
    """Host and port that large files are redirected to; the own one when not set."""
    mirror: bool = False
    """A mirror that serves files and little else: no whoami, auth-check or tree, no error codes, nothing told but the files' names."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """What was asked: method, path with query, headers."""

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._faulty])
        app[CLOSING] = asyncio.Event()
        app.on_shutdown.append(_close)
        model = "/api/models/{owner}/{name}"
        app.add_routes(
            [
                web.get("/api/whoami-v2", self._whoami),
                web.get(model, self._info),
                web.get(model + "/auth-check", self._auth_check),
                web.get(model + "/revision/{revision}", self._info),
                web.get(model + "/tree/{revision}", self._tree),
                web.get(model + "/tree/{revision}/{path:.+}", self._tree),
                web.get("/{owner}/{name}/resolve/{revision}/{path:.+}", self._resolve),
                web.get("/cdn/{owner}/{name}/{digest}/{path:.+}", self._cdn),
                web.get("/healthz", self._healthz),
                web.get("/control/faults", self._show_faults),
                web.post("/control/faults", self._replace_faults),
                web.post("/control/tokens", self._replace_tokens),
            ]
        )
        return app

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse | None = _renamed(self.root, request)
        if not request.path.startswith(UNTOUCHED):
            self.requests.append((request.method, request.path_qs, dict(request.headers)))
            answer = await self._fail(request) or answer
        answer = answer or await handler(request)
        if self.mirror and isinstance(answer, web.Response):
            return _as_a_mirror(request, answer)
        return answer

    async def _fail(self, request: web.Request) -> web.Response | None:
        """Wait, and answer in the hub's place, where a fault says so. The faults of contents are left to whoever sends them."""
        for fault in self.faults:
            if fault.on_content or not fault.takes(request):
                continue
            if fault.silent:
                await pause(request)
                hang_up(request)
                return web.Response(status=503)
            if fault.status is not None:
                return fault.answer(request)
            await pause(request, fault.delay_s or 0)
        return None

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return web.json_response([fault.model_dump(exclude_defaults=True) for fault in self.faults])

    async def _replace_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = FAULTS.validate_json(await request.read())
        except ValidationError as wrong:
            return _error(Refusal(400, _sentence(wrong)))
        return await self._show_faults(request)

    async def _replace_tokens(self, request: web.Request) -> web.Response:
        try:
            self.tokens = ACCOUNTS.validate_json(await request.read())
        except ValidationError as wrong:
            return _error(Refusal(400, _sentence(wrong)))
        return web.json_response({"tokens": len(self.tokens)})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    def _account(self, request: web.Request) -> Account | None:
        """Who asks; None is anonymous. Raises KeyError where the token is unknown."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            return None
        return ACCOUNTS.validate_python({token: self.tokens[token]})[token]

    async def _whoami(self, request: web.Request) -> web.Response:
        try:
            account = self._account(request)
        except KeyError:
            return _error(INVALID_USER_TOKEN)
        return web.json_response(account.described()) if account else _error(NO_USER)

    async def _info(self, request: web.Request) -> web.Response:
        repo = self._repository(request)
        if isinstance(repo, Refusal):
            return _error(repo)
        blobs = request.query.get("blobs", "").lower() in ("true", "1")
        return web.json_response({**repo.described(blobs), **facts(repo)})

    async def _auth_check(self, request: web.Request) -> web.Response:
        repo = self._repository(request, gated=True)
        return _error(repo) if isinstance(repo, Refusal) else web.Response(text="OK")

    async def _tree(self, request: web.Request) -> web.Response:
        repo = self._repository(request)
        if isinstance(repo, Refusal):
            return _error(repo)
        below = request.match_info.get("path", "")
        entries = [file.in_tree() for file in repo.files if not below or file.path.startswith(below + "/")]
        start = int(request.query.get("cursor", "0"))
        headers = {}
        if start + PAGE < len(entries):
            headers["Link"] = f'<{request.url.update_query(cursor=str(start + PAGE))}>; rel="next"'
        return web.json_response(entries[start : start + PAGE], headers=headers)

    def _repository(self, request: web.Request, *, gated: bool = False) -> Repository | Refusal:
        """The repository that is asked for, or why it is not shown. `gated`: what is asked stands behind its gate."""
        try:
            account = self._account(request)
        except KeyError:
            return INVALID_TOKEN
        repo = _named(self.root, request)
        refusal = hidden(account, repo) or (gate(account, repo) if gated and repo else None)
        if repo is None or refusal:
            return refusal or NOT_FOUND
        known = repo.has_revision(request.match_info.get("revision", "main"))
        return repo if known else Refusal(404, "Invalid rev id", "RevisionNotFound")

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repo = self._repository(request, gated=True)
        if isinstance(repo, Refusal):
            return _error(repo)
        file = repo.file(request.match_info["path"])
        if file is None:
            return _error(Refusal(404, "Entry not found", "EntryNotFound"))
        headers = _linked(repo, file)
        if not file.large:
            return await send(request, file, headers, self.faults)
        place = f"{request.scheme}://{self.content_host or request.host}/cdn/{quote(repo.id)}/{file.sha256}/{quote(file.path)}?Signature=x"
        return web.Response(status=302, headers={**headers, "Location": place, "ETag": f'"{file.etag}"'})

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        repo = _named(self.root, request)
        file = repo.file(request.match_info["path"]) if repo else None
        if repo is None or file is None or "Signature" not in request.query or file.sha256 != request.match_info["digest"]:
            return _error(Refusal(403, "Access denied"))
        return await send(request, file, _linked(repo, file), self.faults)


async def _close(app: web.Application) -> None:
    app[CLOSING].set()


def _renamed(root: Path, request: web.Request) -> web.Response | None:
    """Where a repository has another name by now: a redirect to the same below that, on this host."""
    repo = _named(root, request) if "owner" in request.match_info else None
    if repo is None or repo.moved_to is None:
        return None
    return web.Response(status=307, headers={"Location": request.path_qs.replace(repo.id, repo.moved_to, 1)})


def _as_a_mirror(request: web.Request, answer: web.Response) -> web.Response:
    """The same answer from a mirror: what it has not got is a bare 404."""
    if request.path.endswith(("/whoami-v2", "/auth-check")) or "/tree/" in request.path:
        return web.Response(status=404)
    for header in ("X-Error-Code", "X-Error-Message", "X-Repo-Commit", "X-Linked-Size", "X-Linked-Etag"):
        answer.headers.pop(header, None)
    if answer.status >= 400:
        return web.Response(status=answer.status)
    if request.path.startswith("/api/models/") and isinstance(answer.body, bytes):
        said = json.loads(answer.body)
        return web.json_response({"id": said["id"], "sha": said["sha"], "siblings": [{"rfilename": file["rfilename"]} for file in said["siblings"]]})
    return answer


def _named(root: Path, request: web.Request) -> Repository | None:
    return find(root, f"{request.match_info['owner']}/{request.match_info['name']}")


def _linked(repo: Repository, file: File) -> dict[str, str]:
    """What clients learn of a file before they download it; on the redirect too, since they follow one on the same host."""
    return {"X-Repo-Commit": repo.commit, "X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.etag}"', "Accept-Ranges": "bytes"}


def _sentence(wrong: ValidationError) -> str:
    """The first thing that is wrong with what was posted."""
    first = wrong.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"There is no field {place}."
    return f"{place or 'The body'}: {first['msg'].removeprefix('Value error, ')}."


def _error(refusal: Refusal) -> web.Response:
    headers = {"X-Error-Message": refusal.message, **({"X-Error-Code": refusal.code} if refusal.code else {})}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    return web.json_response({"error": refusal.message}, status=refusal.status, headers=headers)
