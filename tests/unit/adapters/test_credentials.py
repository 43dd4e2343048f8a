"""Where the API server is and who we are, in a pod and by a kubeconfig."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from dedicated.adapters import credentials
from dedicated.adapters.credentials import find, of_pod
from dedicated.api.errors import ApiUnavailable
from dedicated.controller.handlers import connection
from tests.support.process import kubeconfig_for

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """The environment of a pod, and its folder."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    return {"DEDICATED_SERVICE_ACCOUNT_DIR": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_a_pod_has_the_address_the_authority_and_the_token_that_are_mounted(pod, tmp_path):
    found = of_pod(pod)
    assert (found.host, found.ca_file, found.authorization()) == ("https://10.96.0.1:443", str(tmp_path / "ca.crt"), "Bearer first")
    assert of_pod({**pod, "KUBERNETES_SERVICE_HOST": "fd00::1"}).host == "https://[fd00::1]:443"


def test_a_new_token_is_read_within_a_minute_and_one_that_is_gone_for_a_moment_is_kept(pod, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now[0])
    found = of_pod(pod)
    assert found.authorization() == "Bearer first"
    (tmp_path / "token").write_text("second")
    assert found.authorization() == "Bearer first"
    now[0] += credentials.TOKEN_S
    assert found.authorization() == "Bearer second"
    (tmp_path / "token").unlink()
    now[0] += credentials.TOKEN_S
    assert found.authorization() == "Bearer second"


@pytest.mark.parametrize("missing", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "token"])
def test_what_lacks_one_of_the_three_is_no_pod(pod, tmp_path, missing):
    (tmp_path / "token").unlink() if missing == "token" else pod.pop(missing)
    assert of_pod(pod) is None


@pytest.mark.parametrize(
    ("named", "environment", "asks"),
    [
        ("file", {}, "file"),
        (None, {"HTTP_PROXY": "env"}, "env"),
        ("file", {"HTTP_PROXY": "env"}, "file"),
        (None, {"HTTP_PROXY": "env", "NO_PROXY": "api.test"}, None),
    ],
    ids=["of the kubeconfig", "of the environment", "the kubeconfig counts before the environment", "the environment leaves the host out"],
)
def test_the_proxy_that_is_named_is_used(tmp_path, monkeypatch, named, environment, asks):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value if name == "NO_PROXY" else f"http://{value}.test:3128")
    path = kubeconfig_for("http://api.test", tmp_path / "kubeconfig")
    config = yaml.safe_load(path.read_text())
    config["clusters"][0]["cluster"] |= {"proxy-url": f"http://{named}.test:3128"} if named else {}
    path.write_text(yaml.safe_dump(config))
    assert find(str(path)).proxy == (f"http://{asks}.test:3128" if asks else None)


PLUGIN = """#!/bin/sh
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "of-a-plugin"}}'
"""


def test_a_kubeconfig_may_name_a_plugin_that_hands_out_tokens_and_kopf_uses_the_same(tmp_path):
    (tmp_path / "plugin").write_text(PLUGIN)
    (tmp_path / "plugin").chmod(0o755)
    path = kubeconfig_for("https://api.test:6443", tmp_path / "kubeconfig")
    config = yaml.safe_load(path.read_text())
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(tmp_path / "plugin"), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": exec_}
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    path.write_text(yaml.safe_dump(config))
    found = find(str(path))
    assert found.authorization() == "Bearer of-a-plugin" and not found.verify
    told = connection(found)
    assert (told.server, told.scheme, told.token, told.insecure) == ("https://api.test:6443", "Bearer", "of-a-plugin", True)


def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(ApiUnavailable, match=r"the kubeconfig /nonexistent cannot be used"):
        find("/nonexistent")


def test_in_a_pod_the_models_of_the_official_client_are_not_loaded():
    """They would double what operator and gateway take."""
    code = (
        "import sys, dedicated.controller.process, dedicated.gateway.process; print([name for name in sys.modules if name.startswith('kubernetes')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    after = "import dedicated.controller.process, kubernetes.client; print(kubernetes.client.V1Pod.__name__)"
    assert subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True).stdout == "V1Pod\n"
