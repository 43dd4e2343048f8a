"""`dedicated fetch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dedicated import settings
from dedicated.api.endpoint import EngineKind

if TYPE_CHECKING:
    from dedicated.adapters.weights_cache import WeightsCache


def fetch(
    repo: Annotated[str, typer.Option(help="Repository on the hub.")],
    commit: Annotated[str, typer.Option(help="Commit to fetch.")],
    to: Annotated[Path, typer.Option(help="Folder to write into.")],
    engine: Annotated[EngineKind, typer.Option(help="Engine kind: decides which files are needed.")] = EngineKind.CUSTOM,
    include: Annotated[list[str] | None, typer.Option(help="Globs of files to fetch.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Globs of files to leave out.")] = None,
) -> None:
    """Bring a model's files into a folder, from the cache or the hub (in the init container of an engine's pod)."""
    from dedicated.adapters import fetch as fetching
    from dedicated.adapters import tiers

    request = fetching.FetchRequest(
        endpoint=settings.hub_endpoint(),
        repo=repo,
        commit=commit,
        engine=engine,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        directory=to,
        token=settings.hub_token(),
        termination_log=settings.termination_log(),
    )
    raise typer.Exit(tiers.run(request, _cache()))


def _cache() -> Callable[[], WeightsCache] | None:
    """The cache that the installation has, if it has one; opened when it is needed, since its library takes a while to load."""
    location = settings.weights_location()
    if location is None:
        return None

    def opened() -> WeightsCache:
        from dedicated.adapters.object_store import ObjectStore
        from dedicated.adapters.weights_cache import WeightsCache

        return WeightsCache(ObjectStore(location), settings.namespace_uid(), settings.holder())

    return opened
