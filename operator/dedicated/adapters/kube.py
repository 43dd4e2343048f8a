"""
The API server, by the official client's aio module with plain dicts.

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
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from dedicated.adapters.kinds import BY_NAME, LEASE, POD, Kind
from dedicated.api.errors import ApiConflict, ApiNotFound, ApiRefused, ApiUnavailable, DedicatedError
from dedicated.api.names import FIELD_MANAGER
from dedicated.telemetry import metrics

Manifest = dict[str, Any]

MAX_CONNECTIONS = 48
"""Of which each watch has one for itself."""
REQUEST_TIMEOUT_S = 30.0
RETRIES = 2
PAGE = 100
"""Objects in one answer; what is read at once is held at once."""
WATCH_S = 600
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

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._offset_s = 0.0
        self.may_write: Callable[[], bool] = lambda: True
        """Asked before each write but those of a Lease: a process that was stopped for a while may wake up as nobody's operator."""

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, context: str | None = None, *, agent: str = "dedicated-operator") -> KubeApi:
        """
        With the pod's ServiceAccount, or with a kubeconfig file where one is named or this is no pod.

        Raises:
            ApiUnavailable: There is neither.
        """
        configuration = Configuration()
        configuration.connection_pool_maxsize = MAX_CONNECTIONS
        configuration.retries = None
        try:
            if kubeconfig:
                raise kube_config.ConfigException("a file is named")
            kube_config.load_incluster_config(client_configuration=configuration)
        except kube_config.ConfigException:
            try:
                await kube_config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
            except (kube_config.ConfigException, OSError) as wrong:
                where = kubeconfig or "~/.kube/config"
                raise ApiUnavailable(f"this is no pod, and the kubeconfig {where} cannot be used ({wrong}).") from wrong
        _use_proxy_of_environment(configuration)
        client = ApiClient(configuration)
        client.user_agent = agent
        return cls(client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

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

    async def logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 400, limit_bytes: int = 262_144) -> str:
        """The end of a container's log; empty where there is none (any more). The cause often stands hundreds of lines above the end."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(limit_bytes), "previous": str(previous).lower()}
        try:
            return (await self._call("GET", POD.path(namespace, pod, "log"), query=query)).decode(errors="replace")
        except DedicatedError:
            return ""

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
        headers = {"Accept": accept, "Content-Type": content, "User-Agent": self._client.user_agent}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        response: aiohttp.ClientResponse = await self._client.rest_client.request(
            method, self._client.configuration.host + path, headers=headers, body=body, _preload_content=False, _request_timeout=timeout
        )
        self._learn_time(response.headers.get("Date"))
        metrics.API_REQUESTS.labels(method, str(response.status)).inc()
        return response

    def _learn_time(self, date: str | None) -> None:
        """The Date header has whole seconds: a difference below two says nothing."""
        if not date:
            return
        offset = parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
        self._offset_s = offset if abs(offset) > 2.0 else 0.0


def _use_proxy_of_environment(configuration: Configuration) -> None:
    """As aiohttp's trust_env would, but looked up once: it reads ~/.netrc in a thread before each request."""
    configuration.client_session_kwargs = {"trust_env": False}
    host = urlsplit(configuration.host)
    if not configuration.proxy and host.hostname and not proxy_bypass(host.hostname):
        configuration.proxy = getproxies().get(host.scheme)


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
