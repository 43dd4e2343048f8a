"""make demo: a real cluster, dedicated in it, a real model that answers, and endpoints that fail and say why."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hack.cluster import context, tools
from hack.cluster.processes import free_port, wait_until
from hack.install import SYSTEM, Installation, install, sample, uninstall
from hack.tools import ToolError

NAMESPACE = "demo"
GOOD = "gemma"
BAD = ("typo", "wrong-image", "wrong-flag", "too-many-gpus")
QUESTION = "What is the capital of France?"
OWNER = "alice"
"""Who owns the samples' endpoints."""
UP_S = 180.0
KNOWN_S = 15.0
FAILED_S = 120.0


def main() -> int:
    """Run the demo, or clean it up."""
    parser = argparse.ArgumentParser(prog="python -m hack.demo")
    parser.add_argument("--clean", action="store_true", help="remove what the demo made")
    started = time.monotonic()
    try:
        if parser.parse_args().clean:
            clean()
            return 0
        found = install(("dedicated", "llamacpp", "demo-hub"), operator__placementSeconds=20)
        title(f"cluster and operator are ready after {time.monotonic() - started:.0f} s")
        show(found)
    except ToolError as failure:
        print(f"The demo stopped: {failure}", file=sys.stderr)
        return 1
    title(f"done in {time.monotonic() - started:.0f} s; look around with: export KUBECONFIG=$(make -s kubeconfig); clean up with: make clean-demo")
    return 0


def show(found: Installation) -> None:
    """The story: one endpoint comes up and answers, four fail."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    found.kubectl("apply", "-f", "-", given=json.dumps(manifest))
    title("kubectl apply -f crds/samples/gemma.yaml")
    print(sample(GOOD).read_text())
    found.kubectl("apply", f"--namespace={NAMESPACE}", f"--filename={sample(GOOD)}")
    follow(found, GOOD, {"up"}, UP_S)
    title(f"asking it, through the gateway, with an API key: {QUESTION}")
    print("".join(said(ask(found, GOOD, QUESTION))))
    title("endpoints that must fail")
    for name in BAD:
        found.kubectl("apply", f"--namespace={NAMESPACE}", f"--filename={sample(name)}")
    for name in BAD:
        follow(found, name, {"failed"}, FAILED_S)
        explain(status(found, name))
    print(found.kubectl("get", "inferenceendpoints", f"--namespace={NAMESPACE}"))


def title(text: str) -> None:
    """A line between the steps."""
    print(f"\n--- {text}\n", flush=True)


def said(pieces: Iterator[str]) -> Iterator[str]:
    """Print each piece as it comes."""
    for piece in pieces:
        print(piece, end="", flush=True)
    yield ""


def status(found: Installation, name: str) -> dict[str, object]:
    """An endpoint's status."""
    answer: dict[str, object] = json.loads(found.kubectl("get", "inferenceendpoint", name, f"--namespace={NAMESPACE}", "--output=json")).get(
        "status", {}
    )
    return answer


def follow(found: Installation, name: str, until: set[str], timeout_s: float) -> None:
    """Show phases and reasons as they change, until one of these phases is reached."""
    began, last = time.monotonic(), ""
    while True:
        now = status(found, name)
        conditions = now.get("conditions") or []
        assert isinstance(conditions, list)
        ready: dict[str, str] = next((condition for condition in conditions if condition["type"] == "Ready"), {})
        line = f"{now.get('phase', '-'):9} {ready.get('reason', '-')}"
        if line != last:
            print(f"  {time.monotonic() - began:5.1f} s  {name:14} {line}", flush=True)
            last = line
        if now.get("phase") in until:
            return
        if time.monotonic() - began > timeout_s:
            raise ToolError(f"{name} is {now.get('phase')} after {timeout_s:.0f} s: {ready.get('message')}")
        time.sleep(0.5)


def explain(now: dict[str, object]) -> None:
    """What a failed endpoint says of itself."""
    diagnosis = now.get("diagnosis")
    assert isinstance(diagnosis, dict)
    for label, key in (("reason", "reason"), ("what", "message"), ("next", "nextStep"), ("exit code", "exitCode"), ("log tail", "logTail")):
        if key in diagnosis:
            print(f"           {label:10} {diagnosis[key]}")
    print(f"           {'retried':10} {diagnosis.get('nextAttemptAt', 'when the spec changes')}\n", flush=True)


def key_of(found: Installation, owner: str) -> str:
    """A new API key of this owner, made as an admin makes one."""
    command = [sys.executable, "-m", "dedicated", "keys", "create", f"--owner={owner}", "--expires-in=1h", "--output=json"]
    env = {**os.environ, "KUBECONFIG": str(found.target.kubeconfig)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"No API key could be made: {done.stderr.strip()}")
    return str(json.loads(done.stdout)["key"])


def ask(found: Installation, name: str, question: str) -> Iterator[str]:
    """Ask through the gateway, with a key of the endpoint's owner; pieces of the answer as the stream brings them."""
    now, key = status(found, name), key_of(found, OWNER)
    # The model is a base model, not an instructed one: it goes on with a text, so the question is put as the beginning of one.
    prompt = f"Question: What is the largest planet?\nAnswer: The largest planet is Jupiter.\nQuestion: {question}\nAnswer:"
    body = {"model": now["id"], "prompt": prompt, "stream": True, "max_tokens": 60, "temperature": 0, "stop": ["\n"]}
    with forwarded(found, "service/dedicated-gateway", SYSTEM) as port:
        response = posted(port, f"/api/d/{now['id']}/v1/completions", key, body)
        for line in response:
            data = line.decode().removeprefix("data: ").strip()
            if data and data != "[DONE]":
                yield json.loads(data)["choices"][0].get("text") or ""


def posted(port: int, path: str, key: str, body: dict[str, object]) -> http.client.HTTPResponse:
    """The gateway's answer. It knows a new key, and a pod that has just come up, within a second or two."""
    deadline = time.monotonic() + KNOWN_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status == 200:
            return response
        said = response.read()[:300].decode(errors="replace")
        if time.monotonic() > deadline:
            raise ToolError(f"The gateway answered {response.status}: {said}")
        time.sleep(0.5)


@contextmanager
def forwarded(found: Installation, what: str, namespace: str = NAMESPACE) -> Iterator[int]:
    """A local port that leads to a Service's pod, by kubectl port-forward."""
    port = free_port()
    command = [str(tools.path("kubectl")), f"--kubeconfig={found.target.kubeconfig}", "port-forward", f"--namespace={namespace}", what, f"{port}:80"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout
        if b"Forwarding" not in process.stdout.readline():
            raise ToolError(f"port-forward to {what} did not start.")
        yield port
    finally:
        process.terminate()
        wait_until(lambda: process.poll() is not None, 5)


def clean() -> None:
    """Remove the demo's namespace, dedicated and the hub; the cluster stays."""
    found = Installation(context.Target(context.kubeconfig(), "dedicated", False))
    found.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout_s=180)
    uninstall(found)


if __name__ == "__main__":
    sys.exit(main())
