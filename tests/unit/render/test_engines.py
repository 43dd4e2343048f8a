"""Engines: how each kind is started, that its parser knows every flag of ours, and that a person cannot set one of them in any spelling."""

from __future__ import annotations

import re

import pytest

from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import ConflictingArgs, InvalidSpec
from dedicated.render import engine_flags
from dedicated.render.engines import BUILDERS, launch
from dedicated.render.flags import canonical
from dedicated.render.workload import deployment
from tests.support.builders import PLATFORM, a_spec, wanted

KNOWN = {EngineKind.VLLM: engine_flags.VLLM, EngineKind.SGLANG: engine_flags.SGLANG, EngineKind.LLAMACPP: engine_flags.LLAMACPP}
EVERYTHING = {"maxModelLen": 8192, "maxNumSeqs": 16, "kvCacheDtype": "fp8"}


def engine(kind, hardware=None, **fields):
    """A spec of this kind of engine on one GPU."""
    return a_spec(engine={"kind": kind, **fields}, hardware=hardware or {})


def started(spec, **changes):
    return launch(wanted(spec, **changes), 700)


def values(args, flag):
    """What follows a flag, up to the next one."""
    found = []
    for arg in args[args.index(flag) + 1 :]:
        if arg.startswith("--"):
            break
        found.append(arg)
    return found


def test_every_kind_of_engine_can_be_started():
    assert set(BUILDERS) == set(EngineKind)


@pytest.mark.parametrize("fields", [{}, EVERYTHING], ids=["bare", "everything"])
@pytest.mark.parametrize("kind", KNOWN)
def test_the_parser_of_the_engine_knows_every_flag_that_we_render(kind, fields):
    rendered = [arg for arg in started(engine(kind, {"count": 4}, **fields)).args if arg.startswith("-")]
    spellings = {spelling for flag in KNOWN[kind] for spelling in flag}
    assert len(rendered) > 4 and set(rendered) <= spellings


VLLM_CONFLICTS = [
    ["-tp", "2"],
    ["-tp=2"],
    ["-t", "2"],
    ["--tensor-parallel-size", "2"],
    ["--tensor-parallel-size=2"],
    ["--tensor_parallel_size", "2"],
    ["--tensor-par", "2"],
    ["-pp", "2"],
    ["--model", "x"],
    ["--served_model_name", "x"],
    ["--port=1"],
    ["--host", "x"],
    ["--uds=/x"],
    ["--api-key", "x"],
    ["--api_key=x"],
    ["--max-model-len", "1"],
    ["--shutdown-timeout", "1"],
    ["--config", "x.yaml"],
    ["--config=x.yaml"],
]
SGLANG_CONFLICTS = [["--tp", "2"], ["--tp-size=2"], ["--tp_size", "2"], ["--tensor-parallel-size", "2"], ["--model", "x"], ["--model-path=x"]]
SGLANG_CONFLICTS += [["--enable-metrics"], ["--api-key", "x"], ["--served-model-name", "x"], ["--config", "x"], ["--pp-size", "2"]]
LLAMACPP_CONFLICTS = [["-m", "x"], ["--model=x"], ["--alias", "x"], ["-a", "x"], ["--port", "1"], ["--api-key", "x"], ["--api_key=x"]]
LLAMACPP_CONFLICTS += [["--api-key-file", "x"], ["--metrics"], ["--no-webui"]]
CONFLICTS = [("vllm", args) for args in VLLM_CONFLICTS]
CONFLICTS += [("sglang", args) for args in SGLANG_CONFLICTS] + [("llamacpp", args) for args in LLAMACPP_CONFLICTS]


@pytest.mark.parametrize(("kind", "args"), CONFLICTS, ids=str)
def test_a_flag_that_we_set_is_refused_in_every_spelling(kind, args):
    with pytest.raises(ConflictingArgs, match=f"spec.engine.args holds {re.escape(args[0].split('=')[0])}[ ,]"):
        started(engine(kind, args=args))


def test_a_refusal_names_the_flag_that_a_short_spelling_stands_for():
    with pytest.raises(ConflictingArgs, match=re.escape("holds -tp (--tensor-parallel-size), which dedicated sets itself")):
        started(engine("vllm", args=["-tp", "2"]))


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("vllm", ["--gpu-memory-utilization", "0.8"]),
        ("vllm", ["--max-num-batched-tokens=4096", "-O3", "--compilation-config.mode", "3"]),
        ("vllm", ["--max-num-seqs", "8"]),
        ("vllm", ["--a-flag-of-a-newer-version"]),
        ("sglang", ["--mem-fraction-static", "0.8"]),
        ("sglang", ["--context-length", "8192"]),
        ("llamacpp", ["-c", "512", "--temp", "0"]),
    ],
    ids=str,
)
def test_a_flag_that_we_leave_to_the_user_is_appended_last(kind, args):
    assert started(engine(kind, args=args)).args[-len(args) :] == tuple(args)


@pytest.mark.parametrize(
    ("kind", "field", "args"),
    [
        ("vllm", {"maxNumSeqs": 8}, ["--max-num-seqs", "8"]),
        ("vllm", {"kvCacheDtype": "fp8"}, ["--kv_cache_dtype=fp8"]),
        ("sglang", {"maxModelLen": 8}, ["--context-length", "8"]),
        ("llamacpp", {"maxModelLen": 1024}, ["-c", "512"]),
    ],
    ids=str,
)
def test_a_field_that_is_set_makes_its_flag_ours(kind, field, args):
    with pytest.raises(ConflictingArgs):
        started(engine(kind, args=args, **field))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("-tp", "--tensor-parallel-size"),
        ("--no-enable-prefix-caching", "--enable-prefix-caching"),
        ("--disable-prefix-caching", "--enable-prefix-caching"),
        ("-qfp8", "--quantization"),
        ("--compilation_config.mode", "--compilation-config"),
        ("--max", "--max"),
        ("--unheard-of=1", "--unheard-of"),
        ("-1", "-1"),
        ("value", "value"),
    ],
)
def test_a_spelling_is_read_as_the_parser_reads_it(written, meant):
    assert canonical(written, engine_flags.VLLM) == meant


def test_engines_are_called_by_the_id_and_where_several_names_are_possible_by_the_repository():
    assert values(started(engine("vllm")).args, "--served-model-name") == [wanted().id, "acme/tiny"]
    assert values(started(engine("sglang")).args, "--served-model-name") == [wanted().id]
    assert values(started(engine("llamacpp")).args, "--alias") == [wanted().id]


def test_an_absent_context_length_is_the_largest_that_fits():
    assert values(started(engine("vllm")).args, "--max-model-len") == ["auto"]
    assert "--context-length" not in started(engine("sglang")).args


def test_requests_in_flight_may_take_the_whole_drain():
    spec = a_spec(engine={"kind": "vllm"}, hardware={}, update={"drain": "5m"})
    pod = deployment(wanted(spec), 1, PLATFORM)["spec"]["template"]["spec"]
    assert values(pod["containers"][0]["args"], "--shutdown-timeout") == ["300"] and pod["terminationGracePeriodSeconds"] > 300


def test_vllm_waits_for_its_workers_as_long_as_we_wait_for_it():
    assert ("VLLM_ENGINE_READY_TIMEOUT_S", "700") in started(engine("vllm")).env


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_an_engine_whose_image_belongs_to_root_runs_as_a_user_with_caches_on_a_volume(kind):
    pod = deployment(wanted(engine(kind, {"count": 2})), 1, PLATFORM)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert mounts == {"/tmp": "tmp", "/cache": "cache", "/dev/shm": "shm"}
    assert volumes["shm"] == {"medium": "Memory", "sizeLimit": "4096Mi"} and volumes["cache"]["sizeLimit"]
    assert all(env[name].startswith("/cache") for name in ("HOME", "HF_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")) and env["USER"]


def test_shared_memory_counts_as_the_engines_memory():
    assert wanted(engine("vllm", {"count": 2}), weight_bytes=16 * 1024**3).memory() == f"{(4 + 16 + 4) * 1024}Mi"


@pytest.mark.parametrize("kind", KNOWN)
def test_every_engine_gets_the_key_that_it_demands_of_callers(kind):
    container = deployment(wanted(engine(kind)), 1, PLATFORM)["spec"]["template"]["spec"]["containers"][0]
    (name,) = [variable["name"] for variable in container["env"] if "valueFrom" in variable]
    expected = {"vllm": "VLLM_API_KEY", "llamacpp": "LLAMA_API_KEY", "sglang": "DEDICATED_ENGINE_KEY"}
    assert name == expected[kind]
    assert kind != "sglang" or values(container["args"], "--api-key") == ["$(DEDICATED_ENGINE_KEY)"]


@pytest.mark.parametrize(("kind", "name"), [("llamacpp", "LLAMA_API_KEY"), ("vllm", "HF_HOME"), ("vllm", "HOME"), ("sglang", "USER")])
def test_a_variable_that_we_set_is_refused(kind, name):
    with pytest.raises(ConflictingArgs, match=name):
        started(engine(kind, env=[{"name": name, "value": "x"}]))


def test_a_variable_that_is_named_twice_is_refused():
    with pytest.raises(InvalidSpec, match="names A twice"):
        started(engine("llamacpp", env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]))
