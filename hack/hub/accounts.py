"""
Who asks, and what the hub tells them: the account behind a token, what it may see and read, and the refusals in the hub's own words.

Clients tell refusals apart by X-Error-Code, and where there is none by the message (huggingface_hub 2.4.0, utils/_http.py `hf_raise_for_status`).
The words are as the hub sent them to the authors of public bug reports, but for the header values that the client compares with.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter

from hack.hub.repository import Repository

READ_CONTENT = "repo.content.read"
"""The permission of a fine-grained token that lets it read a repository of its account."""


class Refusal(NamedTuple):
    """Why not: what an error answer is made of."""

    status: int
    message: str
    code: str = ""


INVALID_TOKEN = Refusal(401, "Invalid credentials in Authorization header")
INVALID_USER_TOKEN = Refusal(401, "Invalid user token.")
NO_USER = Refusal(401, "Invalid username or password.")
"""whoami-v2 has its own words."""
NOT_FOUND = Refusal(404, "Repository not found", "RepoNotFound")
UNAUTHENTICATED = Refusal(401, "Repository not found", "RepoNotFound")
"""
To anonymous callers a missing and a private repository look the same. The hub leaves the code out here; the client makes up for that only at https
addresses, so this hub sends it.
"""
DISABLED = Refusal(403, "Access to this resource is disabled.")
TOKEN_WITHOUT_GATED = Refusal(403, "Please enable access to public gated repositories in your fine-grained token settings to view this repository.")

GATE_ANONYMOUS = "Access to model {id} is restricted. You must have access to it and be authenticated to access it. Please log in."
GATE_MESSAGES = {
    "none": "Access to model {id} is restricted and you are not in the authorized list. Visit https://huggingface.co/{id} to ask for access.",
    "pending": "Your request to access model {id} is awaiting a review from the repo authors.",
    "rejected": "Your request to access model {id} has been rejected by the repo's authors.",
    "reset": "Your request to access model {id} has been reset by the repo's authors. Visit https://huggingface.co/{id} to submit a new request.",
}


class Account(BaseModel):
    """The account behind a token, and what the token may do for it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = "tester"
    role: Literal["read", "write", "fineGrained"] = "read"
    member_of: list[str] = []
    """Owners whose repositories it sees and reads, and single repositories such."""
    requests: dict[str, Literal["accepted", "pending", "rejected", "reset"]] = {}
    """What became of its requests to access gated repositories, by repository."""
    can_read_gated_repos: bool = False
    """Of a fine-grained token: whether it may read the gated repositories that the account may read."""
    scoped: dict[str, list[str]] = {}
    """Of a fine-grained token: permissions by owner or repository."""

    def is_member(self, repo: Repository) -> bool:
        """Whether the repository, or its owner's all, are its own."""
        return repo.id in self.member_of or repo.owner in self.member_of

    def sees(self, repo: Repository) -> bool:
        """Whether a private repository is more than a 404 to this token."""
        return self.is_member(repo) and (self.role != "fineGrained" or self._in_scope(repo))

    def _in_scope(self, repo: Repository) -> bool:
        return any(READ_CONTENT in self.scoped.get(entity, []) for entity in (repo.id, repo.owner))

    def described(self) -> dict[str, Any]:
        """As whoami-v2 answers."""
        token: dict[str, Any] = {"displayName": "test", "role": self.role, "createdAt": "2026-01-01T00:00:00.000Z"}
        if self.role == "fineGrained":
            scoped = [{"entity": self._entity(name), "permissions": allowed} for name, allowed in self.scoped.items()]
            token["fineGrained"] = {"canReadGatedRepos": self.can_read_gated_repos, "global": [], "scoped": scoped}
        orgs = [_org(name, self.role) for name in self.member_of if "/" not in name and name != self.name]
        account = {"type": "user", "id": _id(self.name), "name": self.name, "fullname": self.name, "isPro": False, "orgs": orgs}
        return {**account, "auth": {"type": "access_token", "accessToken": token}}

    def _entity(self, name: str) -> dict[str, str]:
        kind = "model" if "/" in name else "user" if name == self.name else "org"
        return {"_id": _id(name), "type": kind, "name": name}


def _id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()[:24]


def _org(name: str, role: str) -> dict[str, Any]:
    return {"type": "org", "id": _id(name), "name": name, "fullname": name, "isEnterprise": False, "roleInOrg": role}


def _from_list(given: Any) -> Any:
    """A list of repositories, gated or private, stands for an account that may read these."""
    return {"member_of": given} if isinstance(given, list) else given


ACCOUNTS: TypeAdapter[dict[str, Account]] = TypeAdapter(dict[str, Annotated[Account, BeforeValidator(_from_list)]])
"""Accounts by token. Each can be given as a list of the repositories that it may read."""


def hidden(account: Account | None, repo: Repository | None) -> Refusal | None:
    """Why this caller may not know of the repository; None where it may."""
    if repo is None or (repo.private and not (account and account.sees(repo))):
        return NOT_FOUND if account else UNAUTHENTICATED
    return DISABLED if repo.disabled else None


def gate(account: Account | None, repo: Repository) -> Refusal | None:
    """Why this caller may not read the files of a repository that it sees; None where it may."""
    if not repo.gated:
        return None
    if account is None:
        return Refusal(401, GATE_ANONYMOUS.format(id=repo.id), "GatedRepo")
    request = account.requests.get(repo.id, "none")
    if request != "accepted" and not account.is_member(repo):
        return Refusal(403, GATE_MESSAGES[request].format(id=repo.id), "GatedRepo")
    if account.role == "fineGrained" and not account.can_read_gated_repos:
        return TOKEN_WITHOUT_GATED
    return None
