"""
The API server, by an aiohttp session of ours: what the official client's aio module would do for each call (its own JSON, models, retries) costs as
much again as the call itself.

Every call ends in an object or in one of our errors. Connection errors, 429 and 5xx are tried twice more, then the caller goes back to the queue.
409 and 422 are never repeated blindly: the caller observes again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from dedicated.adapters.credentials import Credentials, find
from dedicated.adapters.kinds import BY_NAME, LEASE, POD, Kind
from dedicated.api.errors import ApiConflict, ApiNotFound, ApiRefused, ApiUnavailable, DedicatedError
from dedicated.api.names import FIELD_MANAGER
from dedicated.telemetry import metrics

Manifest = dict[str, Any]

MAX_CONNECTIONS = 48
"""Of which each watch has one for itself."""
LONGEST_EVENT = 2**21
"""An event of a watch is one line; aiohttp's own limit is too short for a large object. (bytes)"""
REQUEST_TIMEOUT_S = 30.0
RETRIES = 2
PAGE = 100
"""Objects in one answer; what is read at once is held at once."""
WATCH_S = 600
LONGEST_LINE = 1024 * 1024
"""Of a line that is followed: a longer one is cut. (bytes)"""
MOST_LOG_BYTES = 16 * 1024 * 1024
"""Bytes of a log that the kubelet sends at most: it counts from the first of the lines asked for, so the end is looked for in what comes."""
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
ONE_METADATA_ONLY = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

_ERRORS: dict[int, type[DedicatedError]] = {
    400: ApiRefused,
    401: ApiUnavailable,
    403: ApiRefused,
    404: ApiNotFound,
    409: ApiConflict,
    410: ApiConflict,
    422: ApiRefused,
    429: ApiUnavailable,
}
_AGAIN = {429, 500, 502, 503, 504}


class KubeApi:
    """Verbs on the API server. Times come from its own clock: its Date header carried on by ours."""

    def __init__(self, credentials: Credentials, agent: str) -> None:
        self.credentials = credentials
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=credentials.tls()),
            read_bufsize=LONGEST_EVENT,
            headers={"User-Agent": agent},
        )
        self._offset_s = 0.0
        self._date = ""
        self.may_write: Callable[[], bool] = lambda: True
        """Asked before each write but those of a Lease: a process that was stopped for a while may wake up as nobody's operator."""

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, context: str | None = None, *, agent: str = "dedicated-operator") -> KubeApi:
        """
        With the pod's ServiceAccount, or with a kubeconfig file where one is named or this is no pod.

        Raises:
            ApiUnavailable: There is neither.
        """
        return cls(find(kubeconfig, context), agent)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def now(self) -> float:
        """The API server's time. (seconds since the epoch)"""
        return time.time() + self._offset_s

    async def get(self, kind: Kind, namespace: str | None, name: str, *, metadata_only: bool = False) -> Manifest:
        """One object; with `metadata_only` nothing but its metadata leaves the API server. Raises ApiNotFound."""
        return await self._json("GET", kind.path(namespace, name), accept=ONE_METADATA_ONLY if metadata_only else None)

    async def list(self, kind: Kind, *, metadata_only: bool = False, namespace: str | None = None, fields: str = "") -> list[Manifest]:
        """All objects of a kind that its selector allows, in pages; with `metadata_only` without spec and status."""
        query = {"limit": str(PAGE), "labelSelector": kind.selector or "", "fieldSelector": fields}
        accept = METADATA_ONLY if metadata_only else None
        found: list[Manifest] = []
        while True:
            page = await self._json("GET", kind.path(namespace), query=query, accept=accept)
            found += page.get("items") or []
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def snapshot(self, kind: Kind, tell: Callable[[Manifest], None]) -> tuple[set[str], str]:
        """Tell every object of a kind, in pages; answers their uids and the version of the whole."""
        query = {"limit": str(PAGE), "labelSelector": kind.selector or ""}
        uids: set[str] = set()
        while True:
            page = await self._json("GET", kind.path(), query=query, accept=METADATA_ONLY if kind.metadata_only else None)
            for obj in page.get("items") or []:
                uids.add(obj["metadata"]["uid"])
                tell(obj)
            token = page["metadata"].get("continue")
            if not token:
                return uids, str(page["metadata"]["resourceVersion"])
            query["continue"] = token

    async def watch(self, kind: Kind, version: str, silence_s: float) -> AsyncIterator[Manifest]:
        """
        Events of a kind since a version, bookmarks among them, until the API server ends the watch.

        Raises:
            ConnectionError: The connection broke, or told nothing for `silence_s`; it may go on from the last version.
            DedicatedError: The API server refused or ended it with an error; what changed meanwhile is known only by a new list.
        """
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
        path = kind.path() + "?" + urlencode({**query, "labelSelector": kind.selector or ""})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence_s)
        try:
            accept = ONE_METADATA_ONLY if kind.metadata_only else "application/json"
            response = await self._request("GET", path, None, "application/json", accept, timeout)
            try:
                if response.status != 200:
                    raise _error(response.status, await response.read())
                async for line in response.content:
                    event: Manifest = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _error(int(event["object"].get("code") or 500), line)
                    yield event
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as lost:
            raise ConnectionError(f"the watch of {kind.plural} broke: {type(lost).__name__}") from lost

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as `dedicated`; what others own of the same fields becomes ours."""
        kind, meta = BY_NAME[manifest["kind"]], manifest["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._json("PATCH", kind.path(meta.get("namespace"), meta["name"]), query=query, body=manifest, content=APPLY)

    async def patch(self, kind: Kind, namespace: str | None, name: str, body: Manifest, subresource: str | None = None) -> Manifest:
        """Merge patch; with metadata.resourceVersion in the body a stale one is an ApiConflict."""
        path = kind.path(namespace, name, subresource)
        return await self._json("PATCH", path, query={"fieldManager": FIELD_MANAGER}, body=body, content=MERGE)

    async def create(self, manifest: Manifest) -> Manifest:
        """Create; ApiConflict where it exists."""
        kind = BY_NAME[manifest["kind"]]
        path = kind.path(manifest["metadata"].get("namespace"))
        return await self._json("POST", path, query={"fieldManager": FIELD_MANAGER}, body=manifest, fenced=kind is not LEASE)

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Put the whole object; a stale resourceVersion is an ApiConflict. Tried once."""
        meta = manifest["metadata"]
        return await self._json("PUT", kind.path(meta.get("namespace"), meta["name"]), body=manifest, retries=0, fenced=kind is not LEASE)

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete this very object; one that is gone, or replaced by another of the same name, is as good as deleted."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._json("DELETE", kind.path(namespace, name), body=body)
        except (ApiNotFound, ApiConflict):
            return

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool,
        lines: int = 400,
        limit_bytes: int = 262_144,
        timestamps: bool = False,
    ) -> str:
        """The end of a container's log; empty where there is none (any more). The cause often stands hundreds of lines above the end."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower(), "timestamps": str(timestamps).lower()}
        path = POD.path(namespace, pod, "log") + "?" + urlencode({**query, "limitBytes": str(MOST_LOG_BYTES)})
        try:
            return (await self._end_of(path, limit_bytes)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""

    async def follow(self, namespace: str, pod: str, container: str, lines: int = 100) -> AsyncIterator[str]:
        """Lines of a container's log, and those to come, until it ends. Raises DedicatedError where it cannot be read."""
        query = urlencode({"container": container, "tailLines": str(lines), "follow": "true"})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        try:
            response = await self._request("GET", f"{POD.path(namespace, pod, 'log')}?{query}", None, "application/json", "*/*", timeout)
            try:
                if response.status >= 300:
                    raise _error(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    whole, rest = (whole, rest) if len(rest) < LONGEST_LINE else ([*whole, rest], b"")
                    for line in whole:
                        yield line.decode(errors="replace")
                if rest:
                    yield rest.decode(errors="replace")
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as lost:
            raise ApiUnavailable(f"the log of pod {pod} broke off: {type(lost).__name__}") from lost

    async def _end_of(self, path: str, keep: int) -> bytes:
        """The last bytes of an answer, from the beginning of a line where there is one; no more than twice as much is held."""
        response = await self._request("GET", path, None, "application/json", "*/*", aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        kept, whole = bytearray(), True
        try:
            if response.status >= 300:
                return b""
            async for chunk in response.content.iter_chunked(65_536):
                kept += chunk
                if len(kept) > 2 * keep:
                    del kept[:-keep]
                    whole = False
        finally:
            response.close()
        end = bytes(kept[-keep:])
        return end if whole and len(kept) <= keep else end[end.find(b"\n") + 1 :]

    async def _json(self, method: str, path: str, **how: Any) -> Manifest:
        found: Manifest = orjson.loads(await self._call(method, path, **how))
        return found

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        accept: str | None = None,
        retries: int = RETRIES,
        fenced: bool = True,
    ) -> bytes:
        for attempt in range(retries + 1):
            last = attempt == retries
            if fenced and method != "GET" and not self.may_write():
                raise ApiUnavailable("the lease may be another operator's by now, so nothing is written")
            try:
                status, headers, data = await self._once(method, path, query, body, content, accept or "application/json")
            except (aiohttp.ClientError, TimeoutError, OSError) as lost:
                if last:
                    raise ApiUnavailable(f"the API server does not answer: {type(lost).__name__}") from lost
                await asyncio.sleep(_pause_s(attempt, None))
                continue
            if status < 300:
                return data
            if last or status not in _AGAIN:
                raise _error(status, data)
            await asyncio.sleep(_pause_s(attempt, headers.get("Retry-After")))
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, query: dict[str, str] | None, body: Any, content: str, accept: str) -> tuple[int, Any, bytes]:
        path += f"?{urlencode(query)}" if query else ""
        response = await self._request(method, path, body, content, accept, aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        data: bytes = await response.read()
        return response.status, response.headers, data

    async def _request(self, method: str, path: str, body: Any, content: str, accept: str, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """One request, whose answer's body is not read yet."""
        headers = {"Accept": accept}
        if authorization := self.credentials.authorization():
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = content
        response = await self._session.request(
            method,
            URL(self.credentials.host + path, encoded=True),
            headers=headers,
            data=None if body is None else orjson.dumps(body),
            timeout=timeout,
            proxy=self.credentials.proxy,
            server_hostname=self.credentials.server_name,
        )
        self._learn_time(response.headers.get("Date"))
        metrics.API_REQUESTS.labels(method, str(response.status)).inc()
        return response

    def _learn_time(self, date: str | None) -> None:
        """The Date header has whole seconds: a difference below two says nothing."""
        if not date or date == self._date:
            return
        self._date = date
        offset = parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
        self._offset_s = offset if abs(offset) > 2.0 else 0.0


def _pause_s(attempt: int, retry_after: str | None) -> float:
    asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
    return float(min(5.0, max(asked, 0.2 * 2**attempt)) * random.uniform(0.8, 1.2))


def _error(status: int, data: bytes) -> DedicatedError:
    try:
        said = str(orjson.loads(data).get("message") or "")
    except ValueError:
        said = data[:200].decode(errors="replace")
    kind = _ERRORS.get(status, ApiUnavailable)
    return kind(f"the API server answered {status}: {said[:600]}")
