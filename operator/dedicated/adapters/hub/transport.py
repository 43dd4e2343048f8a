"""
One request to the hub: bounded in time and bytes, redirected as the hub means it, held back where the hub asked for it.

The token goes to the hub alone. A large file is a redirect to storage elsewhere, whose address is signed; there the token has no business.
"""

from __future__ import annotations

import asyncio
import http.cookiejar
import ssl
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import httpx

from dedicated import __version__
from dedicated.adapters.hub.errors import Asked, error_of, retry_after_s
from dedicated.adapters.hub.gate import Gate
from dedicated.adapters.hub.token import authorization, key_of
from dedicated.api.errors import DedicatedError, HubUnavailable
from dedicated.core.quantities import human_bytes
from dedicated.telemetry import metrics

USER_AGENT = f"dedicated/{__version__}"
TIMEOUT = httpx.Timeout(10.0)
"""Between two signs of life. Source: HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT are 10 s in huggingface_hub 2.4.0."""
WHOLE_S = 25.0
SLOWEST_BYTES_PER_S = 1024 * 1024
"""For one answer with all its redirects: these seconds, and more for what may be long."""
LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=8)
REDIRECTS = 5
ERROR_BYTES = 16 * 1024
"""Of an error's body this much is read."""
UNREACHABLE_S = 5.0
"""How long nobody else tries a hub that cannot be reached. (seconds)"""
QUOTA_S = 30.0
"""How long a quota is taken for used up when the hub does not say. (seconds)"""
HUB_HOSTS = ("https://huggingface.co", "https://hf.co")
"""Hosts that a mirror may lead to with the token. Source: huggingface_hub 2.4.0 utils/_http.py `_HUB_ORIGINS`."""


class Kind(StrEnum):
    """What the hub counts a request as; each has a quota of its own (hub-docs rate-limits.md)."""

    API = "api"
    RESOLVERS = "resolvers"
    WHOAMI = "whoami"


@dataclass(frozen=True)
class Wanted:
    """A request. `limit` bounds the bytes of its answer; one that is longer is an error, or is `cut` there."""

    method: str
    path: str
    kind: Kind
    query: str = ""
    limit: int = 64 * 1024
    cut: bool = False
    first: int | None = None
    """First byte of a range that ends at its limit."""

    @property
    def headers(self) -> dict[str, str]:
        """What makes it so: no compression, since bytes are counted, and the range."""
        plain = {"Accept-Encoding": "identity"}
        return plain if self.first is None else {**plain, "Range": f"bytes={self.first}-{self.first + self.limit - 1}"}


@dataclass(frozen=True)
class Answer:
    """What came."""

    status: int
    headers: httpx.Headers
    body: bytes


class _NoAnswer(Exception):
    """The hub is there, but what it sends is nothing to work with."""


class Transport:
    """Asks one hub over a bounded number of connections. Keeps neither cookies nor tokens."""

    def __init__(self, endpoint: str, client: httpx.AsyncClient | None, gate: Gate) -> None:
        self._base = httpx.URL(endpoint.rstrip("/"))
        self.hub = shown(endpoint)
        self._client = client or httpx.AsyncClient(
            timeout=TIMEOUT, limits=LIMITS, headers={"User-Agent": USER_AGENT}, follow_redirects=False, cookies=no_cookies(), verify=tls()
        )
        self._gate = gate
        self._home = {_origin(self._base), *(_origin(httpx.URL(host)) for host in HUB_HOSTS)}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, wanted: Wanted, asked: Asked) -> Answer:
        """
        The answer, whatever its status.

        Raises:
            HubRateLimited, HubUnavailable: The hub cannot be asked now, or it was asked in vain.
        """
        quota = (wanted.kind, key_of(asked.token))
        reach = ("reach", wanted.kind is Kind.WHOAMI)  # what whoami lacks, the other calls tell too
        self._gate.check(reach, quota)
        try:
            async with asyncio.timeout(WHOLE_S + wanted.limit / SLOWEST_BYTES_PER_S):
                answer = await self._follow(wanted, asked)
        except (httpx.TransportError, TimeoutError) as lost:
            metrics.HUB_REQUESTS.labels(wanted.kind.value, "none").inc()
            unreachable = HubUnavailable(f"The hub {self.hub} cannot be reached ({type(lost).__name__}).")
            self._gate.hold(reach, UNREACHABLE_S, unreachable)
            raise unreachable from lost
        except (httpx.HTTPError, httpx.InvalidURL, _NoAnswer) as odd:
            metrics.HUB_REQUESTS.labels(wanted.kind.value, "none").inc()
            why = str(odd) if isinstance(odd, _NoAnswer) else type(odd).__name__  # the text of others may hold a signed address
            raise HubUnavailable(f"The hub {self.hub} gives no answer that can be used: {why}.") from odd
        self._gate.open(reach)
        self._learn(quota, answer, asked)
        return answer

    def refusal(self, answer: Answer, asked: Asked) -> DedicatedError:
        """The error that an answer stands for."""
        return error_of(self.hub, asked, answer.status, answer.headers, answer.body)

    def _learn(self, quota: tuple[Kind, str], answer: Answer, asked: Asked) -> None:
        """Open the gate, or hold it for as long as the hub says."""
        metrics.HUB_REQUESTS.labels(quota[0].value, str(answer.status)).inc()
        wait_s = retry_after_s(answer.headers)
        if answer.status == 429 or (answer.status == 503 and wait_s):
            self._gate.hold(quota, QUOTA_S if wait_s is None else wait_s, self.refusal(answer, asked))
        else:
            self._gate.open(quota)

    async def _follow(self, wanted: Wanted, asked: Asked) -> Answer:
        url = self._base.copy_with(raw_path=(self._base.raw_path.rstrip(b"/") + (wanted.path + wanted.query).encode()))
        for _ in range(REDIRECTS):
            answer = await self._once(wanted, url, asked)
            target = answer.headers.get("Location") if 300 <= answer.status < 400 else None
            if target is None:
                return answer
            there = url.join(target)
            if wanted.method == "HEAD" and ("X-Linked-Size" in answer.headers or _origin(there) not in self._home):
                return answer  # to storage: what the hub has to say is on the redirect itself
            if there.scheme not in ("http", "https"):
                raise _NoAnswer("it leads to another protocol")
            url = there
        raise _NoAnswer(f"it leads on after {REDIRECTS} redirects")

    async def _once(self, wanted: Wanted, url: httpx.URL, asked: Asked) -> Answer:
        at_home = _origin(url) in self._home
        headers = {**wanted.headers, **(authorization(asked.token) if at_home else {})}
        async with self._client.stream(wanted.method, url, headers=headers, follow_redirects=False) as response:
            return Answer(response.status_code, response.headers, await self._body(wanted, response))

    async def _body(self, wanted: Wanted, response: httpx.Response) -> bytes:
        """Up to the limit; of a whole file that came instead of the range that was asked for, only that range."""
        fine = response.status_code < 300
        skip = (wanted.first or 0) if response.status_code == 200 else 0
        limit, cut = (wanted.limit, wanted.cut) if fine else (ERROR_BYTES, True)
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk[skip:]
            skip = max(0, skip - len(chunk))
            if len(body) > limit and not cut:
                raise _NoAnswer(f"it has more than {human_bytes(limit)}")
            if len(body) >= limit and cut:
                break
        return bytes(body[:limit])


def shown(endpoint: str) -> str:
    """A hub's address as people see it: credentials that it may hold are the operator's own."""
    return str(httpx.URL(endpoint).copy_with(username=None, password=None)).rstrip("/")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: the port that a scheme implies is None."""
    return url.scheme, url.host, url.port


@lru_cache
def tls() -> ssl.SSLContext:
    """The authorities that are trusted, read once: each reading takes a twentieth of a second."""
    return httpx.create_ssl_context()


def no_cookies() -> http.cookiejar.CookieJar:
    """A hub's cookie for one caller must not go along with another's token."""
    return http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
