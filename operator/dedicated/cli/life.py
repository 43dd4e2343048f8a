"""
`dedicated wake|pause|resume|wait NAME`: what a person does with an endpoint that sleeps, or should not answer.

`wake` writes what a call at the gateway writes: the epoch of the sleep, on the endpoint's activity Lease; it needs the right to patch Leases there.
`pause` and `resume` change spec.suspend, as the person.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from dedicated import settings
from dedicated.api import names
from dedicated.api.messages import waking_up
from dedicated.cli.cluster import Context, Name, Namespace, ask, namespace_of
from dedicated.cli.exits import ExitCode, fail
from dedicated.cli.output import Output
from dedicated.core.clock import from_rfc3339
from dedicated.gateway.standing import State, standing

EVERY_S = 0.5
Manifest = dict[str, Any]
Timeout = Annotated[float, typer.Option(help="How long to wait. (seconds)")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")]


def wake(
    name: Name,
    namespace: Namespace = None,
    wait_: Annotated[bool, typer.Option("--wait", help="Show its phases until it is up.")] = False,
    timeout: Timeout = 1800.0,
    context: Context = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Wake a sleeping endpoint, as a call would."""
    ask(context, lambda kube: _wake(kube, namespace_of(namespace, context), name, timeout if wait_ else None, output))


def pause(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Take an endpoint's pods away until it is resumed; no call wakes it."""
    ask(context, lambda kube: _suspend(kube, namespace_of(namespace, context), name, True))
    typer.echo(f"{name} is paused; `dedicated resume {name}` starts it again.")


def resume(name: Name, namespace: Namespace = None, context: Context = None) -> None:
    """Start an endpoint that was paused."""
    ask(context, lambda kube: _suspend(kube, namespace_of(namespace, context), name, False))
    typer.echo(f"{name} is resumed.")


def wait(name: Name, namespace: Namespace = None, timeout: Timeout = 1800.0, context: Context = None, output: OutputOption = Output.TEXT) -> None:
    """Show an endpoint's phases until it is up; exit 1 where it will not come up by itself."""
    ask(context, lambda kube: _wait(kube, namespace_of(namespace, context), name, timeout, output))


async def _suspend(kube: Any, namespace: str, name: str, suspend: bool) -> None:
    from dedicated.adapters.kinds import ENDPOINT

    await kube.patch(ENDPOINT, namespace, name, {"spec": {"suspend": suspend}})


async def _wake(kube: Any, namespace: str, name: str, timeout_s: float | None, output: Output) -> None:
    from dedicated.adapters.activity import Activity
    from dedicated.adapters.kinds import ENDPOINT

    found = await kube.get(ENDPOINT, namespace, name)
    status = found.get("status") or {}
    refusal = why_not(name, status, kube.now())
    if refusal:
        fail(refusal, ExitCode.NO)
    state = standing(status.get("conditions") or []).state
    if state is State.SLEEPING:
        epoch = int((status.get("drain") or {}).get("epoch") or 0)
        await Activity(kube, settings.activity_namespace(), "cli").wake(names.endpoint_id(found["metadata"]["uid"]), epoch)
        typer.echo(waking_up((status.get("wake") or {}).get("expectedSeconds")), err=output is Output.JSON)
    if timeout_s is not None:
        await _wait(kube, namespace, name, timeout_s, output, slept=state is State.SLEEPING)
    elif output is Output.JSON:
        typer.echo(json.dumps({"name": name, "state": state.value}))
    elif state is not State.SLEEPING:
        typer.echo(f"{name} is {state.value}.")


def why_not(name: str, status: Manifest, now: float) -> str | None:
    """Why an endpoint cannot be woken now. (now: seconds since the epoch)"""
    found = standing(status.get("conditions") or [])
    if found.state is State.PAUSED:
        return f"{name} is paused, not asleep: `dedicated resume {name}` starts it."
    if found.state is State.FAILED:
        return f"{name} has failed ({found.reason}): {_message(status)}"
    due = (status.get("diagnosis") or {}).get("nextAttemptAt")
    if found.state is State.SLEEPING and due and from_rfc3339(due) > now:
        return f"The last wake of {name} failed, and it is tried again in {from_rfc3339(due) - now:.0f} s at the earliest. {_message(status)}"
    return None


async def _wait(kube: Any, namespace: str, name: str, timeout_s: float, output: Output, slept: bool = False) -> None:
    from dedicated.adapters.kinds import ENDPOINT

    deadline, told = time.monotonic() + timeout_s, list[str]()
    while True:
        found = await kube.get(ENDPOINT, namespace, name)
        status = found.get("status") or {}
        current = status.get("observedGeneration") == found["metadata"].get("generation")
        state = standing(status.get("conditions") or []).state
        for line in progress(status) if output is Output.TEXT else ():
            if line not in told:
                told.append(line)
                typer.echo(line)
        if current and state is State.UP:
            typer.echo(json.dumps({"name": name, "state": state.value, "wake": status.get("wake")}) if output is Output.JSON else f"{name} is up.")
            return
        gave_up = state is State.SLEEPING and standing(status.get("conditions") or []).reason == "WakeFailed"
        if current and (state in (State.FAILED, State.PAUSED) or gave_up or (state is State.SLEEPING and not slept)):
            fail(f"{name} is {state.value}: {_message(status)}", ExitCode.NO)
        if time.monotonic() >= deadline:
            fail(f"{name} is still {state.value} after {timeout_s:.0f} s: {_message(status)}", ExitCode.NO)
        await asyncio.sleep(EVERY_S)


def progress(status: Manifest) -> list[str]:
    """The phases of the start that goes on, one line each, as far as they are known."""
    wake = (status.get("wake") or {}).get("current")
    phases = wake.get("phases") if wake else (status.get("timeline") or {}).get("building")
    lines = []
    for phase in phases or []:
        seconds, moved = phase.get("seconds"), phase.get("bytes")
        size = f", {moved / 1e9:.1f} GB" if moved else ""
        lines.append(f"  {phase['phase']:<9}{'...' if seconds is None else f'{seconds:.0f} s{size}'}")
    return lines


def _message(status: Manifest) -> str:
    ready: Manifest = next((one for one in status.get("conditions") or [] if one.get("type") == "Ready"), {})
    return str(ready.get("message") or "")
