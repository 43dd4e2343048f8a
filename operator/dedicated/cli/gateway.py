"""`dedicated gateway` and `dedicated envoy`: the two processes of a gateway's pod."""

from __future__ import annotations

import asyncio

import typer

from dedicated import settings
from dedicated.cli.exits import ExitCode, fail


def gateway() -> None:
    """Run the gateway's decision service (in its pod). Settings come from the environment."""
    import uvloop

    from dedicated.api.errors import ApiUnavailable
    from dedicated.gateway import process
    from dedicated.telemetry import logs

    try:
        found = settings.gateway_from_environment()
        logs.configure(found.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            raise typer.Exit(runner.run(process.run(found)))
    except settings.BadSetting as sentence:
        fail(str(sentence), ExitCode.USAGE)
    except process.CannotStart as sentence:
        fail(str(sentence), ExitCode.NO)
    except ApiUnavailable as lost:
        fail(f"The cluster cannot be reached: {lost}", ExitCode.CANNOT_REACH)


def envoy() -> None:
    """Run the gateway's Envoy (in its pod): it carries every byte, and asks the decision service."""
    from dedicated.gateway import dataplane
    from dedicated.telemetry import logs

    try:
        found = settings.gateway_from_environment()
    except settings.BadSetting as sentence:
        fail(str(sentence), ExitCode.USAGE)
    logs.configure(found.log_level)
    raise typer.Exit(asyncio.run(dataplane.run(found.plane, found.threads, found.drain_s)))
