"""
What an answer of the hub means, in one table.

| answer                                        | X-Error-Code, or the hub's words      | error                                        |
|-----------------------------------------------|---------------------------------------|----------------------------------------------|
| 429                                           | any                                   | HubRateLimited, with the wait it asks for    |
| any                                           | GatedRepo, no token                   | TokenMissing                                 |
| any                                           | GatedRepo, "awaiting a review"        | GatedAccessPending                           |
| any                                           | GatedRepo                             | GatedAccessDenied                            |
| any                                           | RevisionNotFound                      | RevisionNotFound                             |
| 403, 451                                      | "resource is disabled", or 451        | ModelDisabled                                |
| 401                                           | "invalid credentials", "expired", ... | TokenInvalid                                 |
| any                                           | RepoNotFound                          | ModelNotFound                                |
| 401, 404                                      | none: a bare 401 on a repository says no more | ModelNotFound, and that it may be hidden |
| 403                                           | any other                             | TokenScopeInsufficient; no token: TokenMissing |
| any other                                     |                                       | HubUnavailable                               |

Source: huggingface_hub 2.4.0 utils/_http.py `hf_raise_for_status` and errors.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dedicated.adapters.hub.token import Token
from dedicated.api.errors import (
    DedicatedError,
    GatedAccessDenied,
    GatedAccessPending,
    HubRateLimited,
    HubUnavailable,
    ModelDisabled,
    ModelNotFound,
    RevisionNotFound,
    TokenInvalid,
    TokenMissing,
    TokenScopeInsufficient,
)
from dedicated.diagnosis.redact import redacted

MOST_WORDS = 300
"""Characters of a hub's own words in a message."""
LONGEST_WAIT_S = 3600.0
"""A hub that asks for more is asked again after this: its window is 5 minutes (hub-docs rate-limits.md, September 2025)."""

_BAD_TOKEN = re.compile(r"invalid (credentials|user token|username or password)|user access token .*expired", re.IGNORECASE)
_DISABLED = re.compile(r"access to this resource is disabled", re.IGNORECASE)
_PENDING = re.compile(r"awaiting a review", re.IGNORECASE)
_REJECTED = re.compile(r"has been rejected", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What is asked of the hub, and by whom."""

    repo: str = ""
    revision: str = ""
    token: Token | None = None
    account: str = ""
    """The token's account, where the hub told."""

    @property
    def who(self) -> str:
        """Whose access it is, in words."""
        name = self.token.name if self.token else "nobody's token"
        return f"account {self.account} ({name})" if self.account else f"the account of {name}"


@dataclass(frozen=True)
class Refusal:
    """An answer that is none of those that were hoped for."""

    hub: str
    asked: Asked
    status: int
    code: str
    words: str
    wait_s: float | None

    @property
    def page(self) -> str:
        """Where a person reads the model's terms."""
        return f"{self.hub}/{self.asked.repo}"


def error_of(hub: str, asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> DedicatedError:
    """The error that this answer stands for. (hub: its address as people see it)"""
    words = _words(headers, body)
    words = asked.token.without(words) if asked.token else words
    refusal = Refusal(hub, asked, status, headers.get("X-Error-Code", ""), redacted(words)[:MOST_WORDS], retry_after_s(headers))
    if status == 429:
        return _rate_limited(refusal)
    known = {"GatedRepo": _gated, "RevisionNotFound": _no_revision, "RepoNotFound": _not_found}.get(refusal.code)
    return known(refusal) if known else _by_status(refusal)


def _words(headers: Mapping[str, str], body: bytes) -> str:
    """What the hub said: its header, or the error in its JSON; a page of HTML says nothing."""
    if said := headers.get("X-Error-Message"):
        return said
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(told.get("error") or "") if isinstance(told, dict) else ""


def _rate_limited(refusal: Refusal) -> DedicatedError:
    asked_for = f"; it asks to wait {refusal.wait_s:.0f} s" if refusal.wait_s else ""
    return HubRateLimited(f"The hub {refusal.hub} refuses more requests for now{asked_for}.", retry_after_s=refusal.wait_s)


def _gated(refusal: Refusal) -> DedicatedError:
    repo, page, who = refusal.asked.repo, refusal.page, refusal.asked.who
    if refusal.asked.token is None:
        return TokenMissing(
            f"{repo} is gated and no token is given: accept its terms at {page} and name a Secret with a token of that account "
            "in spec.model.tokenSecretRef."
        )
    if _PENDING.search(refusal.words):
        return GatedAccessPending(f"{repo} is gated and the request of {who} waits for its authors; see {page}.")
    if _REJECTED.search(refusal.words):
        return GatedAccessDenied(f"{repo} is gated and its authors have rejected the request of {who}; see {page}.")
    return GatedAccessDenied(
        f"{repo} is gated and {who} is not in its list: ask for access at {page}; a request that waits for approval may look the same."
    )


def _no_revision(refusal: Refusal) -> DedicatedError:
    return RevisionNotFound(f"{refusal.asked.repo} has no revision '{refusal.asked.revision}'; see {refusal.page}.")


def _not_found(refusal: Refusal) -> DedicatedError:
    token, repo = refusal.asked.token, refusal.asked.repo
    return ModelNotFound(f"{repo} does not exist, or {token.name} may not see it." if token else f"{repo} does not exist or is private.")


def _by_status(refusal: Refusal) -> DedicatedError:
    """Where the hub gives no code."""
    if refusal.status == 451 or (refusal.status == 403 and _DISABLED.search(refusal.words)):
        return ModelDisabled(f"{refusal.asked.repo} is disabled on the hub; see {refusal.page}.")
    if refusal.status == 401 and _BAD_TOKEN.search(refusal.words):
        return _bad_token(refusal)
    if refusal.status in (401, 404):
        return _not_found(refusal)
    if refusal.status == 403:
        return _forbidden(refusal)
    return HubUnavailable(f"The hub {refusal.hub} answered {refusal.status}.", retry_after_s=refusal.wait_s)


def _bad_token(refusal: Refusal) -> DedicatedError:
    token = refusal.asked.token
    return TokenInvalid(f"The hub {refusal.hub} does not know {token.name}.") if token else _not_found(refusal)


def _forbidden(refusal: Refusal) -> DedicatedError:
    token, repo = refusal.asked.token, refusal.asked.repo
    told = f" The hub says: {refusal.words}" if refusal.words else ""
    if token is None:
        return TokenMissing(f"The hub shows {repo} to nobody without a token: name a Secret with one in spec.model.tokenSecretRef.{told}")
    return TokenScopeInsufficient(f"{token.title} may not read {repo}: change it at {refusal.hub}/settings/tokens.{told}")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long to wait, from Retry-After or from the hub's RateLimit header ("api";r=0;t=12). (seconds)"""
    if headers.get("Retry-After", "").isdigit():
        return min(float(headers["Retry-After"]), LONGEST_WAIT_S)
    found = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))
    return min(float(found[1]), LONGEST_WAIT_S) if found else None
