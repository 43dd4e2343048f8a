"""The pure parts of GPUs, fake nodes and clusters side by side: labels, slots, what can be said on the command line, commands issued."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hack.cluster import __main__ as cli
from hack.cluster import context, controlplane, devices, gpus, kwok, node, overview, slots, tools
from hack.cluster.controlplane import ControlPlane
from hack.cluster.gpus import Gpus
from hack.cluster.kwok import Fleet
from hack.cluster.layout import DEFAULT_NAME, FIRST_NAME, Layout, checked
from hack.cluster.processes import Process, wait_until
from hack.tools import REPO, ToolError, versions

# GPUs


def test_a_node_with_gpus_has_the_labels_that_gpu_feature_discovery_gives():
    found = Gpus("NVIDIA-L4", 4).labels
    # As seen on an instance g6.12xlarge with NVIDIA's GPU operator.
    seen = {
        "gpu.compute.major": "8",
        "gpu.compute.minor": "9",
        "gpu.count": "4",
        "gpu.family": "ada-lovelace",
        "gpu.machine": "g6.12xlarge",
        "gpu.memory": "23034",
        "gpu.mode": "compute",
        "gpu.present": "true",
        "gpu.product": "NVIDIA-L4",
        "gpu.replicas": "1",
        "gpu.sharing-strategy": "none",
        "mig.capable": "false",
        "mig.strategy": "single",
        "mps.capable": "false",
        "vgpu.present": "false",
    }
    assert {f"nvidia.com/{key}": value for key, value in seen.items()}.items() <= found.items()
    assert found["nvidia.com/cuda.driver.major"] == found["nvidia.com/cuda.driver-version.major"]
    assert found["nvidia.com/cuda.runtime-version.full"] == "13.0"


def test_a_node_without_gpus_has_no_such_label():
    assert Gpus(count=0).labels == {}


@pytest.mark.parametrize(
    ("compute", "family"),
    [
        ("7.0", "volta"),
        ("7.5", "turing"),
        ("8.6", "ampere"),
        ("8.9", "ada-lovelace"),
        ("9.0", "hopper"),
        ("10.0", "blackwell"),
        ("12.0", "blackwell"),
    ],
)
def test_the_family_follows_from_the_compute_capability(compute, family):
    assert gpus.family(compute) == family


@pytest.mark.parametrize("product", gpus.PRODUCTS, ids=lambda product: product.name)
def test_every_product_makes_labels_that_kubernetes_takes(product):
    for key, value in gpus.labels(product, 8).items():
        assert key.startswith("nvidia.com/") and len(value) <= 63
        assert value and value[0].isalnum() and value[-1].isalnum() and all(c.isalnum() or c in "-_." for c in value)
    assert gpus.family(product.compute) != "undefined"


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, Gpus("NVIDIA-L4", 2)),
        ({"GPUS": "", "GPU_PRODUCT": ""}, Gpus("NVIDIA-L4", 2)),
        ({"GPUS": "0"}, Gpus("NVIDIA-L4", 0)),
        ({"GPUS": "8", "GPU_PRODUCT": "nvidia-h100-80gb-hbm3"}, Gpus("NVIDIA-H100-80GB-HBM3", 8)),
    ],
    ids=["nothing said", "said empty", "none", "eight of another, in small letters"],
)
def test_the_environment_says_which_gpus_a_node_has(environment, found):
    assert gpus.from_environment(environment) == found


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GPUS": "two"}, "GPUS=two is no number"),
        ({"GPUS": "-1"}, "GPUS=-1 is no number"),
        ({"GPU_PRODUCT": "H100"}, "no GPU 'H100'; known are Tesla-T4"),
    ],
)
def test_gpus_that_make_no_sense_are_one_sentence(environment, said):
    with pytest.raises(ToolError, match=said):
        gpus.from_environment(environment)


def test_what_a_node_was_started_with_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Layout, "data", tmp_path)
    assert gpus.gpus_of(Layout()) is None
    gpus.remember(Layout(), Gpus("NVIDIA-L40S", 4))
    assert gpus.gpus_of(Layout()) == Gpus("NVIDIA-L40S", 4)


def test_a_cluster_that_does_not_run_has_no_device_plugin_to_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(Layout, "data", tmp_path)
    with pytest.raises(ToolError, match="runs no device plugin"):
        devices.toggle_gpu(Layout())


# slots and names


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A machine without clusters and without addresses."""
    monkeypatch.setattr(Layout, "data", property(lambda self: tmp_path / self.name))
    monkeypatch.setattr(slots, "_addresses", list)
    return tmp_path


def test_the_default_cluster_has_slot_0_and_others_the_first_free_ones(base):
    assert [slots.claim(Layout(name)) for name in ("other", "dedicated", "third")] == [1, 0, 2]
    assert [Layout(name).node_ip for name in ("dedicated", "other", "third")] == ["198.18.0.2", "198.18.1.2", "198.18.2.2"]
    assert [Layout(name).interface for name in ("dedicated", "other", "third")] == ["ddc0", "ddc1", "ddc2"]


def test_a_slot_is_free_again_when_its_cluster_is_gone(base):
    for name in ("one", "two"):
        slots.claim(Layout(name))
    Layout("one").slot_file.unlink()
    assert slots.claim(Layout("three")) == 1


def test_a_slot_whose_addresses_are_in_use_on_the_machine_is_passed_over(base, monkeypatch):
    cable = {"ifname": "ddc1", "addr_info": []}
    foreign = {"ifname": "bench0", "addr_info": [{"local": "198.18.2.7"}, {"local": "fe80::1"}]}
    monkeypatch.setattr(slots, "_addresses", lambda: [{"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]}, cable, foreign])
    assert slots.claim(Layout("other")) == 3


def test_clusters_that_start_at_the_same_time_get_different_slots(base):
    code = (
        "import sys; from pathlib import Path; from hack.cluster import slots; from hack.cluster.layout import Layout\n"
        "Layout.data = property(lambda self: Path(sys.argv[1]) / self.name); slots._addresses = list\n"
        "print(slots.claim(Layout(sys.argv[2])))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(base), f"c{number}"], stdout=subprocess.PIPE, text=True, cwd=REPO) for number in range(8)
    ]
    assert sorted(int(process.communicate()[0]) for process in started) == list(range(1, 9))


def test_no_free_slot_is_one_sentence(base):
    for number in slots.SLOTS:
        (base / f"c{number}").mkdir()
        (base / f"c{number}" / "slot").write_text(str(number))
    with pytest.raises(ToolError, match="All 250 places for clusters are taken"):
        slots.claim(Layout("other"))


def test_a_cluster_that_does_not_run_has_no_address_unless_it_is_the_default_one(base):
    assert Layout(FIRST_NAME).node_ip == "198.18.0.2"
    with pytest.raises(ToolError, match="Cluster other does not run, so it has no address"):
        _ = Layout("other").node_ip


@pytest.mark.parametrize("name", ["other", "a", "team-2", "x" * 40])
def test_a_good_name_is_taken(name):
    assert checked(name) == name


@pytest.mark.parametrize("name", ["", "Other", "a_b", "../up", "-a", "a-", "x" * 41])
def test_a_name_that_cannot_be_part_of_a_nodes_name_is_refused(name):
    with pytest.raises(ToolError, match="A cluster cannot be called"):
        checked(name)


@pytest.mark.parametrize(("environment", "meant"), [({}, "dedicated"), ({"CLUSTER": ""}, "dedicated"), ({"CLUSTER": "other"}, "other")])
def test_the_environment_names_the_cluster_where_nobody_else_does(environment, meant):
    code = "from hack.cluster import __main__, bare, context, layout; print(layout.Layout().name, __main__.parser().parse_args(['down']).name)"
    env = {name: value for name, value in os.environ.items() if name != "CLUSTER"}
    done = subprocess.run([sys.executable, "-c", code], env={**env, **environment}, cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [meant, meant]


def test_mount_points_that_were_made_stay_until_the_last_cluster_is_gone(base, monkeypatch):
    made, old = base / "machine" / "made", base / "machine" / "old"
    old.mkdir(parents=True)
    monkeypatch.setattr(slots, "MOUNT_POINTS", (str(made), str(old)))
    clusters = base / "clusters"
    (clusters / "one").mkdir(parents=True)
    slots.make_mount_points(clusters)
    (clusters / "two").mkdir()
    slots.make_mount_points(clusters)
    (clusters / "one").rmdir()
    slots.remove_mount_points(clusters)
    assert made.exists()
    (clusters / "two").rmdir()
    slots.remove_mount_points(clusters)
    assert not made.exists() and old.exists()


def test_a_table_tells_clusters_and_what_is_left_of_them(base):
    assert "No bare cluster is here" in overview.table(overview.rows(base))
    for name in ("one", "two"):
        slots.claim(Layout(name))
    gpus.remember(Layout("two"), Gpus())
    (heading, one, two) = overview.table(overview.rows(base)).splitlines()
    assert heading.split() == ["NAME", "STATE", "ADDRESS", "GPUS", "NODE", "PID", "DAEMONS"]
    assert one.split() == ["one", "ended", "https://198.18.1.2:6443", "-", "-", "-"]
    assert two.split() == ["two", "ended", "https://198.18.2.2:6443", "2", "x", "NVIDIA-L4", "-", "-"]


def test_a_process_knows_its_children_by_program():
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert wait_until(lambda: Process.of(os.getpid()).children().get("sleep") == child.pid, 5.0)
    finally:
        child.kill()
        child.wait()


# fake nodes


def listed(fleet: Fleet, **more) -> list[dict]:
    """The fleet's nodes as the API server would answer them, with labels and taints of its own."""
    found = fleet.manifests()
    for manifest in found:
        manifest["metadata"]["labels"]["beta.kubernetes.io/os"] = "linux"
        manifest["spec"]["taints"].extend(more.get("taints", []))
        manifest["status"]["conditions"] = [{"type": "Ready", "status": more.get("ready", "True")}]
    return found


def test_a_fake_node_has_its_mark_its_taint_its_gpus_and_their_labels():
    (found,) = Fleet(1, Gpus("NVIDIA-H200", 8)).manifests()
    assert found["metadata"]["name"] == "kwok-nvidia-h200-0"
    assert found["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert found["spec"]["taints"] == [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
    assert found["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert found["metadata"]["labels"]["nvidia.com/gpu.memory"] == "143771"
    assert Fleet(1, tainted=False).manifests()[0]["spec"]["taints"] == []


def test_a_fake_node_without_gpus_has_neither_resource_nor_label():
    (found,) = Fleet(1, Gpus(count=0)).manifests()
    assert found["metadata"]["name"] == "kwok-cpu-0" and "nvidia.com/gpu" not in found["status"]["capacity"]
    assert not [key for key in found["metadata"]["labels"] if key.startswith("nvidia.com/")]


@pytest.mark.parametrize(
    ("wanted", "there", "made", "removed"),
    [
        (Fleet(2), [], ["0", "1"], []),
        (Fleet(2), listed(Fleet(2)), [], []),
        (Fleet(3), listed(Fleet(1)), ["1", "2"], []),
        (Fleet(1), listed(Fleet(3)), [], ["1", "2"]),
        (Fleet(0), listed(Fleet(1)), [], ["0"]),
        (Fleet(1, tainted=False), listed(Fleet(1)), ["0"], ["0"]),
        (Fleet(1), listed(Fleet(1, Gpus(gpus.FLEET_PRODUCT, 4))), ["0"], ["0"]),
        (Fleet(1), listed(Fleet(1, Gpus("NVIDIA-L4", 1))), ["0"], []),
        (Fleet(1), listed(Fleet(1), taints=[{"key": "node.kubernetes.io/not-ready"}]), [], []),
    ],
    ids=[
        "none there",
        "all there",
        "more",
        "fewer",
        "none wanted",
        "another taint",
        "another count",
        "another GPU beside",
        "a taint of the cluster's",
    ],
)
def test_fake_nodes_become_what_is_wanted(wanted, there, made, removed):
    missing, surplus = kwok.difference(wanted, there)
    assert [manifest["metadata"]["name"].removeprefix(wanted.prefix) for manifest in missing] == made
    assert [name.removeprefix(wanted.prefix) for name in surplus] == removed


def test_a_fake_node_is_usable_when_it_is_ready_and_no_longer_held_back():
    name = {"kwok-nvidia-h100-80gb-hbm3-0"}
    assert kwok.usable(listed(Fleet(1))) == name
    assert kwok.usable(listed(Fleet(1), ready="False")) == set()
    assert kwok.usable(listed(Fleet(1), taints=[{"key": "node.kubernetes.io/not-ready"}])) == set()


def test_the_environment_says_how_many_fake_nodes_there_are():
    assert kwok.from_environment({}) is None
    assert kwok.from_environment({"KWOK_NODES": "12"}).nodes == 12
    with pytest.raises(ToolError, match="KWOK_NODES=many is no number of nodes"):
        kwok.from_environment({"KWOK_NODES": "many"})


def test_fake_nodes_need_a_cluster_that_runs(base):
    with pytest.raises(ToolError, match="does not run"):
        kwok.add_nodes(Layout("other"), Fleet(1))


# commands issued


@pytest.fixture
def plane(tmp_path, monkeypatch):
    """A control plane that does not run; programs are called by their names, and what would be started is remembered."""
    started: list[list[str]] = []

    class FakePki:
        folder = tmp_path
        ca = type("Pair", (), {"cert": tmp_path / "ca.crt"})

        def issue(self, name, *_):
            return name

        def kubeconfig(self, path, server, who):
            return path

    monkeypatch.setattr(tools, "path", Path)
    monkeypatch.setattr(controlplane, "start", lambda name, command, log, **more: started.append([str(part) for part in command]))
    found = ControlPlane(tmp_path, "https://x:1", tmp_path / "kubeconfig", tmp_path / "audit.log", pki=FakePki(), admin=None)
    found.started = started
    return found


def test_the_node_runs_a_device_plugin_and_tells_its_labels(plane, base):
    found = node.commands(Layout(FIRST_NAME), plane, Gpus("NVIDIA-L4", 3))
    assert found["device-plugin"] == [Path("device-plugin"), "--count=3", f"--count-file={base / FIRST_NAME / 'gpu-count'}"]
    assert list(found).index("kubelet") < list(found).index("device-plugin")
    (labels,) = [part for part in found["kubelet"] if str(part).startswith("--node-labels=")]
    assert "nvidia.com/gpu.product=NVIDIA-L4" in labels and "nvidia.com/gpu.count=3" in labels


def test_a_node_without_gpus_runs_no_device_plugin(plane, base):
    found = node.commands(Layout(FIRST_NAME), plane, Gpus(count=0))
    assert "device-plugin" not in found and "--node-labels=" in found["kubelet"]


def test_kwok_plays_only_nodes_with_its_mark(plane, tmp_path, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, stdout="kind: Stage\n")
    monkeypatch.setattr(kwok.subprocess, "run", lambda command, **_: answer if command == [Path("kwok"), "stages"] else None)
    command = kwok.kwok_command(tmp_path, plane.server, plane.pki)
    assert "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake" in command
    assert (tmp_path / "kwok.yaml").read_text() == "kind: Stage\n"


def test_a_control_plane_alone_and_a_node_start_the_same_scheduler(plane, tmp_path):
    controlplane.start_scheduler(plane)
    assert plane.started[0][0] == "kube-scheduler" and f"--kubeconfig={tmp_path / 'scheduler.kubeconfig'}" in plane.started[0]
    assert {"--leader-elect=false", "--secure-port=0"} <= set(plane.started[0])


def test_kwoks_version_is_the_same_in_both_places():
    assert f"sigs.k8s.io/kwok v{versions()['KWOK_VERSION']}" in (REPO / "hack" / "cluster" / "build" / "kwok" / "go.mod").read_text()


def test_the_device_plugin_speaks_the_kubelets_version():
    major, minor, patch = versions()["KUBERNETES_VERSION"].split(".")
    assert f"k8s.io/kubelet v0.{minor}.{patch}" in (REPO / "hack" / "device-plugin" / "go.mod").read_text() and major == "1"


# the command line


@pytest.fixture
def asked(monkeypatch):
    """What the command line would do."""
    found: list[tuple] = []
    monkeypatch.setattr(context, "up", lambda name: found.append(("up", name)))
    monkeypatch.setattr(context, "down", lambda name: found.append(("down", name)))
    monkeypatch.setattr(context, "load", lambda name, archives: found.append(("load", name, archives)))
    monkeypatch.setattr(kwok, "add_nodes", lambda layout, fleet: found.append(("kwok", layout.name, fleet)))
    monkeypatch.setattr(devices, "set_gpu_count", lambda layout, count: found.append(("gpus", layout.name, count)))
    monkeypatch.setattr(devices, "toggle_gpu", lambda layout: found.append(("toggle", layout.name)))
    return found


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("up", [("up", DEFAULT_NAME)]),
        ("up --name other", [("up", "other")]),
        ("--name other up", [("up", "other")]),
        ("down", [("down", DEFAULT_NAME)]),
        ("down --name other", [("down", "other")]),
        ("load a.tar --name other", [("load", "other", [Path("a.tar")])]),
        ("kwok-nodes 3", [("kwok", DEFAULT_NAME, Fleet(3))]),
        (
            "kwok-nodes 2 --gpu nvidia-l4 --gpus-per-node 1 --no-taint --name other",
            [("kwok", "other", Fleet(2, Gpus("NVIDIA-L4", 1), tainted=False))],
        ),
        ("gpus 8 --name other", [("gpus", "other", 8)]),
        ("gpus --toggle", [("toggle", DEFAULT_NAME)]),
    ],
)
def test_a_command_line_does_what_it_says(asked, line, done):
    assert cli.main(line.split()) == 0
    assert asked == done


@pytest.mark.parametrize("line", ["", "fly", "kwok-nodes", "kwok-nodes some", "kwok-nodes -1", "gpus x"])
def test_a_command_line_that_makes_no_sense_is_refused(asked, line):
    with pytest.raises(SystemExit):
        cli.main(line.split())
    assert asked == []


def test_a_failure_is_one_sentence_and_exit_code_1(asked, capsys):
    assert cli.main(["kwok-nodes", "1", "--gpu", "H100"]) == 1
    assert "There is no GPU 'H100'" in capsys.readouterr().err
