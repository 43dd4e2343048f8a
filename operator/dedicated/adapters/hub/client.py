"""The hub's calls, one method each: what is asked for, and what its absence means. Knows no cache; `hub.shared` has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx

from dedicated.adapters.hub.account import Account, account_of
from dedicated.adapters.hub.errors import Asked
from dedicated.adapters.hub.gate import Gate, NoGate
from dedicated.adapters.hub.transport import Answer, Kind, Transport, Wanted
from dedicated.api.errors import HubUnavailable, InvalidSpec, ModelDisabled, RevisionNotFound, TokenInvalid, WeightsCorrupt
from dedicated.core.quantities import MIB
from dedicated.weights.repository import ModelInfo
from dedicated.weights.selection import RepoFile

MOST_INFO = 16 * MIB
"""Bytes of a model's description: fifty thousand files."""
LACKING = (404, 405, 501)
"""Statuses of a mirror that has no such call; a 404 of the hub itself carries a code."""


class HubClient:
    """Asks the hub about models. Tokens are given per call and kept nowhere."""

    def __init__(self, endpoint: str, client: httpx.AsyncClient | None = None, gate: Gate | None = None) -> None:
        self._transport = Transport(endpoint, client, gate or NoGate())

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def whoami(self, asked: Asked) -> Account | None:
        """
        The account behind the token and what the token may do; None where the hub does not tell.

        Raises:
            TokenInvalid: The hub does not know the token.
        """
        answer = await self._transport.ask(Wanted("GET", "/api/whoami-v2", Kind.WHOAMI), asked)
        if answer.status == 401 and asked.token:
            raise TokenInvalid(f"The hub {self._transport.hub} does not know {asked.token.name}.")
        if answer.status not in LACKING and (answer.status == 429 or answer.status >= 500):
            raise self._transport.refusal(answer, asked)
        return account_of(_json(answer.body)) if answer.status == 200 else None

    async def info(self, asked: Asked) -> ModelInfo:
        """
        The commit that a revision stands for now, and the files there with sizes and digests.

        Raises:
            ModelNotFound, RevisionNotFound, TokenInvalid, ...: see `hub.errors`.
        """
        if asked.revision in (".", ".."):
            raise RevisionNotFound(f"{asked.repo} has no revision '{asked.revision}'.")
        path = f"/api/models/{quote(asked.repo)}/revision/{quote(asked.revision, safe='')}"
        answer = await self._transport.ask(Wanted("GET", path, Kind.API, "?blobs=true", limit=MOST_INFO), asked)
        if answer.status != 200:
            raise self._transport.refusal(answer, asked)
        try:
            info = model_info(json.loads(answer.body), asked.revision)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as odd:
            raise HubUnavailable(f"The hub {self._transport.hub} answered something that is not a model description.") from odd
        if info.disabled:
            raise ModelDisabled(f"{asked.repo} is disabled on the hub; see {self._transport.hub}/{asked.repo}.")
        return info if all(file.sized for file in info.files) else replace(info, files=await self._from_tree(asked, info.files))

    async def _from_tree(self, asked: Asked, files: tuple[RepoFile, ...]) -> tuple[RepoFile, ...]:
        """The files with their sizes, which this hub tells in the tree if anywhere."""
        path = f"/api/models/{quote(asked.repo)}/tree/{quote(asked.revision, safe='')}"
        answer = await self._transport.ask(Wanted("GET", path, Kind.API, "?recursive=true", limit=MOST_INFO), asked)
        listed = _json(answer.body) if answer.status == 200 else None
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        sizes = {entry.get("path"): entry["size"] for entry in entries if isinstance(entry.get("size"), int)}
        return tuple(replace(file, size=sizes[file.path], sized=True) if not file.sized and file.path in sizes else file for file in files)

    async def sized(self, asked: Asked, files: tuple[RepoFile, ...]) -> tuple[RepoFile, ...]:
        """
        The files with sizes: of those that this hub told none of, their storage is asked.

        Raises:
            HubUnavailable: It does not tell either.
        """
        return tuple([file if file.sized else replace(file, size=await self._size(asked, file.path), sized=True) for file in files])

    async def _size(self, asked: Asked, path: str) -> int:
        wanted = Wanted("GET", _resolve(asked, path), Kind.RESOLVERS, limit=1, cut=True, first=0)
        answer = await self._transport.ask(wanted, asked)
        if answer.status == 416:
            return 0
        if answer.status not in (200, 206):
            raise self._transport.refusal(answer, asked)
        told = answer.headers.get("Content-Range", "").rpartition("/")[2] if answer.status == 206 else answer.headers.get("Content-Length", "")
        if not told.isdigit():
            raise HubUnavailable(f"The hub {self._transport.hub} does not tell the size of {path}.")
        return int(told)

    async def auth_check(self, asked: Asked) -> bool:
        """
        Whether the hub says that the repository may be read; False where it has no such call.

        Raises:
            GatedAccessDenied, ModelNotFound, ...: see `hub.errors`.
        """
        return self._told(await self._transport.ask(Wanted("GET", f"/api/models/{quote(asked.repo)}/auth-check", Kind.API), asked), asked)

    async def head(self, asked: Asked, path: str) -> bool:
        """
        Whether the hub would hand a file out; False where it does not tell.

        Raises:
            GatedAccessDenied, RevisionNotFound, ...: see `hub.errors`.
        """
        return self._told(await self._transport.ask(Wanted("HEAD", _resolve(asked, path), Kind.RESOLVERS), asked), asked)

    def _told(self, answer: Answer, asked: Asked) -> bool:
        if answer.status < 400:
            return True
        code = answer.headers.get("X-Error-Code")
        if answer.status in LACKING and code in (None, "EntryNotFound"):
            return False
        raise self._transport.refusal(answer, asked)

    async def file(self, asked: Asked, path: str, limit: int) -> bytes | None:
        """
        A whole small file; None where there is none, or the mirror hands none out so. (limit: bytes)

        Raises:
            GatedAccessDenied, RevisionNotFound, ...: see `hub.errors`.
        """
        answer = await self._transport.ask(Wanted("GET", _resolve(asked, path), Kind.RESOLVERS, limit=limit), asked)
        if answer.status in LACKING and answer.headers.get("X-Error-Code") in (None, "EntryNotFound"):
            return None
        if answer.status != 200:
            raise self._transport.refusal(answer, asked)
        return answer.body

    async def span(self, asked: Asked, path: str, first: int, count: int) -> bytes:
        """
        So many bytes of a file from the first on; fewer where it ends before. Empty where it ends before the first.

        Raises:
            WeightsCorrupt: There is no such file.
            GatedAccessDenied, RevisionNotFound, ...: see `hub.errors`.
        """
        wanted = Wanted("GET", _resolve(asked, path), Kind.RESOLVERS, limit=count, cut=True, first=first)
        answer = await self._transport.ask(wanted, asked)
        if answer.status == 416:
            return b""
        if answer.status in LACKING and answer.headers.get("X-Error-Code") in (None, "EntryNotFound"):
            raise WeightsCorrupt(f"{asked.repo} has no file {path} at {asked.revision}, though the hub lists it.")
        if answer.status not in (200, 206):
            raise self._transport.refusal(answer, asked)
        return answer.body


def _resolve(asked: Asked, path: str) -> str:
    """The path of a file on the hub. Raises InvalidSpec where it would lead elsewhere."""
    if any(part in ("", ".", "..") for part in path.split("/")) or asked.revision in (".", ".."):
        raise InvalidSpec(f"{asked.repo} names a file '{path}' that cannot be asked for.")
    return f"/{quote(asked.repo)}/resolve/{quote(asked.revision, safe='')}/{quote(path)}"


def _json(body: bytes) -> Any:
    """What it says; None where it is no JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def model_info(said: Mapping[str, Any], revision: str) -> ModelInfo:
    """
    A model's description as the hub's API has it.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    config, gguf, tensors = said.get("config") or {}, said.get("gguf") or {}, said.get("safetensors") or {}
    architectures = config.get("architectures") or [gguf.get("architecture")]
    return ModelInfo(
        commit=str(said.get("sha") or revision),
        files=tuple(_file(found) for found in said["siblings"]),
        gated=said.get("gated") if isinstance(said.get("gated"), str | bool) else None,
        private=_flag(said.get("private")),
        disabled=_flag(said.get("disabled")),
        license=_license(said),
        pipeline_tag=said.get("pipeline_tag"),
        architecture=architectures[0],
        parameters=tensors.get("total") or gguf.get("total"),
        parameters_by_dtype={str(dtype): int(count) for dtype, count in (tensors.get("parameters") or {}).items()},
        gguf=gguf,
    )


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _license(said: Mapping[str, Any]) -> str | None:
    """From the card; a license of the author's own goes by its name. Else from the tags, which a card without one still has."""
    card = said.get("cardData") or {}
    found = (card.get("license_name") if card.get("license") == "other" else None) or card.get("license")
    if isinstance(found, str):
        return found
    tags = [tag for tag in said.get("tags") or [] if isinstance(tag, str)]
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)


def _file(found: Mapping[str, Any]) -> RepoFile:
    lfs = found.get("lfs") or {}
    size = lfs.get("size", found.get("size"))
    git = found.get("blobId") if not lfs and isinstance(found.get("blobId"), str) else None
    return RepoFile(found["rfilename"], int(size or 0), lfs.get("sha256"), sized=isinstance(size, int), git_sha1=git)
