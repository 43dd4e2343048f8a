"""The model of one endpoint where it is a folder in a bucket of the user's own, read with the user's Secret, in threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from dedicated.adapters.kinds import SECRET
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.model_files import facts_from
from dedicated.adapters.secrets import s3_keys
from dedicated.adapters.store import Store
from dedicated.api import names
from dedicated.api.endpoint import S3, EngineKind
from dedicated.api.errors import InvalidSpec, UnsupportedArchitecture, WeightsCorrupt
from dedicated.api.s3 import ENDPOINT_URL
from dedicated.api.status import ModelStatus
from dedicated.planner.model_facts import ModelFacts
from dedicated.render.platform import Platform
from dedicated.weights.repository import Access

if TYPE_CHECKING:
    from dedicated.adapters.s3_source import S3Source

T = TypeVar("T")
AT_ONCE = 4
"""Servers that are waited for at a time: one that does not answer holds up no other work of the operator."""


class S3Model:
    """The model in one pass: its Secret is read and its folder listed at most once."""

    def __init__(self, kube: KubeApi, store: Store, namespace: str, source: S3, engine: EngineKind, platform: Platform) -> None:
        self._kube, self._store, self._namespace, self._source, self._engine = kube, store, namespace, source, engine
        self._servers = {*platform.source_endpoints, *([platform.weights.endpoint.rstrip("/")] if platform.weights else [])}
        self._opened: S3Source | None = None

    async def resolve(self, source_hash: str) -> ModelStatus:
        """What the folder holds now. Raises what it is refused with."""

        def look(source: S3Source) -> ModelStatus:
            chosen = source.chosen()
            return ModelStatus(
                revision=source.revision(),
                architecture=source.architecture(),
                weight_bytes=chosen.weight_bytes,
                entry=chosen.entry,
                source_hash=source_hash,
            )

        return await self._ask(look)

    async def prove(self, model: ModelStatus) -> Access:
        """That the files are those that were resolved, and are handed out. Raises what it is refused with."""
        await self._ask(lambda source: source.prove(model.revision))
        ref = self._source.credentials_secret_ref
        return Access(True, f"Secret {ref.name}" if ref else None)

    async def facts(self, model: ModelStatus) -> ModelFacts | None:
        """What the planner needs, from the heads of the files; None where they do not tell. Raises what it is refused with."""

        def look(source: S3Source) -> ModelFacts | None:
            source.demand(model.revision)
            try:
                return facts_from(source, self._engine)[0]
            except (UnsupportedArchitecture, WeightsCorrupt):
                return None

        return await self._ask(look)

    def lacks_token(self) -> str | None:
        """No hub is asked."""
        return None

    async def _ask(self, look: Callable[[S3Source], T]) -> T:
        if self._opened is None:
            self._opened = await self._open(await self._keys())
        source = self._opened
        return await asyncio.get_running_loop().run_in_executor(_threads(), lambda: look(source))

    async def _open(self, keys: dict[str, str]) -> S3Source:
        def opened() -> S3Source:
            from dedicated.adapters import s3_source  # its library takes a while to load, and most installations never need it

            return s3_source.opened(self._source.uri, keys, self._engine)

        return await asyncio.get_running_loop().run_in_executor(_threads(), opened)

    async def _keys(self) -> dict[str, str]:
        ref = self._source.credentials_secret_ref
        if ref is None:
            return {}
        known = self._store.named(SECRET, self._namespace, ref.name)
        labels = (known["metadata"].get("labels") or {}) if known else {}
        keys = await s3_keys(self._kube, self._namespace, ref.name, labelled=labels.get(names.LABEL_USE) == names.USE_S3_SOURCE)
        server = keys.get(ENDPOINT_URL, "").rstrip("/")
        if server and server not in self._servers:
            raise InvalidSpec(
                f"Secret {ref.name} names the S3 server {server}, which this installation does not let models be read from; "
                "ask for it to be added to the chart's weights.sourceEndpoints"
            )
        return keys


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="s3-source")
