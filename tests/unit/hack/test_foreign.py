"""Somebody's cluster: nothing is done to one that is not on this machine before a person, or YES=1, allowed it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hack.cluster import context, foreign
from hack.cluster.layout import Layout
from hack.tools import ToolError

AFAR = "https://prod.example:6443"


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    """Writes a kubeconfig of contexts and servers, and answers for kubectl, which is not built for unit tests."""
    file = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("DEDICATED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("IMAGE_REPOSITORY", "registry.example/dedicated")
    monkeypatch.delenv("YES", raising=False)
    monkeypatch.setattr(foreign, "agreed", set())
    monkeypatch.setattr(foreign, "_bare_servers", set)
    calls: list[str] = []
    unreachable: list[str] = []

    def kubectl(*args: str) -> tuple[bool, str]:
        calls.append(" ".join(args))
        if "--raw=/version" in args:
            return (False, unreachable[0]) if unreachable else (True, "{}")
        found = yaml.safe_load(file.read_text())
        for arg in args:
            if arg.startswith("--context="):
                name = arg.removeprefix("--context=")
                found = {key: [entry for entry in found[key] if entry["name"] == name] for key in found}
        return True, yaml.safe_dump(found)

    def write(**servers: str) -> list[str]:
        contexts = [{"name": name, "context": {"cluster": name, "user": name}} for name in servers]
        clusters = [{"name": name, "cluster": {"server": server}} for name, server in servers.items()]
        file.write_text(yaml.safe_dump({"contexts": contexts, "clusters": clusters}))
        return calls

    monkeypatch.setattr(foreign, "_kubectl", kubectl)
    write.unreachable = unreachable  # type: ignore[attr-defined]
    return write


def nobody(question: str) -> str | None:
    return None


def never(question: str) -> str | None:
    raise AssertionError(f"asked: {question}")


def test_a_cluster_elsewhere_is_used_after_a_yes_to_a_question_that_names_it_and_what_will_be_done(kubeconfig):
    calls = kubeconfig(prod=AFAR, other="https://127.0.0.1")
    asked = []
    path = foreign.use("prod", lambda question: asked.append(question) or "yes")
    (question,) = asked
    for part in ("Context prod", AFAR, "dedicated-crds", "dedicated-system", "dedicated-hub", "deletes InferenceEndpoints", "story-*", "'yes'"):
        assert part in question
    assert [entry["name"] for entry in yaml.safe_load(path.read_text())["contexts"]] == ["prod"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert calls[-1] == f"--kubeconfig={path} get --raw=/version --request-timeout=10s"


def test_the_same_process_asks_once(kubeconfig):
    kubeconfig(prod=AFAR)
    foreign.use("prod", lambda _: "yes")
    foreign.use("prod", never)


@pytest.mark.parametrize("answer", ["", "y", "Yes", "no", "yes please"])
def test_any_other_answer_than_yes_stops_before_the_cluster_is_touched(kubeconfig, answer):
    calls = kubeconfig(prod=AFAR)
    with pytest.raises(ToolError, match=r"Nothing was done to context prod, server https://prod\.example:6443"):
        foreign.use("prod", lambda _: answer)
    assert not [call for call in calls if "--raw=/version" in call]


def test_without_a_terminal_a_sentence_says_to_set_yes(kubeconfig):
    calls = kubeconfig(prod=AFAR)
    with pytest.raises(ToolError, match=r"no terminal to ask on; .*: set YES=1"):
        foreign.use("prod", nobody)
    assert not [call for call in calls if "--raw=/version" in call]


def test_yes_in_the_environment_goes_on_without_a_question(kubeconfig, monkeypatch):
    calls = kubeconfig(prod=AFAR)
    monkeypatch.setenv("YES", "1")
    foreign.use("prod", never)
    assert "--raw=/version" in calls[-1]


@pytest.mark.parametrize("value", ["", "0", "yes", "true"])
def test_only_1_is_a_yes_in_the_environment(kubeconfig, monkeypatch, value):
    kubeconfig(prod=AFAR)
    monkeypatch.setenv("YES", value)
    with pytest.raises(ToolError, match="set YES=1"):
        foreign.use("prod", nobody)


@pytest.mark.parametrize(
    ("name", "server", "local"),
    [
        ("any", "https://127.0.0.1:6443", True),
        ("any", "https://127.8.9.1:6443", True),
        ("any", "https://[::1]:6443", True),
        ("any", "https://localhost:6443", True),
        ("kind-x", "https://127.0.0.1:40001", True),
        ("minikube", "https://192.168.49.2:8443", True),
        ("k3d-x", "https://0.0.0.0:6550", True),
        ("docker-desktop", "https://10.0.0.1:6443", True),
        ("any", "https://192.168.49.2:8443", False),
        ("any", "https://10.0.0.1:6443", False),
        ("any", "https://198.18.0.2:6443", False),
        ("any", AFAR, False),
        ("minikube", "https://8.8.8.8:8443", False),
        ("kind-x", "https://localhost.invalid:6443", False),
        ("my-kind-x", "https://192.168.49.2:8443", False),
        ("any", "https://localhost.evil.example:6443", False),
        ("any", "nonsense", False),
    ],
)
def test_a_cluster_is_local_by_its_address_or_by_its_makers_name_and_a_private_address(monkeypatch, name, server, local):
    monkeypatch.setattr(foreign, "_bare_servers", set)
    monkeypatch.setattr("socket.getaddrinfo", no_names)
    assert foreign.is_local(name, server) is local


def no_names(host, port):
    """Resolves addresses only."""
    if not host.replace(".", "").isdigit():
        raise OSError("no such host")
    return [(0, 0, 0, "", (host, 0))]


def test_a_bare_cluster_of_ours_is_local(tmp_path, monkeypatch):
    file = tmp_path / "one" / "control" / "kubeconfig"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump({"clusters": [{"cluster": {"server": "https://198.18.0.2:6443"}}]}))
    monkeypatch.setattr(Layout, "data", tmp_path / "one")
    assert foreign.is_local("any", "https://198.18.0.2:6443")
    assert not foreign.is_local("any", "https://198.18.0.3:6443")


def test_a_local_cluster_is_used_without_a_question(kubeconfig):
    kubeconfig(here="https://127.0.0.1:1")
    assert foreign.use("here", never).exists()


def test_a_missing_kubeconfig_is_one_sentence(kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/no/config")
    with pytest.raises(ToolError, match=r"^KUBE_CONTEXT=prod needs a kubeconfig, and there is no /no/config: set KUBECONFIG\.$"):
        foreign.use("prod", never)


def test_without_a_kubeconfig_named_the_one_of_the_person_is_meant(kubeconfig, monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ToolError, match=r"there is no .*/home/\.kube/config"):
        foreign.use("prod", never)


def test_a_context_that_is_not_in_the_kubeconfig_is_one_sentence_with_those_that_are(kubeconfig):
    kubeconfig(one=AFAR, two=AFAR)
    with pytest.raises(ToolError, match=r"^KUBE_CONTEXT=prod is not in the kubeconfig, which has one, two: name one of them\.$"):
        foreign.use("prod", never)


def test_a_server_that_does_not_answer_is_one_sentence(kubeconfig):
    kubeconfig(here="https://127.0.0.1:1")
    kubeconfig.unreachable.append("E1 memcache\nThe connection was refused")
    with pytest.raises(
        ToolError, match=r"^Context here cannot be reached at https://127\.0\.0\.1:1 \(The connection was refused\): is the cluster up"
    ):
        foreign.use("here", never)


def test_a_missing_repository_is_one_sentence(kubeconfig, monkeypatch):
    kubeconfig(prod=AFAR)
    monkeypatch.delenv("IMAGE_REPOSITORY")
    with pytest.raises(ToolError, match=r"^KUBE_CONTEXT needs IMAGE_REPOSITORY too"):
        foreign.use("prod", never)


def test_a_cluster_of_somebody_is_a_target_that_gets_no_archives(kubeconfig, monkeypatch):
    kubeconfig(here="https://127.0.0.1:1")
    monkeypatch.setenv("KUBE_CONTEXT", "here")
    target = context.up()
    assert (target.name, target.foreign, target.provider) == ("here", True, "foreign")
    assert context.kubeconfig() == target.kubeconfig
    target.load([Path("/no/such.tar")])


# the terminal itself


def on_a_terminal(code: str, typed: bytes) -> tuple[int, str]:
    """Run Python on a terminal of its own, type there, and answer its exit code and what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    shown = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        shown += part
        if b"Go on?" in shown and typed:
            os.write(terminal, typed)
            typed = b""
        if not part:
            break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize(("typed", "code"), [(b"yes\n", 0), (b"no\n", 1), (b"\x04", 1)], ids=["yes", "no", "end of input"])
def test_the_question_is_asked_on_the_terminal_even_where_standard_input_is_another(typed, code):
    script = (
        "import os, sys; sys.stdin.close(); os.close(0); os.open('/dev/null', os.O_RDONLY)\n"
        "from hack.cluster import foreign; from hack.tools import ToolError\n"
        "try:\n    foreign.confirm('prod', 'https://prod.example', foreign.ask_on_terminal)\n"
        "except ToolError as failure:\n    print(failure); sys.exit(1)\n"
        "print('went on')"
    )
    ended, shown = on_a_terminal(script, typed)
    assert "Context prod, server https://prod.example" in shown
    assert ended == code
    assert ("went on" in shown) is (code == 0)


def test_a_process_without_a_terminal_has_nobody_to_ask():
    code = "from hack.cluster import foreign; print(foreign.ask_on_terminal('x'))"
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
