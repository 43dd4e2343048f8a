"""What an engine pod can reach, and who can reach it, where the cluster's network enforces NetworkPolicies."""

from __future__ import annotations

import pytest

from dedicated.render.isolation import namespace_labels
from tests.support.cluster import Kubectl, Manifest, endpoint, wait_until
from tests.support.pods import pods

ANSWERS, REFUSED = "answers", "no answer"


@pytest.fixture
def enforced(installation):
    """Skips, with the reason, where the network is known to ignore policies."""
    if installation.target.ignores_policies:
        pytest.skip(installation.target.ignores_policies)
    return installation


def caller(name: str, image: str, labels: dict[str, str], *targets: tuple[str, int]) -> Manifest:
    """A pod that tries to connect to each target again and again, and prints of each round what it found."""
    code = (
        "import socket, sys, time\n"
        "def found(host, port):\n"
        "    try:\n"
        "        socket.create_connection((host, int(port)), 2).close()\n"
        f"        return '{ANSWERS}'\n"
        "    except OSError:\n"
        f"        return '{REFUSED}'\n"
        "while True:\n"
        "    print(*(f'{t}={found(*t.rsplit(\":\", 1))}' for t in sys.argv[1:]), sep=', ', flush=True)\n"
        "    time.sleep(1)\n"
    )
    locked = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": locked}
    container |= {"command": ["python3", "-c", code, *(f"{host}:{port}" for host, port in targets)]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def says(kubectl: Kubectl, name: str) -> str:
    """What a caller found in its last round."""
    return kubectl.run("logs", name, "--tail=1").stdout.strip()


@pytest.fixture
def elsewhere(kubectl):
    """Another tenant's namespace."""
    found = Kubectl(kubectl.kubeconfig, f"{kubectl.namespace}-b")
    found.must("create", "namespace", found.namespace)
    yield found
    found.must("delete", "namespace", found.namespace, "--wait=false")


def api_server(kubectl: Kubectl) -> tuple[str, int]:
    service = Kubectl(kubectl.kubeconfig).get("service", "kubernetes")
    return service["spec"]["clusterIP"], 443


def test_the_callers_themselves_can_see_a_connection(kubectl, stub, installation):
    """Runs everywhere: what the next test sees refused is answered where no policy selects the caller."""
    kubectl.apply(endpoint("one", engine=stub()))
    kubectl.wait("one", "up")
    (engine,) = pods(kubectl)
    targets = (engine["status"]["podIP"], 8000), api_server(kubectl)
    kubectl.apply(caller("free", installation.references["dedicated"], {}, *targets))
    wait_until("both to answer", lambda: says(kubectl, "free").count(ANSWERS) == 2, 30, lambda: says(kubectl, "free"))


def test_an_engine_cannot_reach_the_api_server_nor_be_reached_from_another_namespace(kubectl, stub, enforced, elsewhere):
    kubectl.apply(endpoint("one", engine=stub()))
    kubectl.wait("one", "up")
    (engine,) = pods(kubectl)
    target, image = (engine["status"]["podIP"], 8000), enforced.references["dedicated"]
    kubectl.apply(caller("as-engine", image, namespace_labels(), target, api_server(kubectl), ("169.254.169.254", 80)))
    elsewhere.apply(caller("stranger", image, {}, target, api_server(kubectl)))
    wait_until("the stranger to be kept out", lambda: says(elsewhere, "stranger").split(", ")[0].endswith(REFUSED), 60)
    assert says(elsewhere, "stranger").endswith(ANSWERS), "it reaches the API server, so its network works"
    wait_until("the engine's own network", lambda: says(kubectl, "as-engine").count("=") == 3, 60)
    assert says(kubectl, "as-engine").count(REFUSED) == 3
