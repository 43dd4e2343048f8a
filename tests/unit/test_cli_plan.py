"""`dedicated plan`: what it prints, how it ends, and one sentence for everything that is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from dedicated.cli import app
from hack.hub.server import Hub as Server
from hack.tools import REPO
from tests.support.checkpoints import gguf, index, safetensors, with_config
from tests.support.hub import serving

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_BYTES = 16_060_522_496


@pytest.fixture
def model(tmp_path):
    """A folder with a config and an index."""
    return index(with_config(tmp_path / "llama", LLAMA), LLAMA_BYTES)


def run(*args, **env):
    done = CliRunner().invoke(app, ["plan", *map(str, args)], env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def answer(*args, code=0, **env):
    done = run(*args, "-o", "json", **env)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_the_answer_as_json(model):
    found = answer(
        *("--model-path", model, "--accelerator", "h100-80gb", "--count", 2, "--engine", "vllm"),
        *("--max-model-len", 16000, "--gpu-memory-utilization", 0.9),
    )
    assert (found["fits"], found["verdict"], found["accelerator"], found["count"]) == (True, "fits", "h100-80gb", 2)
    assert (found["tensorParallel"], found["pipelineParallel"], found["maxModelLen"], found["maxNumSeqs"]) == (2, 1, 16000, 1024)
    assert found["memory"]["weightBytes"] == LLAMA_BYTES // 2 and found["memory"]["kvCacheBytes"] == 16000 * 131_072 // 2
    assert found["pricePerHour"] == 13.76 and found["reason"] is None and found["rejected"] == []


def test_a_rejection_ends_with_one_and_the_same_fields(model):
    found = answer("--model-path", model, "--accelerator", "t4", "--count", 1, code=1)
    assert (found["fits"], found["verdict"], found["reason"]) == (False, "rejected", "DoesNotFit")
    assert found["memory"]["headroomBytes"] < 0 and found["rejected"][0]["accelerator"] == "t4"
    assert found["message"].endswith("allow l4")


def test_a_tight_plan_ends_with_zero(tmp_path):
    folder = with_config(tmp_path / "m", "Qwen/Qwen3-32B")
    found = answer(*("--model-path", folder, "--accelerator", "h100-80gb", "--count", 1, "--max-model-len", 16000, "--gpu-memory-utilization", 0.9))
    assert (found["verdict"], found["fits"], found["reason"]) == ("tight", True, "TightFit")


def test_every_option_reaches_the_plan(tmp_path):
    folder = with_config(tmp_path / "m", "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic")
    found = answer(
        *("--model-path", folder, "--accelerator", "l4", "--count", 8, "--tensor-parallel", 2, "--pipeline-parallel", 4),
        *("--max-num-seqs", 512, "--max-num-batched-tokens", 32768, "--kv-cache-dtype", "fp8", "--max-model-len", 32768),
    )
    shown = found["tensorParallel"], found["pipelineParallel"], found["maxNumSeqs"], found["maxNumBatchedTokens"], found["kvCacheDtype"]
    assert shown == (2, 4, 512, 32768, "fp8")
    assert found["memory"]["kvCacheBytes"] == 20 * 4 * 256 * 32768  # 20 layers of a stage, 4 heads of a rank, 1 byte


def test_several_classes_may_be_allowed(model):
    found = answer("--model-path", model, "--accelerator", "t4", "--accelerator", "l4", "--count", 1)
    assert found["accelerator"] == "l4" and [one["accelerator"] for one in found["rejected"]] == ["t4"]


def test_a_family_that_nobody_knows_is_a_warning(tmp_path):
    folder = with_config(tmp_path / "m", LLAMA, model_type="tomorrow", architectures=["TomorrowForCausalLM"])
    found = answer("--model-path", folder, "--accelerator", "h100-80gb", "--count", 1)
    assert found["fits"] and found["warnings"][0].startswith("UnsupportedArchitecture: ")


def test_a_model_of_which_nothing_is_known_is_refused_and_not_a_traceback(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["TomorrowForCausalLM"]}')
    found = answer("--model-path", tmp_path, code=1)
    assert (found["reason"], found["memory"]) == ("UnsupportedArchitecture", None)


def test_a_plan_over_several_nodes_says_so(tmp_path):
    found = answer("--model-path", with_config(tmp_path / "m", "deepseek-ai/DeepSeek-R1"), "--accelerator", "h100-nvl", "--count", 12)
    assert (found["nodes"], found["schedulable"], found["fits"]) == (6, False, True)


def test_a_gguf_file_is_planned_for_llamacpp(tmp_path):
    file = gguf(tmp_path / "tiny.gguf", {"general.architecture": "llama", "llama.block_count": 16, "llama.embedding_length": 2048})
    found = answer("--model-path", file, "--accelerator", "cpu")
    assert (found["accelerator"], found["count"], found["fits"]) == ("cpu", 0, True)


def test_as_text_it_is_a_sentence_and_a_few_settings(model):
    shown = run("--model-path", model, "--accelerator", "l4", "--count", 1, "--max-model-len", 8192).stdout
    assert shown.startswith("Fits on 1 x l4 with 8192 tokens of context: ")
    assert "0.80 USD per hour" in shown and "the memory of a device" not in shown


def test_explain_shows_the_model_the_memory_and_every_rejection(model):
    shown = run("--model-path", model, "--accelerator", "t4", "--accelerator", "h100-80gb", "--count", 1, "--explain").stdout
    for said in ("LlamaForCausalLM (llama)", "(from index)", "32 full layers", "KV cache of one request", "t4     DoesNotFit"):
        assert said in shown


def spec(**hardware):
    return {"model": {"huggingFace": {"repo": "acme/llama"}}, "engine": {"maxModelLen": 8192}, "hardware": hardware, "access": {"owner": "alice"}}


def manifest(path, found):
    path.write_text(yaml.safe_dump({"apiVersion": "inference.dedicated.dev/v1alpha1", "kind": "InferenceEndpoint", "spec": found}))
    return path


@pytest.fixture
def hub(tmp_path):
    """A hub that has the model, and a cache of its own."""
    root = tmp_path / "models"
    index(with_config(root / "acme" / "llama", LLAMA), LLAMA_BYTES)
    with serving(Server(root)) as url:
        yield {"HF_ENDPOINT": url, "XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_TOKEN": ""}


def test_a_manifest_is_planned_from_the_hub_and_then_without_it(tmp_path, hub):
    file = manifest(tmp_path / "endpoint.yaml", spec(accelerators=["l4"]))
    first = answer(file, **hub)
    assert (first["accelerator"], first["count"], first["maxModelLen"]) == ("l4", 1, 8192)
    assert answer(file, "--offline", **hub) == first


def test_options_go_before_what_the_manifest_says(tmp_path, hub):
    file = manifest(tmp_path / "endpoint.yaml", spec(accelerators=["l4"]))
    found = answer(file, "--accelerator", "h100-80gb", "--max-model-len", 4096, **hub)
    assert (found["accelerator"], found["maxModelLen"]) == ("h100-80gb", 4096)


def test_a_manifests_own_model_files_may_stand_in_a_folder(tmp_path, model):
    file = manifest(tmp_path / "endpoint.yaml", spec(accelerators=["l4"], maxPricePerHour=0.5))
    assert answer(file, "--model-path", model, code=1)["reason"] == "PriceAboveLimit"


def test_a_repository_is_planned(hub):
    assert answer("--repo", "acme/llama", "--accelerator", "l4", **hub)["fits"]


def test_a_class_that_only_a_cluster_may_know_is_left_to_the_plan(tmp_path, model):
    file = manifest(tmp_path / "endpoint.yaml", spec(accelerators=["our-card"]))
    assert answer(file, "--model-path", model, code=1)["reason"] == "NoAcceleratorAllowed"


def test_flags_among_the_engines_arguments_count(tmp_path, model):
    asked = {**spec(accelerators=["h100-80gb"]), "engine": {"args": ["--gpu-memory-utilization=0.5", "--max-num-batched-tokens", "4096"]}}
    found = answer(manifest(tmp_path / "endpoint.yaml", asked), "--model-path", model)
    assert found["maxNumBatchedTokens"] == 4096
    assert found["memory"]["budgetBytes"] == pytest.approx(0.5 * 79.18 * 2**30, rel=1e-3)


def broken(tmp_path):
    (tmp_path / "config.json").write_text("{")
    return tmp_path


def damaged(tmp_path):
    file = safetensors(with_config(tmp_path, LLAMA) / "model.safetensors", {"a": ("BF16", [1], 2)})
    file.write_bytes(file.read_bytes()[:20])
    return tmp_path


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 2, "Name the model once: a manifest, --repo, or --model-path."),
        (["--repo", "a/b", "--model-path", "MODEL"], 2, "Name the model once"),
        (["--model-path", "MODEL/nowhere"], 2, "--model-path: "),
        (["--model-path", "EMPTY"], 2, "has no config.json"),
        (["--model-path", "BROKEN"], 2, "config.json in"),
        (["--model-path", "DAMAGED"], 2, "the header of model.safetensors is cut off"),
        (["--model-path", "MODEL", "--accelerator", "h100"], 2, "--accelerator h100 is not in the catalogue; close names are h100-80gb, h100-nvl."),
        (["--model-path", "MODEL", "--accelerator", "rtx-4090"], 2, "close names are rtx4090"),
        (["--model-path", "MODEL", "--accelerator", "cpu", "--accelerator", "l4"], 2, "--accelerator cpu stands alone"),
        (["--model-path", "MODEL", "--kv-cache-dtype", "turbo"], 2, "--kv-cache-dtype turbo is not known"),
        (["--model-path", "MODEL", "--gpu-memory-utilization", "1.5"], 2, "--gpu-memory-utilization"),
        (["--model-path", "MODEL", "--count", "0"], 2, "--count"),
        (["--model-path", "MODEL", "--engine", "tgi"], 2, "--engine"),
        (["no-such.yaml"], 2, "The manifest no-such.yaml cannot be read"),
        (["--repo", "acme/none", "--offline"], 3, "leave out --offline once"),
        (
            ["--model-path", "MODEL", "--accelerator", "h100-80gb", "--count", "3", "--tensor-parallel", "3"],
            1,
            "32 attention heads cannot be divided",
        ),
        (["--model-path", "MODEL", "--accelerator", "h100-80gb", "--count", "17"], 1, "cannot be spread evenly over nodes"),
        (["--model-path", "MODEL", "--accelerator", "h100-80gb", "--max-model-len", "200000"], 1, "Rejected (ContextTooLong)"),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_exit_code(tmp_path, model, args, code, says):
    places = {"MODEL": model, **{name: tmp_path / name.lower() for name in ("EMPTY", "BROKEN", "DAMAGED")}}
    for name in ("EMPTY", "BROKEN", "DAMAGED"):
        places[name].mkdir()
    broken(places["BROKEN"])
    damaged(places["DAMAGED"])
    told = [re.sub("^[A-Z]+", lambda name: str(places[name[0]]), arg) for arg in args]
    done = run(*told, XDG_CACHE_HOME=str(tmp_path))
    assert done.exit_code == code
    assert says in done.stdout + done.stderr and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: Pod", "holds 0 objects of kind InferenceEndpoint"),
        ("{", "is not YAML"),
        ("kind: InferenceEndpoint\nspec: {engine: {kind: tgi}}", "spec.engine.kind"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_sentence(tmp_path, text, says):
    (tmp_path / "endpoint.yaml").write_text(text)
    done = run(tmp_path / "endpoint.yaml")
    assert done.exit_code == 2 and says in done.stderr


def test_a_hub_that_does_not_answer_ends_with_three(tmp_path):
    done = run("--repo", "acme/llama", HF_ENDPOINT="http://127.0.0.1:9", XDG_CACHE_HOME=str(tmp_path))
    assert done.exit_code == 3 and "cannot be reached" in done.stderr


def test_a_model_that_is_not_there_ends_with_one_and_its_next_step(hub):
    done = run("--repo", "acme/none", **hub)
    assert done.exit_code == 1 and "does not exist or is private" in done.stderr and "Check spec.model.huggingFace.repo" in done.stderr


def test_every_sample_that_names_a_model_can_be_planned_offline_or_says_why():
    for path in (REPO / "crds" / "samples").glob("*.yaml"):
        assert run(path, "--offline", XDG_CACHE_HOME="/nonexistent").exit_code in (2, 3)


def test_it_needs_no_cluster_and_no_network(model):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "DEDICATED"))}
    command = [sys.executable, "-m", "dedicated", "plan", "--model-path", str(model), "-o", "json"]
    done = subprocess.run(command, env={**env, "KUBECONFIG": "/nonexistent"}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout)["fits"]
