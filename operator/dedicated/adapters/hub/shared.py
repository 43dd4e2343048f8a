"""
What the operator asks of the hub, shared by all endpoints.

Theory of operation: a key names the caller by the hash of its token, so no answer to one caller serves another, and the revision, so an answer for a
branch is good for a minute while what lies at a commit never changes. A person who asks for something to be looked at again sets an annotation; its
value (`mark`) is part of the key, so nothing older answers. A thousand endpoints of one model and one token cost four requests.

Access is proven in the order in which its answers narrow the cause: whose token is it, is there such a model, does the hub say that it may be read,
and would the hub hand a file out. A mirror that lacks one of these calls leaves it to the next.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import httpx

from dedicated.adapters.hub.account import Account
from dedicated.adapters.hub.cache import Cache
from dedicated.adapters.hub.client import HubClient
from dedicated.adapters.hub.errors import Asked
from dedicated.adapters.hub.gate import Gate
from dedicated.adapters.hub.token import Token, key_of
from dedicated.api.errors import ModelNotFound, TokenScopeInsufficient, Transient, WeightsCorrupt
from dedicated.core.quantities import MIB
from dedicated.weights import gguf, safetensors
from dedicated.weights.repository import Access, ModelInfo

T = TypeVar("T")

MOVING_S = 60.0
"""How long what a revision stands for is taken as known. (seconds)"""
PROVEN_S = 10.0
"""How long a proof of access serves other starts: a burst of them, and not the next one of the same endpoint. (seconds)"""
ACCOUNT_S = 3600.0
"""whoami-v2 is limited more than other calls; a token that is revoked meanwhile is refused by those. (seconds)"""
LASTING_S = 24 * 3600.0
"""What lies at a commit never changes; kept so long only to bound what nobody asks for any more. (seconds)"""
MOST_JSON = 32 * MIB
"""Bytes of a JSON file: the index of a model of ten thousand tensors has one MiB."""
MOST_FILES = 25_000
"""Files of all descriptions that are remembered: about 10 MiB of memory."""
KEPT = 8 * MIB
"""Bytes of files and headers that are remembered; read and parsed they take several times as much."""
SAFETENSORS_FIRST = 100_001
"""Bytes of a safetensors file asked for at first: 97 % of headers are shorter (huggingface_hub 2.4.0 hf_api.py)."""
GGUF_STEPS = (256 * 1024, 2 * MIB, 16 * MIB, 32 * MIB)
"""Bytes of a GGUF file asked for, until its header is known: all but the vocabulary is in the first."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Hub:
    """Facts and access, for the whole process. Tokens are given per call and kept nowhere."""

    def __init__(self, endpoint: str, client: httpx.AsyncClient | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = HubClient(endpoint, client, Gate(clock))
        self._accounts: Cache[Account | None] = Cache(ACCOUNT_S, most=4096, clock=clock)
        self._infos: Cache[ModelInfo] = Cache(MOVING_S, most=2048, most_cost=MOST_FILES, cost=lambda info: len(info.files), clock=clock)
        self._proofs: Cache[Access] = Cache(PROVEN_S, most=16_384, clock=clock)
        self._files: Cache[tuple[Any, int]] = Cache(LASTING_S, most=4096, most_cost=KEPT, cost=lambda kept: kept[1], clock=clock)

    async def close(self) -> None:
        """Ask no more, and close the connections."""
        for cache in (self._accounts, self._infos, self._proofs, self._files):
            await cache.close()
        await self._client.close()

    async def resolve(self, repo: str, revision: str, token: Token | None = None, *, mark: str = "") -> ModelInfo:
        """
        The commit that a revision stands for now, and the files there with sizes and digests.

        Args:
            mark: Asked anew where this differs from what others gave.
        Raises:
            ModelNotFound, RevisionNotFound, TokenInvalid, HubRateLimited, ...: see `hub.errors`.
        """
        asked, account = await self._asked(repo, revision, token)

        async def ask() -> ModelInfo:
            info = await self._narrowed(self._client.info(asked), asked, account)
            self._infos.know((repo, info.commit, key_of(token), mark), info)
            return info

        return await self._infos.of((repo, revision, key_of(token), mark), ask)

    async def prove_access(self, repo: str, commit: str, token: Token | None = None, files: Sequence[str] = (), *, mark: str = "") -> Access:
        """
        Prove that the files at a commit may be read with this token, or say that this hub does not tell.

        Args:
            files: Files that are wanted; the first is asked for, else one with weights.
            mark: Proven anew where this differs from what others gave.
        Raises:
            TokenMissing, TokenInvalid, TokenScopeInsufficient, GatedAccessDenied, GatedAccessPending: The token does not open it.
            ModelNotFound, RevisionNotFound, ModelDisabled: There is nothing to open.
            HubRateLimited, HubUnavailable: Nothing can be said now.
        """
        key = (repo, commit, key_of(token), mark)
        return await self._proofs.of(key, lambda: self._prove(repo, commit, token, files, mark))

    async def _prove(self, repo: str, commit: str, token: Token | None, files: Sequence[str], mark: str) -> Access:
        info = await self.resolve(repo, commit, token, mark=mark)
        asked, account = await self._asked(repo, commit, token)
        told = info.is_open or await self._narrowed(self._client.auth_check(asked), asked, account)
        path = files[0] if files else info.to_probe()
        read = await self._narrowed(self._client.head(asked, path), asked, account) if path else False
        return Access(told or read, token.origin or token.name if token else None)

    async def _asked(self, repo: str, revision: str, token: Token | None) -> tuple[Asked, Account | None]:
        """The question, with the name of the account where the hub tells it."""
        account = await self._account(token) if token else None
        return Asked(repo, revision, token, account.name if account else ""), account

    async def _account(self, token: Token) -> Account | None:
        """Who it is; None where that is not told now: the calls that follow need no name. Raises TokenInvalid."""
        try:
            return await self._accounts.of(token.key, lambda: self._client.whoami(Asked(token=token)))
        except Transient:
            return None

    async def _narrowed(self, answer: Awaitable[T], asked: Asked, account: Account | None) -> T:
        """The answer; where the hub hides a repository from a token of too little scope, that as the cause."""
        try:
            return await answer
        except ModelNotFound as hidden:
            if asked.token is None or account is None or not account.lacks_scope(asked.repo):
                raise
            owner = asked.repo.partition("/")[0]
            raise TokenScopeInsufficient(
                f"{asked.token.title} is fine-grained and reads no repository of {owner}, so {asked.repo} is hidden "
                "from it, or does not exist; let the token read the contents of its repositories."
            ) from hidden

    async def file_json(self, repo: str, commit: str, path: str, token: Token | None = None, *, mark: str = "") -> dict[str, Any] | None:
        """
        A JSON file such as config.json or model.safetensors.index.json; None where there is none.

        Raises:
            WeightsCorrupt: It is no JSON object.
            TokenMissing, GatedAccessDenied, HubRateLimited, ...: see `hub.errors`. Files of a gated model are read with a token that opens it.
        """

        async def ask() -> tuple[dict[str, Any] | None, int]:
            asked, _ = await self._asked(repo, commit, token)
            raw = await self._client.file(asked, path, MOST_JSON)
            return (None, 0) if raw is None else (_json(raw, repo, path), len(raw))

        return await self._at_commit("json", repo, commit, path, (key_of(token), mark), ask)

    async def safetensors_header(
        self, repo: str, commit: str, path: str, token: Token | None = None, *, mark: str = ""
    ) -> safetensors.SafetensorsHeader:
        """
        Which tensors a file holds, exactly: one request for most files, two for some.

        Raises:
            WeightsCorrupt: It is no safetensors file.
            TokenMissing, GatedAccessDenied, HubRateLimited, ...: see `hub.errors`.
        """

        async def ask() -> tuple[safetensors.SafetensorsHeader, int]:
            asked, _ = await self._asked(repo, commit, token)
            raw = await self._client.span(asked, path, 0, SAFETENSORS_FIRST)
            length = _parsed(safetensors.header_length, raw, repo, path)
            end = safetensors.LENGTH_BYTES + length
            if len(raw) < end:
                raw += await self._client.span(asked, path, len(raw), end - len(raw))
            header = await asyncio.to_thread(_parsed, safetensors.parse, raw[safetensors.LENGTH_BYTES : end], repo, path)
            return header, length

        return await self._at_commit("safetensors", repo, commit, path, (key_of(token), mark), ask)

    async def gguf_header(self, repo: str, commit: str, path: str, token: Token | None = None, *, mark: str = "") -> gguf.GgufHeader:
        """
        What a GGUF file says of its model; of a split one the first file says it. Its `complete` is False where the file's keys exceed 32 MiB.

        Raises:
            WeightsCorrupt: It is no GGUF file of version 2 or 3.
            TokenMissing, GatedAccessDenied, HubRateLimited, ...: see `hub.errors`.
        """

        async def ask() -> tuple[gguf.GgufHeader, int]:
            asked, _ = await self._asked(repo, commit, token)
            raw = b""
            for size in GGUF_STEPS:
                raw += await self._client.span(asked, path, len(raw), size - len(raw))
                header = await asyncio.to_thread(_parsed, gguf.parse, raw, repo, path)
                known = header.sizes_it and header.file_type is not None
                if header.complete or known or len(raw) < size:
                    break
            return header, 16 * 1024

        return await self._at_commit("gguf", repo, commit, path, (key_of(token), mark), ask)

    async def _at_commit(self, what: str, repo: str, commit: str, path: str, who: tuple[str, str], ask: Callable[[], Awaitable[tuple[T, int]]]) -> T:
        """What lies at a commit, kept; what lies at a branch is asked for each time."""
        if not _COMMIT.fullmatch(commit):
            return (await ask())[0]
        found: T = (await self._files.of((what, repo, commit, path, *who), ask))[0]
        return found


def _json(raw: bytes, repo: str, path: str) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as odd:
        raise WeightsCorrupt(f"{path} of {repo} is no JSON ({type(odd).__name__}).") from odd
    if not isinstance(found, dict):
        raise WeightsCorrupt(f"{path} of {repo} is no JSON object.")
    return found


def _parsed(parse: Callable[[bytes], T], raw: bytes, repo: str, path: str) -> T:
    """What a parser makes of it, or that it cannot."""
    try:
        return parse(raw)
    except ValueError as odd:
        raise WeightsCorrupt(f"{path} of {repo} cannot be read: {odd}.") from odd
