"""Before pods are removed: nothing new goes to them, and the gateway says so on the Lease, or that it is busy with them."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.gateway.conftest import ALICE, held, settle
from tests.support.cluster import wait_until
from tests.support.engine import serving_engine, streams_until
from tests.support.gateway import a_slice, an_endpoint

UP = "is-up"
_epochs = itertools.count(100)


def two_pods(world, second):
    """The endpoint has two pods; answers their names."""
    found = a_slice(an_endpoint(UP), world.engine.address, second.address, port=world.engine.port)
    world.api.put(found)
    settle(world)
    return [point["targetRef"]["name"] for point in found["endpoints"]]


def drains(world, *pods, reason="NoTraffic"):
    """The operator is about to remove pods; answers the epoch."""
    epoch = next(_epochs)
    world.becomes(UP, "up", drain={"epoch": epoch, "pods": list(pods), "reason": reason})
    return epoch


def says(world, words, gateway="gateway-0", timeout_s=10):
    """Wait until this is everything that a gateway said."""
    wait_until(f"{gateway} to say {words}", lambda: world.written(f"ack-{gateway}") == words, timeout_s, lambda: str(world.api.writes), every_s=0.02)


def only_pod(world):
    """Name of the endpoint's one pod."""
    return a_slice(an_endpoint(UP), world.engine.address, port=1)["endpoints"][0]["targetRef"]["name"]


def test_a_drain_is_acknowledged_and_nothing_new_goes_there(world):
    with serving_engine("127.0.0.3", world.engine.port) as second:
        _, goes = two_pods(world, second)
        epoch = drains(world, goes, reason="Updating")
        says(world, [str(epoch)])
        assert [world.gateway.chat(world.ids["up"], ALICE).status for _ in range(10)] == [200] * 10
        assert len(world.engine.received) == 10 and not second.received
        drains(world)
        wait_until("both to answer", lambda: world.gateway.chat(world.ids["up"], ALICE).status == 200 and bool(second.received), 5, every_s=0.02)
        assert world.written("ack-") == [str(epoch)]


def test_an_open_stream_vetoes_until_it_ends_and_both_are_said_once(world):
    ends = threading.Event()
    world.engine.behave = streams_until(ends)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(world.gateway.chat, world.ids["up"], ALICE)
        wait_until("the stream to begin", lambda: bool(world.engine.received), 5, every_s=0.01)
        world.api.writes.clear()
        epoch = drains(world, only_pod(world))
        says(world, ["busy"])
        ends.set()
        assert stream.result().status == 200
    says(world, ["busy", str(epoch)])


def test_a_call_that_comes_while_its_endpoint_is_put_to_sleep_keeps_it_awake(world):
    epoch = drains(world, only_pod(world))
    says(world, [str(epoch)])
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert (reply.status, reply.headers["retry-after"]) == (503, "2") and "kept awake" in reply.error
    with ThreadPoolExecutor(1) as pool:
        body = b'{"model": "%s"}' % world.ids["up"].encode()
        call = pool.submit(world.gateway.call, "POST", "/v1/x", body, ALICE, 20, Prefer="wait=10")
        held(world.gateway, 1)
        wait_until("the wake", lambda: world.written("wake") == [str(epoch)], 5, every_s=0.02)
        assert not world.engine.received
        drains(world)  # the operator takes it back
        reply = call.result()
    assert reply.status == 200 and "x-cold-start" not in reply.headers and float(reply.headers["x-wake-seconds"]) < 10


def test_a_gateway_that_starts_during_a_drain_routes_nothing_there_and_speaks_when_it_knows(world, own):
    """It has a stream from before its restart: nothing of it is known until Envoy has told."""
    ends = threading.Event()
    world.engine.behave = streams_until(ends)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(own.chat, world.ids["up"], ALICE)
        wait_until("the stream to begin", lambda: bool(world.engine.received), 5, every_s=0.01)
        own.kill_decisions()
        world.api.writes.clear()
        epoch = drains(world, only_pod(world))
        own.start_decisions()
        assert own.chat(world.ids["up"], ALICE).status == 503
        assert world.written("ack-gateway-1") == []
        says(world, ["busy"], "gateway-1", 15)
        ends.set()
        assert stream.result().status == 200
        says(world, ["busy", str(epoch)], "gateway-1")
    assert len(world.engine.received) == 1
