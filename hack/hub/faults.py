"""What is made to go wrong: each fault is one effect on requests of one kind, a number of times or always."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Kind = Literal["any", "api", "resolvers", "content"]
QUOTAS = {"api": 500, "resolvers": 3000}
"""Requests in a window that an anonymous address has. Source: hub-docs rate-limits.md, September 2025."""
WINDOW_S = 300
RETRY_AFTER_S = 5

EFFECTS_ON_ANSWER = ("status", "delay_s", "silent")
EFFECTS_ON_CONTENT = ("cut_after_bytes", "bytes_per_second", "short_by_bytes", "wrong_content")

Count = Annotated[int, Field(ge=1)]


class Fault(BaseModel):
    """One effect, on the requests that it matches. Exactly one of the effects is set."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind = "any"
    """api: everything below /api. resolvers: files, before the redirect. content: large files, where the redirect leads."""
    path: str = ""
    """A regular expression that is somewhere in the path with its query."""
    times: Count | None = None
    """For that many requests; always where it is None."""
    shown: int = 0
    """How often it was."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    """Answer with this status. 429 says so in the hub's rate limit headers."""
    retry_after_s: Count | None = None
    """Goes with a status: the header Retry-After. A 429 always has one."""
    delay_s: Annotated[float, Field(gt=0)] | None = None
    """Wait before the answer."""
    silent: bool = False
    """Never answer."""
    cut_after_bytes: Annotated[int, Field(ge=0)] | None = None
    """Break a download off after this many bytes, if it is longer."""
    bytes_per_second: Count | None = None
    """Send no faster."""
    short_by_bytes: Count | None = None
    """Send a file that lacks its end, and a Content-Length that agrees with it: only its size and digest tell."""
    wrong_content: bool = False
    """Send another last byte: the content has the right size and does not match its digest."""

    @model_validator(mode="after")
    def _has_one_effect(self) -> Self:
        effects = [name for name in (*EFFECTS_ON_ANSWER, *EFFECTS_ON_CONTENT) if getattr(self, name) not in (None, False)]
        if len(effects) != 1:
            raise ValueError(f"a fault has one effect, and this has {len(effects)}: one of {', '.join((*EFFECTS_ON_ANSWER, *EFFECTS_ON_CONTENT))}")
        if self.retry_after_s is not None and self.status is None:
            raise ValueError("retry_after_s goes with a status")
        try:
            re.compile(self.path)
        except re.error as wrong:
            raise ValueError(f"path is no regular expression ({wrong})") from None
        return self

    @property
    def on_content(self) -> bool:
        """Whether it shows in the body of a file only."""
        return any(getattr(self, name) not in (None, False) for name in EFFECTS_ON_CONTENT)

    def takes(self, request: web.Request) -> bool:
        """Whether this request gets it, and it is counted."""
        over = self.times is not None and self.shown >= self.times
        if over or self.kind not in ("any", kind_of(request)) or not re.search(self.path, request.path_qs):
            return False
        self.shown += 1
        return True

    def answer(self, request: web.Request) -> web.Response:
        """The answer with its status. Errors of the hub's own are not in its format: a load balancer sends them."""
        assert self.status is not None
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else {}
        if self.status == 429:
            headers = rate_limit(kind_of(request), self.retry_after_s or RETRY_AFTER_S)
        return web.Response(status=self.status, text=f"<html><body>{self.status}</body></html>", content_type="text/html", headers=headers)


FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])


def kind_of(request: web.Request) -> Kind:
    """What the hub counts this request as."""
    if request.path.startswith("/api/"):
        return "api"
    return "content" if request.path.startswith("/cdn/") else "resolvers"


def rate_limit(kind: Kind, reset_s: int) -> dict[str, str]:
    """
    The headers of a quota that is used up.

    Source: huggingface_hub 2.4.0 utils/_http.py `parse_ratelimit_headers`.
    """
    policy = f'"fixed window";"{kind}";q={QUOTAS.get(kind, QUOTAS["resolvers"])};w={WINDOW_S}'
    return {"RateLimit": f'"{kind}";r=0;t={reset_s}', "RateLimit-Policy": policy, "Retry-After": str(reset_s)}


@dataclass(frozen=True)
class Damage:
    """What is wrong with one download."""

    cut_after_bytes: int | None = None
    bytes_per_second: int | None = None
    short_by_bytes: int = 0
    wrong_content: bool = False


def damage_to(request: web.Request, faults: Iterable[Fault], length: int) -> Damage:
    """The faults of a download of this many bytes, all in one. One that is no longer than a cut is left alone."""
    found = [fault for fault in faults if fault.on_content and length > (fault.cut_after_bytes or 0) and fault.takes(request)]
    return Damage(
        cut_after_bytes=min((fault.cut_after_bytes for fault in found if fault.cut_after_bytes is not None), default=None),
        bytes_per_second=min((fault.bytes_per_second for fault in found if fault.bytes_per_second), default=None),
        short_by_bytes=sum(fault.short_by_bytes or 0 for fault in found),
        wrong_content=any(fault.wrong_content for fault in found),
    )
