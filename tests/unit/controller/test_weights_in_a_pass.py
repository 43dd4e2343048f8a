"""What passes do about the weights' cache: count each fetch once, and start only where its keys are there."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import SECRET
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.s3 import S3Location
from dedicated.controller.process import CannotStart, _weights_credentials
from dedicated.diagnosis.evidence import ContainerFacts
from dedicated.settings import from_environment
from dedicated.telemetry import metrics
from dedicated.weights.fetched import Fetched, Tier
from tests.support.builders import LIMITS, NOW, PLATFORM, a_pod, an_observation, ended
from tests.support.cluster import endpoint
from tests.support.fake_kube import FakeKube


def fetched_by(name, sources):
    message = Fetched(Tier.S3, 10, 1.0, sources, True).encoded()
    return replace(a_pod(containers=(ContainerFacts("fetch", init=True, terminated=ended(0, message=message)),)), name=name)


def counted(source):
    return metrics.WEIGHTS_FETCHED_BYTES.labels(source)._value.get()


def test_the_bytes_of_each_pod_count_once_by_where_they_came_from():
    store = Store()
    clients = Clients(FakeKube(store), None, store, PLATFORM, b"", LIMITS, InventoryReader(store))
    manifest = endpoint("one")
    manifest["metadata"] |= {"namespace": "team-a", "uid": "u"}
    world, before = EndpointWorld(clients, manifest), (counted("s3"), counted("hub"))
    one, two = fetched_by("one", {"s3": 700, "hub": 50}), fetched_by("two", {"s3": 300})
    for pods in ((one,), (one, two), (one, two), (two,)):
        world._count_fetches(an_observation(pods=pods))
    assert (counted("s3") - before[0], counted("hub") - before[1]) == (1000, 50)
    store.counted_fetches.clear()
    store.watching_since = NOW + 60
    world._count_fetches(an_observation(pods=(one,)))
    assert counted("s3") - before[0] == 1000, "it was counted by the operator before this one"


CACHED = {"DEDICATED_S3_BUCKET": "weights", "DEDICATED_S3_SECRET": "weights-s3"}


def installation(env, data=None):
    kube = FakeKube(Store())
    if data is not None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        kube.put(SECRET, {"metadata": {"name": "weights-s3", "namespace": "dedicated-system"}, "data": encoded})
    return kube, from_environment(env)


async def test_the_keys_of_the_cache_are_read_and_nothing_else_of_their_secret():
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "note": "c"}
    assert dict(await _weights_credentials(*installation(CACHED, keys))) == {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert await _weights_credentials(*installation({"DEDICATED_S3_BUCKET": "weights"}, keys)) == ()
    assert await _weights_credentials(*installation({"DEDICATED_S3_SECRET": "weights-s3"}, keys)) == ()


@pytest.mark.parametrize("data", [None, {"AWS_ACCESS_KEY_ID": "a"}], ids=["no Secret", "half of the keys"])
async def test_without_the_keys_the_operator_says_what_is_missing_and_does_not_start(data):
    with pytest.raises(CannotStart, match="weights-s3 in dedicated-system"):
        await _weights_credentials(*installation(CACHED, data))


def test_the_bucket_is_a_setting():
    found = from_environment({**CACHED, "DEDICATED_S3_ENDPOINT": "http://s3", "DEDICATED_S3_PATH_STYLE": "true"})
    assert found.platform.weights == S3Location("weights", endpoint="http://s3", path_style=True) and found.weights_secret == "weights-s3"
