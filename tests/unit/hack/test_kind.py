"""Provider kind: the exact commands of each story, without a container engine; and which provider is chosen where."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from hack.cluster import context, gpus, kind, tools
from hack.cluster.context import Target
from hack.cluster.kind import Kind, Shell
from hack.tools import ToolError, cache_dir, versions


class Recorder(Shell):
    """Records commands, with the program's name alone; answers what it was told to, and "" to the rest."""

    def __init__(self, **answers: tuple[bool, str]):
        self.answers = {name.replace("_", " "): answer for name, answer in answers.items()}
        self.commands: list[str] = []
        self.engines: set[str | None] = set()

    def do(self, what, *command, env):
        self.ask(*command, env=env)

    def ask(self, *command, env=None):
        line = " ".join([Path(command[0]).name, *command[1:]])
        self.commands.append(line)
        if line.startswith("kind "):
            self.engines.add((env or {}).get("KIND_EXPERIMENTAL_PROVIDER"))
        return next((answer for start, answer in self.answers.items() if line.startswith(start)), (True, ""))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Files go below tmp_path, and no program is built."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DEDICATED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    for name in ("CLUSTER_PROVIDER", "GPUS", "GPU_PRODUCT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tools, "path", lambda name: Path("/bin-of-ours") / name)
    return tmp_path / "state" / "dedicated" / "kind" / "two"


def start(folder: Path) -> list[str]:
    labels = json.dumps({"metadata": {"labels": gpus.from_environment({}).labels}})
    status = '{"status": {"capacity": {"nvidia.com/gpu": "2"}}}'
    return [
        f"kind create cluster --name two --kubeconfig {folder}/kubeconfig --config {folder}/config.yaml --wait 180s",
        f"kubectl --kubeconfig={folder}/kubeconfig wait nodes --all --for=condition=Ready --timeout=15s",
        f"kubectl --kubeconfig={folder}/kubeconfig patch node two-worker --type=merge --patch={labels}",
        f"kubectl --kubeconfig={folder}/kubeconfig patch node two-worker --subresource=status --type=merge --patch={status}",
    ]


def test_a_cluster_that_does_not_exist_is_created_and_its_worker_gets_gpus(place):
    sh = Recorder(kind_get=(True, "other\n"))
    assert Kind("two", sh).up() == place / "kubeconfig"
    assert sh.commands == ["docker info", "kind get clusters", *start(place)]
    assert sh.engines == {"docker"}


def test_the_worker_gets_the_gpus_that_are_asked_for(monkeypatch):
    monkeypatch.setenv("GPUS", "4")
    monkeypatch.setenv("GPU_PRODUCT", "NVIDIA-L40S")
    sh = Recorder(kind_get=(True, ""))
    Kind("two", sh).up()
    labels, status = (json.loads(command.partition("--patch=")[2]) for command in sh.commands[-2:])
    assert (labels["metadata"]["labels"]["nvidia.com/gpu.product"], status["status"]["capacity"]) == ("NVIDIA-L40S", {"nvidia.com/gpu": "4"})


def test_a_cluster_that_answers_is_reused_and_its_kubeconfig_written_again(place):
    sh = Recorder(kind_get=(True, "other\ntwo\n"))
    assert Kind("two", sh).up() == place / "kubeconfig"
    assert sh.commands == [
        "docker info",
        "kind get clusters",
        f"kind export kubeconfig --name two --kubeconfig {place}/kubeconfig",
        f"kubectl --kubeconfig={place}/kubeconfig get --raw=/readyz --request-timeout=5s",
    ]


@pytest.mark.parametrize("broken", ["kind_export", "kubectl"])
def test_a_cluster_that_does_not_answer_is_ended_and_started_anew(place, broken):
    sh = Recorder(kind_get=(True, "two"), **{broken: (False, "refused")})
    if broken == "kubectl":
        with pytest.raises(ToolError, match=r"kubectl wait nodes .* failed: refused"):
            Kind("two", sh).up()
    else:
        Kind("two", sh).up()
    delete = f"kind delete cluster --name two --kubeconfig {place}/kubeconfig"
    assert sh.commands[sh.commands.index(delete) + 1] == start(place)[0]


def test_podman_is_taken_where_docker_does_not_answer(place):
    sh = Recorder(docker=(False, "no daemon"), kind_get=(True, ""))
    Kind("two", sh).up()
    assert sh.commands[:2] == ["docker info", "podman info"]
    assert sh.engines == {"podman"}


def test_images_are_loaded_into_the_cluster_with_this_name():
    sh = Recorder()
    Kind("two", sh).load([Path("/a/one.tar"), Path("/b/two.tar")])
    assert sh.commands[1:] == ["kind load image-archive /a/one.tar --name two", "kind load image-archive /b/two.tar --name two"]


def test_down_deletes_the_cluster_and_its_files_and_nothing_of_another_one(place):
    sh = Recorder(kind_get=(True, ""))
    Kind("two", sh).up()
    Kind("other", sh).up()
    sh.commands.clear()
    Kind("two", sh).down()
    assert sh.commands == ["docker info", f"kind delete cluster --name two --kubeconfig {place}/kubeconfig"]
    assert not place.exists() and place.with_name("other").exists()


def test_clusters_are_listed():
    assert Kind(sh=Recorder(kind_get=(True, "one\ntwo\n"))).names() == ["one", "two"]
    with pytest.raises(ToolError, match="kind cannot list its clusters: broken"):
        Kind(sh=Recorder(kind_get=(False, "broken"))).names()


@pytest.mark.parametrize("story", ["up", "down", "names"])
def test_without_a_container_engine_one_sentence_says_what_to_use_instead(story):
    sh = Recorder(docker=(False, ""), podman=(False, ""))
    with pytest.raises(ToolError, match="neither docker nor podman answers: start one, or use KUBE_CONTEXT"):
        getattr(Kind("two", sh), story)()
    assert sh.commands == ["docker info", "podman info"]


def test_no_command_touches_the_kubeconfig_of_the_person(place):
    sh = Recorder(kind_get=(True, ""))
    Kind("two", sh).up()
    Kind("two", sh).down()
    for command in sh.commands:
        if command.startswith(("kubectl", "kind create", "kind export", "kind delete")):
            assert f"{place}/kubeconfig" in command


def test_a_program_that_is_missing_or_fails_answers_no(tmp_path):
    assert Shell().ask("no-such-program-xyz")[0] is False
    assert Shell().ask("sh", "-c", "echo why >&2; exit 1") == (False, "why")
    assert Shell().ask("sh", "-c", "echo $GIVEN", env={"GIVEN": "x"}) == (True, "x\n")


def test_the_configuration_has_two_nodes_of_the_pinned_kubernetes_and_the_network_that_enforces_policies():
    found = yaml.safe_load(yaml.safe_dump(kind.config()))
    assert (found["kind"], found["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert [node["role"] for node in found["nodes"]] == ["control-plane", "worker"]
    assert {node["image"].split("@")[0] for node in found["nodes"]} == {f"kindest/node:v{versions()['KUBERNETES_VERSION']}"}
    assert found["networking"] == {"ipFamily": "ipv4", "apiServerAddress": "127.0.0.1", "disableDefaultCNI": False}


def test_a_node_image_of_another_kubernetes_is_refused(monkeypatch):
    monkeypatch.setattr(kind, "versions", lambda: {**versions(), "KUBERNETES_VERSION": "1.99.0"})
    with pytest.raises(ToolError, match=r"names Kubernetes 1\.99\.0 and kindest/node:.*: change both"):
        kind.config()


@pytest.mark.parametrize("wrong", [False, True], ids=["as it is", "with a field that kind does not know"])
def test_kind_itself_reads_the_configuration(tmp_path, monkeypatch, wrong):
    """kind reads its configuration before it asks the engine, which is one here that always fails."""
    monkeypatch.undo()
    built = sorted(cache_dir("bin").glob(f"kind-{versions()['KIND_VERSION']}-*/kind"))
    if not built:
        pytest.skip("kind is not built here: .venv/bin/python -m hack.cluster tool kind")
    found = kind.config() | ({"nets": {}} if wrong else {})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(found))
    (tmp_path / "docker").write_text("#!/bin/sh\necho no engine >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KIND_EXPERIMENTAL_PROVIDER": "docker", "HOME": str(tmp_path)}
    command = [built[0], "create", "cluster", "--name", "none", "--config", "config.yaml", "--kubeconfig", "kubeconfig"]
    said = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False).stderr
    assert ("field nets not found" in said) is wrong
    assert ("no engine" in said) is not wrong


# which provider


@pytest.fixture
def machine(monkeypatch):
    """Makes this machine look like another one."""

    def look(*, root: bool = True, platform: str = "linux", debian: bool = True, engine: str | None = None) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
        monkeypatch.setattr("sys.platform", platform)
        monkeypatch.setattr(context, "DPKG", Path("/") if debian else Path("/no/dpkg"))
        monkeypatch.setattr(kind, "engine", lambda *_: engine)

    return look


@pytest.mark.parametrize(
    ("looks", "provider", "why"),
    [
        ({}, "bare", "this is root on Debian or Ubuntu"),
        ({"engine": "docker"}, "bare", "this is root on Debian or Ubuntu"),
        ({"root": False, "engine": "docker"}, "kind", "this is not root and docker answers"),
        ({"debian": False, "engine": "podman"}, "kind", "this is neither Debian nor Ubuntu and podman answers"),
        ({"platform": "darwin", "debian": False, "engine": "docker"}, "kind", "this is darwin and docker answers"),
        ({"root": False}, "bare", "no container engine answers, so nothing else is possible"),
    ],
)
def test_the_provider_is_chosen_by_what_the_machine_has(machine, looks, provider, why):
    machine(**looks)
    assert context.choose() == context.Choice(provider, why)


@pytest.mark.parametrize("wanted", ["bare", "kind"])
def test_the_provider_that_is_named_is_taken_whatever_the_machine_has(machine, monkeypatch, wanted):
    machine(root=wanted == "kind", engine=None if wanted == "kind" else "docker")
    monkeypatch.setenv("CLUSTER_PROVIDER", wanted)
    assert context.choose() == context.Choice(wanted, f"CLUSTER_PROVIDER={wanted} says so")


def test_a_provider_that_nobody_knows_is_refused(monkeypatch):
    monkeypatch.setenv("CLUSTER_PROVIDER", "minikube")
    with pytest.raises(ToolError, match="CLUSTER_PROVIDER=minikube is no provider; known are bare, kind"):
        context.up()


def test_every_command_goes_to_kind_where_kind_is_chosen(place, monkeypatch, capsys):
    sh = Recorder(kind_get=(True, "two"))
    monkeypatch.setattr(context, "Kind", lambda name="dedicated": Kind(name, sh))
    monkeypatch.setenv("CLUSTER_PROVIDER", "kind")
    with pytest.raises(ToolError, match="make cluster starts one"):
        context.kubeconfig("two")
    target = context.up("two")
    assert target == Target(place / "kubeconfig", "two", False, provider="kind", ignores_policies="")
    assert "cluster provider kind: CLUSTER_PROVIDER=kind says so" in capsys.readouterr().err
    target.load([Path("/a/one.tar"), None])
    assert sh.commands[-1] == "kind load image-archive /a/one.tar --name two"
    assert context.names() == ["two"]
    (place / "kubeconfig").write_text("")
    assert context.kubeconfig("two") == place / "kubeconfig"
    context.down("two")
    assert sh.commands[-1].startswith("kind delete cluster --name two")
