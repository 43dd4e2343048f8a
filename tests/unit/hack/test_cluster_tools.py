"""The pure parts of hack/cluster: versions, pid files, mount tables, names."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile

import pytest
import yaml

from hack.cluster import bare, configs, context, slots
from hack.cluster.bare import mounts_below
from hack.cluster.controlplane import ControlPlane
from hack.cluster.go import new_enough
from hack.cluster.layout import Layout
from hack.cluster.processes import Process, start
from hack.images import oci
from hack.tools import ToolError, apt_install, run, versions


@pytest.mark.parametrize(
    ("said", "enough"),
    [
        ("go version go1.26.8 linux/amd64", True),
        ("go version go1.25 linux/amd64", True),
        ("go version go1.19.8 linux/amd64", False),
        ("go version devel", False),
        ("", False),
    ],
)
def test_a_go_that_is_too_old_is_not_used(said, enough):
    assert new_enough(said, "1.25") is enough


def test_a_pid_file_names_a_process_only_while_that_very_process_runs(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = Process.of(process.pid)
    found.write(tmp_path / "pid")
    assert Process.read(tmp_path / "pid") == found
    Process(process.pid, "1").write(tmp_path / "recycled")
    assert Process.read(tmp_path / "recycled") is None
    found.end()
    process.wait()
    assert Process.read(tmp_path / "pid") is None


@pytest.mark.parametrize("text", ["", "x y", "12", "1 2 3"])
def test_a_damaged_pid_file_names_no_process(tmp_path, text):
    (tmp_path / "pid").write_text(text)
    assert Process.read(tmp_path / "pid") is None


def test_a_daemon_dies_with_the_process_that_started_it(tmp_path):
    code = (
        "import sys,time; from pathlib import Path; from hack.cluster.processes import start\n"
        "child=[sys.executable,'-c','import time; time.sleep(60)']\n"
        "print(start('x',child,Path(sys.argv[1])/'log',die_with_us=True).pid,flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=os.getcwd())
    child = Process.of(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not child.runs():
            break
        subprocess.run(["sleep", "0.01"], check=True)
    assert not child.runs()


def test_a_daemon_that_does_not_exist_is_one_sentence(tmp_path):
    with pytest.raises(ToolError, match="nosuch cannot be started"):
        start("nosuch", [tmp_path / "none"], tmp_path / "log")


def test_mounts_below_a_folder_are_found_with_their_odd_names():
    table = "a /x tmpfs rw 0 0\nb /data/one tmpfs rw 0 0\nc /data/with\\040space tmpfs rw 0 0\nd /database tmpfs rw 0 0\n"
    assert mounts_below(Layout().data.parent.__class__("/data"), table) == ["/data/one", "/data/with space"]


def test_clusters_of_two_names_share_no_address_interface_or_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Layout, "data", property(lambda self: tmp_path / self.name))
    one, two = Layout("dedicated"), Layout("other")
    slots.claim(two)
    for name in ("data", "interface", "host_ip", "node_ip", "cgroup", "node_name"):
        assert getattr(one, name) != getattr(two, name)
    assert len(two.interface) <= 15


def test_a_failing_command_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(ToolError, match=r"(?s)exit code 3.*the reason"):
        run("failing", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"], log=tmp_path / "log")


def test_a_program_that_is_missing_is_named(tmp_path):
    with pytest.raises(ToolError, match="'nosuchprogram', which is not installed"):
        run("trying", ["nosuchprogram"], log=tmp_path / "log")


def test_a_foreign_context_needs_a_repository_that_it_can_pull_from(monkeypatch):
    monkeypatch.setenv("KUBE_CONTEXT", "somewhere")
    monkeypatch.delenv("IMAGE_REPOSITORY", raising=False)
    with pytest.raises(ToolError, match="KUBE_CONTEXT needs IMAGE_REPOSITORY"):
        context.kubeconfig()


def test_the_kubelet_is_configured_for_this_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(Layout, "data", tmp_path)
    plane = ControlPlane(
        tmp_path, "https://x", tmp_path / "k", tmp_path / "a", pki=type("P", (), {"ca": type("C", (), {"cert": tmp_path})})(), admin=None
    )
    found = configs.kubelet(Layout("dedicated"), plane)
    assert (found["clusterDNS"], found["cgroupRoot"], found["failSwapOn"]) == (["10.96.0.10"], "/dedicated-dedicated", False)
    assert yaml.safe_load(configs.CNI)["plugins"][0]["ipam"]["type"] == "host-local"


def test_an_image_archive_is_the_same_for_the_same_contents_and_names_its_image(tmp_path):
    for name in ("one", "two"):
        oci.write_layer(tmp_path / f"{name}.layer", {"program": b"x"}, {"bin": "usr/bin"})
        oci.write_archive(tmp_path / f"{name}.tar", "localhost/x:1", [tmp_path / f"{name}.layer"], entrypoint=["/program"])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        index = yaml.safe_load(tar.extractfile("index.json").read())
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/x:1"


def test_every_tool_has_a_pinned_version():
    assert {"KUBERNETES_VERSION", "ETCD_VERSION", "COREDNS_VERSION", "KWOK_VERSION", "HELM_VERSION", "DEBIAN_SUITE", "PIP_VERSION"} <= set(versions())


def test_without_root_one_sentence_says_what_to_use_instead(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ToolError, match=r"needs root.*KUBE_CONTEXT"):
        bare.up()


def test_a_missing_package_is_named_where_it_cannot_be_installed(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ToolError, match="These packages are missing: no-such-package-xyz"):
        apt_install("no-such-package-xyz")


def test_a_cluster_that_does_not_run_has_no_kubeconfig_to_print(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    monkeypatch.setattr(Layout, "data", tmp_path)
    with pytest.raises(ToolError, match="make cluster starts one"):
        context.kubeconfig()
