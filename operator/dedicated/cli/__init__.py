"""
The composition root: reads settings, wires adapters into shells, starts one process. One module a command; each imports what it needs when it is
called, so that `dedicated fetch` pays for nothing of the operator's.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dedicated import __version__
from dedicated.cli.cache import cache
from dedicated.cli.describe import describe
from dedicated.cli.diagnose import diagnose
from dedicated.cli.fetch import fetch
from dedicated.cli.gateway import envoy, gateway
from dedicated.cli.get import get
from dedicated.cli.keys import keys
from dedicated.cli.life import pause, resume, wait, wake
from dedicated.cli.logs import logs
from dedicated.cli.operator import operator
from dedicated.cli.plan import plan

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Private LLM endpoints on Kubernetes.")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Private LLM endpoints on Kubernetes."""


app.command()(operator)
app.command()(gateway)
app.command()(envoy)
app.command()(fetch)
app.command()(get)
app.command()(describe)
app.command()(logs)
app.command()(plan)
app.command()(diagnose)
app.command()(wake)
app.command()(pause)
app.command()(resume)
app.command()(wait)
app.add_typer(keys)
app.add_typer(cache)


def main() -> None:
    """Entry point of `dedicated`."""
    app()
