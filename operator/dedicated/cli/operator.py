"""`dedicated operator`."""

from __future__ import annotations

import asyncio
import gc

from dedicated import settings
from dedicated.cli.exits import ExitCode, fail


def operator() -> None:
    """Run the operator (in its pod). Settings come from the environment."""
    gc.disable()  # next to nothing is garbage of what is made until everything was looked at once: `process.run` enables it then

    import uvloop

    from dedicated.api.errors import ApiUnavailable
    from dedicated.controller import process
    from dedicated.telemetry import logs

    try:
        found = settings.from_environment()
        logs.configure(found.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_operate(found))
    except settings.BadSetting as sentence:
        fail(str(sentence), ExitCode.USAGE)
    except process.CannotStart as sentence:
        fail(str(sentence), ExitCode.NO)
    except ApiUnavailable as lost:
        fail(f"The cluster cannot be reached: {lost}", ExitCode.CANNOT_REACH)


async def _operate(found: settings.Settings) -> None:
    from dedicated.controller import process

    process.exit_now(await process.run(found))
