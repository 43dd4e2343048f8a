"""`dedicated fetch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dedicated import settings
from dedicated.api.endpoint import EngineKind
from dedicated.cli.exits import ExitCode, fail

if TYPE_CHECKING:
    from dedicated.adapters.weights_cache import WeightsCache


def fetch(
    commit: Annotated[str, typer.Option(help="Commit to fetch; of a folder in S3 the revision that it was resolved to.")],
    to: Annotated[Path, typer.Option(help="Folder to write into.")],
    repo: Annotated[str, typer.Option(help="Repository on the hub.")] = "",
    s3: Annotated[str, typer.Option(help="Folder in S3, as s3://bucket/prefix, in the place of a repository.")] = "",
    engine: Annotated[EngineKind, typer.Option(help="Engine kind: decides which files are needed.")] = EngineKind.CUSTOM,
    include: Annotated[list[str] | None, typer.Option(help="Globs of files to fetch.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Globs of files to leave out.")] = None,
) -> None:
    """Bring a model's files into a folder, from the cache, the hub, or a bucket of the user's own (in the init container of an engine's pod)."""
    from dedicated.adapters import fetch as fetching
    from dedicated.adapters import tiers

    if bool(repo) == bool(s3):
        fail("Name the model once: --repo or --s3.", ExitCode.USAGE)
    if s3:
        raise typer.Exit(_from_s3(s3, commit, to, engine))

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


def _from_s3(uri: str, revision: str, to: Path, engine: EngineKind) -> int:
    from dedicated.adapters import s3_fetch, tiers
    from dedicated.adapters.fetch import say_line

    request = s3_fetch.S3Request(uri, revision, to, engine, settings.s3_source_keys())
    return tiers.last_words(lambda: s3_fetch.bring(request, say_line), settings.termination_log())


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
