"""What a watch event wakes: the endpoint that owns it, those that refer to it, and nobody else."""

from __future__ import annotations

import pytest

from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, NODE, POD, REPLICA_SET, SECRET, SERVICE_ACCOUNT
from dedicated.adapters.store import Store
from dedicated.api.names import LABEL_ENDPOINT_ID, endpoint_id
from dedicated.controller.feed import Feed, grew

BORN = "2026-01-01T00:00:00Z"


def obj(name, uid, *, namespace="team-a", labels=None, owner=None, version="1", **more):
    refs = [{"uid": owner}] if owner else []
    meta = {"name": name, "uid": uid, "namespace": namespace, "labels": labels or {}, "ownerReferences": refs, "resourceVersion": version}
    return {"metadata": {**meta, "creationTimestamp": BORN}, **more}


def an_endpoint(uid="e1", **more):
    return obj("llama", uid, spec=more.pop("spec", {}), **more)


def node(gpus="1", **spec):
    return {
        "metadata": {"name": "n", "uid": "n", "resourceVersion": "1", "creationTimestamp": BORN},
        "spec": spec,
        "status": {"allocatable": {"nvidia.com/gpu": gpus}},
    }


@pytest.fixture
def feed():
    woken: list[str] = []
    found = Feed(Store(), woken.append, lambda: 1000.0)
    found.woken = woken
    found.live = True
    return found


def ours(uid="e1"):
    return {LABEL_ENDPOINT_ID: endpoint_id(uid)}


def test_an_endpoint_wakes_itself(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint())
    assert feed.woken == ["e1"]


def test_an_older_version_of_an_object_is_not_taken_and_wakes_nobody(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint(version="5"))
    feed.seen(ENDPOINT, "MODIFIED", an_endpoint(version="4"))
    assert feed.woken == ["e1"]


def test_a_child_wakes_its_endpoint_when_it_changes_and_when_it_goes(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint())
    child = obj("d", "d1", labels=ours(), owner="e1")
    feed.seen(DEPLOYMENT, "MODIFIED", child)
    feed.seen(DEPLOYMENT, "DELETED", child)
    assert feed.woken == ["e1", "e1", "e1"]


@pytest.mark.parametrize(("first", "second", "woken"), [("pod", "set", 3), ("set", "pod", 2)])
def test_a_pod_wakes_its_endpoint_once_it_is_known_whose_it_is(feed, first, second, woken):
    """The two come by watches of their own, in any order; a ReplicaSet alone tells nothing."""
    feed.seen(ENDPOINT, "ADDED", an_endpoint())
    told = {"pod": (POD, obj("p", "p1", labels=ours(), owner="r1")), "set": (REPLICA_SET, obj("r", "r1", labels=ours(), owner="e1"))}
    for which in (first, second):
        feed.seen(told[which][0], "ADDED", told[which][1])
    feed.seen(REPLICA_SET, "MODIFIED", {**told["set"][1], "metadata": {**told["set"][1]["metadata"], "resourceVersion": "2"}})
    assert feed.woken == ["e1"] * woken


@pytest.mark.parametrize("model", [{"tokenSecretRef": {"name": "hub-token"}}, {"s3": {"credentialsSecretRef": {"name": "hub-token"}}}])
def test_a_secret_of_the_model_wakes_those_that_name_it_in_its_namespace(feed, model):
    spec = {"model": model}
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e1", spec=spec))
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e2"))
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e3", spec=spec, namespace="team-b"))
    feed.woken.clear()
    feed.seen(SECRET, "MODIFIED", obj("hub-token", "s1"))
    assert feed.woken == ["e1"]


def test_the_data_of_a_secret_is_not_kept(feed):
    feed.seen(SECRET, "ADDED", obj("hub-token", "s1", data={"HF_TOKEN": "c2VjcmV0"}))
    assert "c2VjcmV0" not in str(feed._store.all(SECRET))


def test_what_a_namespace_got_once_wakes_all_in_it_when_it_is_changed_but_not_when_we_make_it(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e1"))
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e2"))
    feed.woken.clear()
    feed.seen(SERVICE_ACCOUNT, "ADDED", obj("dedicated-engine", "a1"))
    assert feed.woken == []
    feed.seen(SERVICE_ACCOUNT, "DELETED", obj("dedicated-engine", "a1"))
    assert feed.woken == ["e1", "e2"]


def test_the_last_pod_and_the_last_endpoint_wake_their_namespace(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint())
    pod = obj("p", "p1", labels=ours())
    feed.seen(POD, "ADDED", pod)
    feed.woken.clear()
    feed.seen(ENDPOINT, "DELETED", an_endpoint())
    feed.seen(POD, "DELETED", pod)
    assert feed.woken == ["e1", "namespace/team-a", "namespace/team-a"]


def test_a_node_that_grows_wakes_those_that_wait_for_room(feed):
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e1") | {"status": {"diagnosis": {"reason": "NoCapacity"}}})
    feed.seen(ENDPOINT, "ADDED", an_endpoint("e2") | {"status": {"diagnosis": {"reason": "CrashLoop"}}})
    feed.seen(NODE, None, node())
    feed.woken.clear()
    bigger = node("8")
    bigger["metadata"]["resourceVersion"] = "2"
    feed.seen(NODE, "MODIFIED", bigger)
    assert feed.woken == ["e1"] and feed._store.capacity_grew_at == 1000.0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, node(), True),
        (node("1"), node("2"), True),
        (node("2"), node("1"), False),
        (node(), node(), False),
        (node(unschedulable=True), node(), True),
        (node(), node(unschedulable=True), False),
        (node(taints=[{"key": "a"}]), node(), True),
    ],
    ids=["a new node", "more GPUs", "fewer GPUs", "the same", "uncordoned", "cordoned", "a taint less"],
)
def test_a_node_has_grown_when_it_offers_more(before, after, expected):
    assert grew(before, after) is expected


def test_a_child_belongs_by_its_chain_of_owners_not_by_its_label(feed):
    store, endpoint = feed._store, an_endpoint()
    for kind, found in (
        (ENDPOINT, endpoint),
        (DEPLOYMENT, obj("d", "d1", labels=ours(), owner="e1")),
        (POD, obj("p", "p1", labels=ours(), owner="d1")),
        (POD, obj("impostor", "p2", labels=ours())),
        (POD, obj("elsewhere", "p3", labels=ours(), owner="d1", namespace="team-b")),
    ):
        feed.seen(kind, "ADDED", found)
    assert [pod["metadata"]["name"] for pod in store.children(POD, endpoint)] == ["p"]
