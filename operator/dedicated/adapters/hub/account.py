"""The account behind a token, and what a fine-grained token leaves of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

READS = {"repo.content.read", "repo.write"}
"""Permissions of a fine-grained token with which it reads a repository. Source: hub-docs security-tokens.md; the token's JSON in whoami-v2."""


@dataclass(frozen=True)
class Account:
    """What whoami-v2 tells."""

    name: str = ""
    owners: frozenset[str] = frozenset()
    """Itself and its organisations: whose private repositories it may have."""
    fine_grained: bool = False
    readable: frozenset[str] = frozenset()
    """Owners and repositories that a fine-grained token reads."""

    def lacks_scope(self, repo: str) -> bool:
        """Whether this token is known not to read the account's own or its organisations' repository: the hub then says that there is none."""
        owner = repo.partition("/")[0]
        return self.fine_grained and owner in self.owners and not self.readable & {owner, repo}


def account_of(said: Any) -> Account | None:
    """
    The account in an answer of whoami-v2; None where it is none.

    Shape: {name, orgs: [{name}], auth: {accessToken: {role, fineGrained: {scoped: [{entity: {name}, permissions: [..]}]}}}}.
    """
    said = _dict(said)
    name = said.get("name")
    if not isinstance(name, str):
        return None
    token = _dict(_dict(said.get("auth")).get("accessToken"))
    fine = token.get("fineGrained")
    orgs = {org["name"] for org in _dicts(said.get("orgs")) if isinstance(org.get("name"), str)}
    return Account(name, frozenset({name, *orgs}), token.get("role") == "fineGrained" and isinstance(fine, dict), frozenset(_readable(_dict(fine))))


def _readable(fine: Mapping[str, Any]) -> Iterator[str]:
    for scope in _dicts(fine.get("scoped")):
        name = _dict(scope.get("entity")).get("name")
        if isinstance(name, str) and READS & set(map(str, scope.get("permissions") or [])):
            yield name


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [found for found in value if isinstance(found, dict)] if isinstance(value, list) else []
