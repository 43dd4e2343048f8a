"""Weights once: the first start fills the cache from the hub, later ones come from S3, with the hub down and with a damaged cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dedicated.api.conditions import find
from dedicated.api.s3 import KEY_ID, SECRET_KEY
from hack import s3
from hack.demo import forwarded
from hack.images import build as images
from hack.install import HUB, SYSTEM, upgrade
from tests.support.cluster import Kubectl, endpoint, sample, wait_until
from tests.support.pods import pods

FILE = "gemma-3-270m-q4_k_m.gguf"
SIZE = "241.6 MiB"
"""Of the demo's model and the texts beside it."""


@pytest.fixture(scope="module")
def bucket(installation, chart_settings):
    """A real S3 server in the cluster, and dedicated told to cache weights there. Answers a local port that leads to it."""
    built = images.build(["s3"])
    installation.target.load(image.archive for image in built)
    for name in (s3.NAMESPACE,):
        installation.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    installation.kubectl("apply", "-f", "-", given=json.dumps(s3.objects(built[0].reference)))
    installation.kubectl("rollout", "status", "deployment/s3", f"--namespace={s3.NAMESPACE}", "--timeout=120s", timeout_s=130)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "weights-s3", "namespace": SYSTEM}}
    installation.kubectl("apply", "-f", "-", given=json.dumps({**secret, "stringData": {KEY_ID: s3.KEY, SECRET_KEY: s3.SECRET}}))
    with forwarded(installation, "service/s3", s3.NAMESPACE) as port:
        wait_until("the bucket", lambda: s3.make_bucket(f"http://127.0.0.1:{port}"), 60)
        peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": s3.NAMESPACE}}}
        given = {"bucket": s3.BUCKET, "endpoint": s3.ENDPOINT, "pathStyle": True, "credentialsSecretRef": {"name": "weights-s3"}}
        upgrade(installation, **chart_settings, weights__s3=given, **{"isolation__extraEgress[1]": peer})
        yield port
    upgrade(installation, **chart_settings)
    installation.kubectl("delete", "secret", "weights-s3", f"--namespace={SYSTEM}")
    installation.kubectl("delete", "namespace", s3.NAMESPACE, "--wait=false")


@pytest.fixture
def no_hub(installation):
    """Take the hub away; it is back after the test."""

    def away():
        installation.kubectl("scale", "deployment/hub", "--replicas=0", f"--namespace={HUB}")
        hub = Kubectl(installation.target.kubeconfig, HUB)
        wait_until("the hub to go", lambda: not hub.all("pod"), 60)

    yield away
    installation.kubectl("scale", "deployment/hub", "--replicas=1", f"--namespace={HUB}")
    installation.kubectl("rollout", "status", "deployment/hub", f"--namespace={HUB}", "--timeout=60s")


def cache(port: int, *args: str) -> str:
    """`dedicated cache`, on the bucket by way of the local port."""
    said = {"BUCKET": s3.BUCKET, "ENDPOINT": f"http://127.0.0.1:{port}", "PATH_STYLE": "true"}
    env = {**os.environ, **{f"DEDICATED_S3_{name}": value for name, value in said.items()}, KEY_ID: s3.KEY, SECRET_KEY: s3.SECRET}
    done = subprocess.run([sys.executable, "-m", "dedicated", "cache", *args], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def gemma(**spec):
    """The stub engine with the demo's real weights: their bytes count here, not what an engine makes of them."""
    return endpoint("one", model=sample("gemma")["spec"]["model"], **spec)


def cached(kubectl):
    """What the status says of the cache, and of its last fetch."""
    found = find(kubectl.status("one").conditions, "WeightsCached")
    return found and (found.status, found.reason, found.message)


def restarted(kubectl, **spec):
    """Stop the endpoint and start it again; answers what the status says of the cache then."""
    kubectl.apply(gemma(suspend=True, **spec))
    kubectl.wait("one", "paused")
    wait_until("the pods to go", lambda: not pods(kubectl))
    kubectl.apply(gemma(suspend=False, **spec))
    kubectl.wait("one", "up", 120)
    return cached(kubectl)


def test_the_first_start_fills_the_cache_and_the_next_comes_from_it_with_the_hub_down(kubectl, stub, bucket, no_hub):
    kubectl.apply(gemma(engine=stub()))
    kubectl.wait("one", "up", 180)
    first = cached(kubectl)
    assert first[:2] == ("True", "AllReady") and f"{SIZE} came from hub" in first[2]
    (entry,) = json.loads(cache(bucket, "ls", "-o", "json"))
    assert entry["scope"] == "public" and entry["bytes"] > 253_000_000
    assert "0 problems" in cache(bucket, "verify", "--deep")
    no_hub()
    second = restarted(kubectl, engine=stub())
    assert second[:2] == ("True", "AllReady") and f"{SIZE} came from s3" in second[2]
    print(f"\n{first[2]}\n{second[2]}")


def test_a_pod_has_the_keys_of_the_cache_only_where_it_fetches(kubectl, stub, bucket):
    kubectl.apply(gemma(engine=stub()))
    kubectl.wait("one", "up", 180)
    (pod,) = pods(kubectl)
    fetch, engine = pod["spec"]["initContainers"][0], pod["spec"]["containers"][0]
    assert SECRET_KEY in json.dumps(fetch) and s3.SECRET not in json.dumps(pod)
    assert "AWS_" not in json.dumps(engine) and "DEDICATED_S3" not in json.dumps(engine)


def test_a_flipped_bit_is_found_told_and_put_right(kubectl, stub, bucket):
    kubectl.apply(gemma(engine=stub()))
    kubectl.wait("one", "up", 180)
    flip_a_bit(bucket)
    status, reason, message = restarted(kubectl, engine=stub())
    assert (status, reason) == ("True", "CacheCorrupt") and FILE in message
    wait_until("the event", lambda: "CacheCorrupt" in kubectl.must("get", "events"))
    assert "0 problems" in cache(bucket, "verify", "--deep")
    assert restarted(kubectl, engine=stub())[1] == "AllReady"


def flip_a_bit(port: int) -> None:
    """Of the largest blob in the bucket."""
    from dedicated.adapters.object_store import ObjectStore
    from dedicated.api.s3 import S3Location

    store = ObjectStore(S3Location(s3.BUCKET, endpoint=f"http://127.0.0.1:{port}", path_style=True), {KEY_ID: s3.KEY, SECRET_KEY: s3.SECRET})
    blob = max((found for found in store.list("v1/public/blobs/")), key=lambda found: found.size)
    body = store._s3.get_object(Bucket=s3.BUCKET, Key=blob.key)["Body"].read()
    changed = bytearray(body)
    changed[len(changed) // 2] ^= 1
    store.put(blob.key, bytes(changed))


def test_the_daily_collection_runs_in_the_cluster(installation, bucket):
    system = Kubectl(installation.target.kubeconfig, SYSTEM)
    system.run("delete", "job", "collect-now", "--ignore-not-found")
    system.must("create", "job", "collect-now", "--from=cronjob/dedicated-weights-collect")
    wait_until("the collection", lambda: (system.get("job", "collect-now").get("status") or {}).get("succeeded") == 1, 60)
    assert "0 blobs (0 B) removed" in system.must("logs", "job/collect-now")
    system.must("delete", "job", "collect-now")
