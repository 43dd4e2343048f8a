"""`dedicated plan`: what a model runs on, or exactly why it does not. Needs no cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dedicated import settings
from dedicated.api.endpoint import CPU, EndpointSpec, EngineKind
from dedicated.cli.exits import ExitCode, fail

if TYPE_CHECKING:
    from dedicated.adapters.model_files import FileSource
    from dedicated.planner.answer import SizingPlan
    from dedicated.planner.model_facts import ModelFacts
    from dedicated.planner.request import PlanRequest


class Output(StrEnum):
    """How the answer is printed."""

    TEXT = "text"
    JSON = "json"


def plan(  # noqa: PLR0913, PLR0917 - each is one option of the command line
    manifest: Annotated[Path | None, typer.Argument(help="Manifest of an InferenceEndpoint; options below go before what it says.")] = None,
    repo: Annotated[str | None, typer.Option(help="Repository on the hub.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of it.")] = None,
    model_path: Annotated[Path | None, typer.Option(help="Folder with config.json and an index or safetensors files, or a GGUF file.")] = None,
    accelerator: Annotated[list[str] | None, typer.Option(help="Class that is allowed; several by comma, or again. Without it, any.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Accelerators of one replica.")] = None,
    engine: Annotated[EngineKind | None, typer.Option(help="Engine; vllm, or llamacpp for GGUF.")] = None,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Context length in tokens; without it, the longest that fits.")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="Sequences served at once; without it, the engine's own.")] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens computed in one step; without it, the engine's own.")] = None,
    gpu_memory_utilization: Annotated[
        float | None, typer.Option(min=0.05, max=1.0, help="Share of a device's memory that the engine takes (SGLang: mem-fraction-static).")
    ] = None,
    kv_cache_dtype: Annotated[str | None, typer.Option(help="Data type of the KV cache, such as auto or fp8.")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(min=1, help="Devices that split every layer.")] = None,
    pipeline_parallel: Annotated[int | None, typer.Option(min=1, help="Stages that split the layers.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the model, the memory of a device, and every rejection.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no hub: use what was read before.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json.")] = Output.TEXT,
) -> None:
    """Size a model: which accelerators, how many, with which settings; or why not. Exit code 0 it fits, 1 it does not, 2 usage, 3 cannot reach."""
    from dedicated.api.errors import DedicatedError, InvalidSpec, Transient, UnsupportedArchitecture, WeightsCorrupt
    from dedicated.planner.answer import refusal

    allowed = tuple(name for said in accelerator or () for name in said.split(",") if name)
    given = {
        "accelerators": allowed,
        "count": count,
        "max_model_len": max_model_len,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "memory_share": gpu_memory_utilization,
        "kv_cache_dtype": kv_cache_dtype,
        "tensor_parallel": tensor_parallel,
        "pipeline_parallel": pipeline_parallel,
    }
    _check(allowed, kv_cache_dtype)
    spec = _spec(manifest, repo, model_path)
    try:
        source = _source(spec, repo, revision, model_path, offline)
        facts, request = _weighed(source, spec, engine, {name: value for name, value in given.items() if value not in (None, ())})
        answer = _answer(facts, request)
    except UnsupportedArchitecture as unknown:
        facts, answer = None, refusal(unknown)
    except (InvalidSpec, WeightsCorrupt) as wrong:
        fail(f"{_origin(repo, model_path)}: {wrong.message}", ExitCode.USAGE)
    except Transient as lost:
        fail(lost.message, ExitCode.CANNOT_REACH)
    except DedicatedError as refused:
        fail(f"{refused.message} {refused.next_step}", ExitCode.NO)
    typer.echo(_shown(answer, facts, output, explain))
    raise typer.Exit(ExitCode.OK if answer.fits else ExitCode.NO)


def _origin(repo: str | None, model_path: Path | None) -> str:
    return "--model-path" if model_path else ("--repo" if repo else "the manifest")


def _spec(manifest: Path | None, repo: str | None, model_path: Path | None) -> EndpointSpec | None:
    """What the manifest asks for; a model comes from exactly one place."""
    if manifest is None:
        if (repo is None) == (model_path is None):
            fail("Name the model once: a manifest, --repo, or --model-path.", ExitCode.USAGE)
        return None
    if repo is not None and model_path is not None:
        fail("Name the model once: --repo or --model-path, not both.", ExitCode.USAGE)
    return _read_manifest(manifest)


def _read_manifest(path: Path) -> EndpointSpec:
    import yaml
    from pydantic import ValidationError

    from dedicated.api import names

    try:
        found = [one for one in yaml.safe_load_all(path.read_text()) if isinstance(one, dict) and one.get("kind") == names.KIND]
    except OSError as missing:
        fail(f"The manifest {path} cannot be read: {missing.strerror}.", ExitCode.USAGE)
    except (yaml.YAMLError, UnicodeDecodeError):
        fail(f"The manifest {path} is not YAML.", ExitCode.USAGE)
    if len(found) != 1:
        fail(f"The manifest {path} holds {len(found)} objects of kind {names.KIND}; it must hold one.", ExitCode.USAGE)
    try:
        return EndpointSpec.model_validate(found[0].get("spec") or {})
    except ValidationError as wrong:
        first = wrong.errors()[0]
        fail(f"The manifest {path}: spec.{'.'.join(map(str, first['loc']))}: {first['msg']}.", ExitCode.USAGE)


def _source(spec: EndpointSpec | None, repo: str | None, revision: str | None, model_path: Path | None, offline: bool) -> FileSource:
    from dedicated.adapters.hub_files import HubFiles
    from dedicated.adapters.model_files import Folder
    from dedicated.api.errors import InvalidSpec

    if model_path is not None:
        return Folder(model_path)
    named = spec.model.hugging_face if spec and spec.model else None
    if repo is None and named is None:
        raise InvalidSpec(
            "spec.model names no repository of a hub; copy config.json and the index or headers of the weights to a folder and give --model-path"
        )
    wanted = repo or (named.repo if named else "")
    at = revision or (named.revision if named and repo is None else "main")
    return HubFiles(settings.hub_endpoint(), wanted, at, token=settings.hub_token(), cache=settings.hub_cache(), offline=offline)


def _weighed(source: FileSource, spec: EndpointSpec | None, engine: EngineKind | None, given: dict[str, object]) -> tuple[ModelFacts, PlanRequest]:
    """Facts and request: what the manifest asks for, with the options in its place."""
    from dedicated.adapters.model_files import facts_from
    from dedicated.planner.request import PlanRequest, of_spec

    files = spec.model.hugging_face.files if spec and spec.model and spec.model.hugging_face else None
    asked = of_spec(spec) if spec else PlanRequest()
    facts, kind = facts_from(source, engine or (asked.engine if spec else None), files.include if files else (), files.exclude if files else ())
    return facts, replace(asked, engine=kind, **given)  # type: ignore[arg-type]  # each option has the type of its field


def _check(accelerators: tuple[str, ...], kv_cache_dtype: str | None) -> None:
    """Names that nobody knows end here; those in a manifest may be classes of a cluster, and the plan judges them."""
    from dedicated.planner.catalogue import CLASSES
    from dedicated.planner.kv import KV_BYTES

    for name in accelerators:
        if name not in CLASSES and name != CPU:
            close = [known for known in CLASSES if name in known or known in name] or get_close_matches(name, CLASSES, 3, 0.5)
            hint = f"close names are {', '.join(close[:4])}" if close else f"known are {', '.join(CLASSES)}"
            fail(f"--accelerator {name} is not in the catalogue; {hint}.", ExitCode.USAGE)
    if CPU in accelerators and len(accelerators) > 1:
        fail("--accelerator cpu stands alone: leave out the others, or cpu.", ExitCode.USAGE)
    if kv_cache_dtype is not None and kv_cache_dtype not in KV_BYTES:
        fail(f"--kv-cache-dtype {kv_cache_dtype} is not known; known are {', '.join(KV_BYTES)}.", ExitCode.USAGE)


def _answer(facts: ModelFacts, request: PlanRequest) -> SizingPlan:
    from dedicated.planner import size
    from dedicated.planner.catalogue import accelerators

    return size.plan(facts, accelerators(), request)


def _shown(answer: SizingPlan, facts: ModelFacts | None, output: Output, explain: bool) -> str:
    from dedicated.planner import explain as explaining

    if output is Output.JSON:
        return json.dumps(answer.to_dict(), indent=2)
    return explaining.full(facts, answer) if explain and facts else explaining.summary(answer)
