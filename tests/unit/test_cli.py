"""The command line: exit codes, and one sentence instead of a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import yaml

from dedicated import __version__


def dedicated(*args, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "DEDICATED"))}
    return subprocess.run([sys.executable, "-m", "dedicated", *args], env={**clean, **env}, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def nowhere(tmp_path):
    """A kubeconfig of a cluster that nobody runs."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    return str(tmp_path / "kubeconfig")


def test_it_tells_its_version():
    assert dedicated("--version").stdout.strip() == __version__


def test_without_a_command_it_prints_help():
    assert "operator" in dedicated().stdout + dedicated().stderr


@pytest.mark.parametrize(
    ("env", "code", "says"),
    [
        ({"KUBECONFIG": "/nonexistent"}, 3, "the kubeconfig /nonexistent cannot be used"),
        ({"HOME": "/nonexistent"}, 3, "this is no pod, and the kubeconfig ~/.kube/config cannot be used"),
        ({"DEDICATED_PORT": "many"}, 2, "DEDICATED_PORT is 'many', which is not a number"),
    ],
    ids=["no such kubeconfig", "no cluster at all", "a setting that is no number"],
)
def test_an_operator_that_cannot_start_says_why_in_one_sentence(env, code, says):
    done = dedicated("operator", **env)
    assert done.returncode == code
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(nowhere):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = dedicated("operator", KUBECONFIG=nowhere, DEDICATED_PORT=port)
    assert done.returncode == 1
    assert f"Port {port} cannot be listened on" in done.stderr and "Traceback" not in done.stderr


def test_fetch_needs_to_know_what_and_where_to():
    assert dedicated("fetch", "--repo", "acme/tiny").returncode == 2


def test_a_gateway_without_the_key_of_engines_says_which_setting_names_it(nowhere):
    done = dedicated("gateway", KUBECONFIG=nowhere, DEDICATED_ENGINE_KEY_FILE="/nonexistent")
    assert done.returncode == 1 and "set DEDICATED_ENGINE_KEY_FILE" in done.stderr and "Traceback" not in done.stderr


def test_keys_of_a_cluster_that_cannot_be_reached_are_exit_code_3(nowhere):
    done = dedicated("keys", "list", KUBECONFIG=nowhere)
    assert done.returncode == 3 and "cannot be reached" in done.stderr and "Traceback" not in done.stderr
