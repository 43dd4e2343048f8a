"""
An API server that fails in every way it can, while endpoints are made, changed and deleted: all of it converges, nothing is made twice, no status is
lost, and an operator that ends starts again clean.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.support.cluster import Kubectl, endpoint, wait_until
from tests.support.pods import OURS, children, make_ready
from tests.support.process import Operator
from tests.support.proxy import Proxy

ENDPOINT = "inference.dedicated.dev/endpoint"
TINY = {"model": {"huggingFace": {"repo": "acme/tiny"}}, "engine": {"kind": "llamacpp"}}
STEADY = {"DEDICATED_WATCH_SILENCE_SECONDS": "4", "DEDICATED_RESYNC_SECONDS": "5"}
"""Short periods, so that what the operator does about silence happens within a test."""


@dataclass
class Story:
    """Three endpoints: one that is up and grows, one that is deleted, and one that is made while the fault lasts."""

    kubectl: Kubectl
    operator: Operator
    proxy: Proxy

    def begin(self) -> None:
        """Before the fault: two endpoints, of which one is up."""
        self.operator.settings.update(STEADY)
        self.operator.start()
        self.kubectl.apply(endpoint("old", **TINY), endpoint("doomed"))
        for name in ("old", "doomed"):
            self.kubectl.wait(name, "building EngineStarting")
        wait_until("two pods", lambda: len(self.kubectl.all("pod", OURS)) == 2)
        make_ready(self.kubectl)
        self.before = self.kubectl.wait("old", "up AllReady")

    def change(self) -> None:
        """While the fault lasts: one is made, one grows, one goes."""
        self.kubectl.apply(endpoint("new", **TINY), endpoint("old", **TINY, replicas=2))
        self.kubectl.must("delete", "inferenceendpoint", "doomed", "--wait=false")

    def end(self, timeout_s: float = 60) -> None:
        """After it: everything is as if there had been none."""
        wait_until("the pods that are wanted and no other", self.has_its_pods, timeout_s, lambda: str(children(self.kubectl)))
        make_ready(self.kubectl)
        self.kubectl.wait("new", "up AllReady", timeout_s)
        wait_until("two ready replicas", lambda: self.kubectl.status("old").ready_replicas == 2, timeout_s)
        after = self.kubectl.wait("old", "up AllReady", timeout_s)
        assert (after.id, after.model, after.revisions) == (self.before.id, self.before.model, self.before.revisions)
        wait_until("the children that are wanted and no other", self.has_its_children, timeout_s, lambda: str(children(self.kubectl)))
        self.converged()
        assert self.has_its_children(), str(children(self.kubectl))

    def has_its_children(self) -> bool:
        """Each once. An operator that has not yet heard of a deletion may have made a child anew, which the garbage collector then takes away."""
        return {kind: len(names) for kind, names in children(self.kubectl).items()} == {
            "deployment": 2,
            "service": 4,
            "secret": 2,
            "poddisruptionbudget": 1,
            "pod": 3,
            "networkpolicy": 1,
        }

    def has_its_pods(self) -> bool:
        """One of the new endpoint, two of the one that grew; none of the one that was deleted, which the garbage collector may take its time for."""
        return sorted(pod["metadata"]["labels"][ENDPOINT] for pod in self.kubectl.all("pod", OURS)) == ["new", "old", "old"]

    def converged(self) -> None:
        """Nothing is written any more."""
        count = -1
        while count != len(self.proxy.writes):
            count = len(self.proxy.writes)
            time.sleep(1.0)
        wait_until("the operator to act", self.operator.acts, 30)


@pytest.fixture
def story(kubectl, operator, proxy):
    return Story(kubectl, operator, proxy)


@contextmanager
def repeated(times: int, every_s: float, do):
    """Do it at once, and again while the body runs."""
    import threading

    over = threading.Event()
    done = []

    def again() -> None:
        for _ in range(times):
            done.append(do())
            if over.wait(every_s):
                return

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    yield done
    thread.join()
    over.set()


def test_dropped_watches_lose_nothing(story):
    story.begin()
    with story.operator.supervised(), repeated(5, 0.5, story.proxy.drop_watches) as dropped:
        story.change()
    assert max(dropped) >= 8, "no watch was open to be dropped"
    story.end()
    assert story.operator.exits == []


def test_a_frozen_watch_is_opened_anew(story):
    story.begin()
    assert story.proxy.freeze_watches() >= 8
    story.change()
    story.end()


def test_a_watch_that_stays_silent_for_good_ends_the_operator_and_the_next_one_sees_everything(story):
    """Where even opening it anew does not help, the look at everything notices."""
    story.begin()
    with story.operator.supervised(), repeated(30, 0.5, story.proxy.freeze_watches):
        story.change()
    story.end()


def test_410_in_the_stream_is_a_new_list(story):
    story.begin()
    with story.operator.supervised():
        assert story.proxy.end_watches(410) >= 8
        story.change()
        story.end()
    assert story.operator.exits == []


def test_500_in_the_stream_ends_the_operator_and_the_next_start_is_clean(story):
    story.begin()
    with story.operator.supervised():
        assert story.proxy.end_watches(500) >= 8
        story.change()
        story.end()
    assert story.operator.exits in ([], [1])


def test_410_while_a_list_comes_in_pages_is_a_clean_start(story):
    story.begin()
    story.proxy.page_size = 1
    fault = story.proxy.answer(410, path="continue=", times=3)
    with story.operator.supervised():
        story.operator.kill()
        story.change()
        wait_until("the fault to be met", lambda: fault.shown == 3, 60)
        story.end()
    assert set(story.operator.exits) <= {-9, 1}


def test_what_is_deleted_while_no_watch_works_is_missed_by_the_next_look(story, kubectl):
    story.begin()
    story.proxy.watches_refused = True
    story.proxy.drop_watches()
    story.change()
    wait_until("the garbage collector", lambda: len(children(kubectl)["deployment"]) <= 2)
    story.proxy.watches_refused, story.proxy.versions_expired = False, True
    time.sleep(2)  # every watch meets the expired versions, some of them twice
    story.proxy.versions_expired = False
    with story.operator.supervised():
        story.end()


CHILDREN = "deployments|services|secrets|poddisruptionbudgets"
WRITES = [
    pytest.param(409, CHILDREN, {}, id="409 on children"),
    pytest.param(409, "/status", {}, id="409 on status"),
    pytest.param(422, CHILDREN, {}, id="422 on children"),
    pytest.param(422, "/status", {}, id="422 on status"),
    pytest.param(429, "", {"Retry-After": "1"}, id="429"),
    pytest.param(500, "", {}, id="500"),
    pytest.param(503, "", {}, id="503"),
]


@pytest.mark.parametrize(("status", "path", "headers"), WRITES)
@pytest.mark.parametrize("after", [False, True], ids=["refused", "its answer is lost"])
def test_refused_writes_are_made_good(story, status, path, headers, after):
    story.begin()
    fault = story.proxy.answer(
        status, method="PATCH|POST|PUT|DELETE", path=f"namespaces/{story.kubectl.namespace}/.*({path})", times=6, headers=headers, after=after
    )
    with story.operator.supervised():
        story.change()
        wait_until("the fault to be met", lambda: fault.shown >= 3, 60)
        story.proxy.heal()
        story.end()
    assert story.operator.exits == []


def test_reads_that_fail_end_in_a_clean_start(story):
    story.begin()
    fault = story.proxy.answer(500, method="GET", times=40)
    with story.operator.supervised():
        story.operator.kill()
        story.change()
        wait_until("the fault to be met", lambda: fault.shown >= 20, 60)
        story.proxy.heal()
        story.end()


def test_two_seconds_of_latency_only_take_longer(story):
    story.begin()
    story.proxy.latency_s = 2.0
    with story.operator.supervised():
        story.change()
        wait_until("the pods that are wanted and no other", story.has_its_pods, 60)
        make_ready(story.kubectl)
        story.kubectl.wait("new", "up AllReady", 60)
    assert story.operator.exits == []
    story.proxy.heal()
    story.end()
