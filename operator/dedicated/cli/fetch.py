"""`dedicated fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dedicated import settings
from dedicated.api.endpoint import EngineKind


def fetch(
    repo: Annotated[str, typer.Option(help="Repository on the hub.")],
    commit: Annotated[str, typer.Option(help="Commit to fetch.")],
    to: Annotated[Path, typer.Option(help="Folder to write into.")],
    engine: Annotated[EngineKind, typer.Option(help="Engine kind: decides which files are needed.")] = EngineKind.CUSTOM,
    include: Annotated[list[str] | None, typer.Option(help="Globs of files to fetch.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Globs of files to leave out.")] = None,
) -> None:
    """Bring a model's files from the hub into a folder (in the init container of an engine's pod)."""
    from dedicated.adapters import fetch as fetching

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
    raise typer.Exit(fetching.run(request))
