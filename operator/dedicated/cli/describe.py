"""`dedicated describe NAME`: what happened to an endpoint, what it runs on, why it failed, and its last words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from dedicated.cli.cluster import Context, Name, Namespace, ask, endpoint_of, namespace_of
from dedicated.cli.get import row
from dedicated.cli.output import Output, coloured, faint, heading
from dedicated.core.quantities import GIB

Manifest = dict[str, Any]
_PLAN = (
    ("accelerator", "Accelerator"),
    ("count", "Per replica"),
    ("tensorParallel", "Tensor parallel"),
    ("pipelineParallel", "Pipeline parallel"),
    ("maxModelLen", "Context (tokens)"),
    ("maxNumSeqs", "Sequences at once"),
    ("pricePerHour", "USD per hour"),
)
_MEMORY = ("budgetBytes", "weightBytes", "kvCacheBytes", "activationBytes", "overheadBytes", "headroomBytes")


def describe(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json.")] = Output.TEXT,
) -> None:
    """Tell an endpoint's story: timeline, plan, diagnosis, last log lines. Exit code 0 it exists, 1 it does not, 2 usage, 3 cannot reach."""
    where = namespace_of(namespace, context)
    found = ask(context, lambda kube: _story(kube, where, name))
    typer.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False) if output is Output.JSON else "\n".join(as_text(found)))


@dataclass(frozen=True)
class Story:
    """One endpoint, and what was told of it."""

    endpoint: Manifest
    events: list[Manifest]

    @property
    def status(self) -> Manifest:
        """Its status."""
        found: Manifest = self.endpoint.get("status") or {}
        return found

    def timeline(self) -> list[dict[str, str]]:
        """What happened and when, oldest first."""
        meta = self.endpoint["metadata"]
        told = [{"at": meta.get("creationTimestamp", ""), "what": "Created"}]
        told += [
            {"at": one["lastTransitionTime"], "what": _of_condition(one)}
            for one in self.status.get("conditions") or []
            if one.get("lastTransitionTime")
        ]
        told += [{"at": one.get("lastTimestamp") or "", "what": f"{one.get('reason')}: {one.get('message')}"} for one in self.events]
        told += [{"at": at, "what": "The engine crashed"} for at in (self.status.get("diagnosis") or {}).get("crashes") or []]
        return sorted((one for one in told if one["at"]), key=lambda one: one["at"])

    def as_json(self) -> Manifest:
        """For scripts."""
        told = {key: self.status.get(key) for key in ("id", "url", "phase", "conditions", "model", "plan", "revisions", "pods", "diagnosis")}
        kept = {key: value for key, value in told.items() if value is not None}
        return {**row(self.endpoint), **kept, "timeline": self.timeline()}


async def _story(kube: Any, namespace: str, name: str) -> Story:
    from dedicated.adapters.kinds import EVENT

    endpoint = await endpoint_of(kube, namespace, name)
    return Story(endpoint, await kube.list(EVENT, namespace=namespace, fields=f"involvedObject.uid={endpoint['metadata']['uid']}"))


def _of_condition(one: Manifest) -> str:
    is_true = {"True": "", "False": "not "}.get(str(one.get("status")), "maybe ")
    return f"{is_true}{one.get('type')} ({one.get('reason')})"


def as_text(story: Story) -> Iterator[str]:
    """For people, in colour."""
    told, status = row(story.endpoint), story.status
    phase = str(told.get("phase", "unknown"))
    yield f"{heading(str(told['name']))} in {told['namespace']}: {coloured(phase, phase, bold=True)} ({told.get('reason', 'not looked at yet')})"
    yield from [str(told["message"])] if "message" in told else []
    for key in ("id", "url"):
        yield from [faint(f"{key}: {status[key]}")] if status.get(key) else []
    yield from ["", heading("Timeline"), *(f"  {faint(one['at'])}  {one['what']}" for one in story.timeline())]
    yield from _plan(status.get("plan") or {}, told.get("model"))
    yield from _diagnosis(status.get("diagnosis") or {})


def _plan(plan: Manifest, model: object) -> Iterator[str]:
    if not plan:
        return
    yield from ["", heading("Plan")]
    yield from [f"  {'Model':18} {model}"] if model else []
    yield from (f"  {label:18} {plan[key]}" for key, label in _PLAN if key in plan)
    memory = plan.get("memory") or {}
    yield from (f"  {key.removesuffix('Bytes'):18} {memory[key] / GIB:.1f} GiB" for key in _MEMORY if key in memory)
    yield from (f"  {'not':18} {one['accelerator']} ({one['reason']})" for one in plan.get("rejected") or [])


def _diagnosis(found: Manifest) -> Iterator[str]:
    if not found:
        return
    colour = "failed" if found.get("givenUp", True) else "building"
    yield from ["", heading("Diagnosis"), f"  {coloured(found['reason'], colour, bold=True)}: {found['message']}"]
    ran = f"  container {found['container']}" if found.get("container") else ""
    yield from [f"{ran}, exit code {found['exitCode']}" if "exitCode" in found else ran] if ran else []
    yield from (f"  {faint('proof')} {line}" for line in found.get("evidence") or [])
    yield f"  {heading('Next')}  {found['nextStep']}"
    yield f"  {_again(found)}"
    if found.get("logTail"):
        yield from ["", heading("Last words"), *(f"  {line}" for line in found["logTail"].splitlines())]


def _again(found: Manifest) -> str:
    attempts = found.get("attempts", 1)
    tried = f"Tried {attempts} times" if attempts > 1 else "Tried once"
    if found.get("nextAttemptAt"):
        return f"{tried}; tried again at {found['nextAttemptAt']}."
    if not found.get("givenUp", True):
        return f"{tried}; it was started again."
    return f"{tried}; not tried again before something changes."
