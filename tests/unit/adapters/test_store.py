"""The store: newer wins, what nobody reads wakes nobody, and nothing is lost by keeping less."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, NODE, POD, REPLICA_SET, SECRET, SERVICE
from dedicated.adapters.recent import Recent
from dedicated.adapters.store import Store, whole
from dedicated.api.names import LABEL_ENDPOINT_ID, endpoint_id

UID = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"


def an_object(version=1, labels=None, uid="u1", owner=UID, **parts):
    refs = [{"uid": owner, "kind": "InferenceEndpoint", "name": "x"}] if owner else []
    meta = {"uid": uid, "name": f"n-{uid}", "namespace": "team-a", "resourceVersion": str(version), "ownerReferences": refs}
    return {"metadata": {**meta, "labels": labels or {LABEL_ENDPOINT_ID: endpoint_id(UID)}, "managedFields": [{"x": 1}]}, **parts}


def a_deployment(version=1, image="a", updated=0, **spec):
    template = {"spec": {"containers": [{"name": "engine", "image": image}]}}
    return an_object(version, spec={"replicas": 1, "template": template, **spec}, status={"updatedReplicas": updated})


ENDPOINT_OBJECT = {"metadata": {"uid": UID, "name": "x", "namespace": "team-a"}}


def test_an_older_version_tells_nothing():
    store = Store()
    assert store.put(DEPLOYMENT, a_deployment(5))
    assert not store.put(DEPLOYMENT, a_deployment(4, image="b"))
    assert whole(store.get(DEPLOYMENT, "u1"))["spec"]["template"]["spec"]["containers"][0]["image"] == "a"


@pytest.mark.parametrize(
    ("kind", "before", "after", "news"),
    [
        (DEPLOYMENT, a_deployment(1), a_deployment(1), False),
        (DEPLOYMENT, a_deployment(1), a_deployment(2, updated=1), False),
        (DEPLOYMENT, a_deployment(1), a_deployment(2, image="b"), True),
        (DEPLOYMENT, a_deployment(1), a_deployment(2, replicas=0), True),
        (
            DEPLOYMENT,
            a_deployment(1),
            {**a_deployment(2), "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]}},
            True,
        ),
        (POD, an_object(1, status={"phase": "Pending"}), an_object(2, status={"phase": "Running"}), True),
        (POD, an_object(1, status={"phase": "Running"}), an_object(2, status={"phase": "Running", "hostIP": "1.2.3.4"}), False),
        (POD, an_object(1, status={}), an_object(2, status={"conditions": [{"type": "Ready", "status": "True"}]}), True),
        (POD, an_object(1, status={}), an_object(2, status={"conditions": [{"type": "ContainersReady", "status": "True"}]}), False),
        (REPLICA_SET, an_object(1, status={}), an_object(2, status={"readyReplicas": 1}), False),
        (SECRET, an_object(1, data={"a": "1"}), an_object(2, data={"a": "2"}), True),
        (SERVICE, an_object(1, spec={"selector": {"a": "1"}}), an_object(2, spec={"selector": {"a": "2"}}), True),
        (SERVICE, an_object(1, spec={}), an_object(2, spec={}, labels={LABEL_ENDPOINT_ID: endpoint_id(UID), "mine": "1"}), True),
        (NODE, an_object(1, status={"allocatable": {"cpu": "1"}}), an_object(2, status={"allocatable": {"cpu": "1"}, "conditions": []}), False),
        (NODE, an_object(1, status={"allocatable": {"cpu": "1"}}), an_object(2, status={"allocatable": {"cpu": "2"}}), True),
        (ENDPOINT, an_object(1, spec={}, status={"phase": "up"}), an_object(2, spec={}, status={"phase": "failed"}), True),
    ],
)
def test_what_nobody_reads_wakes_nobody(kind, before, after, news):
    store = Store()
    assert store.put(kind, before)
    assert store.put(kind, after) is news
    assert store.get(kind, "u1")["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"], "a guard must know the newest version"


def test_a_pass_that_holds_an_object_sees_it_as_it_was():
    store = Store()
    store.put(ENDPOINT, an_object(1, spec={}, status={"phase": "up"}))
    held = store.get(ENDPOINT, "u1")
    before = deepcopy(held)
    store.put(ENDPOINT, an_object(2, spec={}, status={"phase": "failed"}))
    assert held == before


def test_a_packed_object_is_whole_again():
    store, found = Store(), a_deployment(1, strategy={"type": "Recreate"})
    store.put(DEPLOYMENT, found)
    assert whole(store.get(DEPLOYMENT, "u1"))["spec"] == found["spec"]
    assert len(json.dumps(found)) > len(store.get(DEPLOYMENT, "u1")["packed"])


def test_a_secrets_data_is_never_kept():
    store = Store()
    store.put(SECRET, an_object(1, data={"a": "c2VjcmV0"}))
    assert "c2VjcmV0" not in str(store.get(SECRET, "u1"))


def test_what_is_made_for_an_endpoint_has_one_name_until_somebody_changes_it():
    store = Store()
    store.put(DEPLOYMENT, a_deployment(1))
    store.put(POD, an_object(1, uid="p1", status={"phase": "Pending"}))
    first = store.changes(ENDPOINT_OBJECT)
    store.put(DEPLOYMENT, a_deployment(2, updated=1))
    store.put(POD, an_object(2, uid="p1", status={"phase": "Running"}))
    assert store.changes(ENDPOINT_OBJECT) == first
    store.put(DEPLOYMENT, a_deployment(3, image="b"))
    second = store.changes(ENDPOINT_OBJECT)
    store.put(DEPLOYMENT, a_deployment(4, image="a"))
    store.remove(DEPLOYMENT, "u1")
    assert len({first, second, store.changes(ENDPOINT_OBJECT)}) == 3


def test_an_object_is_found_by_its_name_until_it_goes():
    store = Store()
    store.put(SECRET, an_object(1))
    assert store.named(SECRET, "team-a", "n-u1") and not store.named(SECRET, "team-b", "n-u1")
    store.put(SECRET, {"metadata": {**an_object(9, uid="u2")["metadata"], "name": "n-u1"}})
    store.remove(SECRET, "u1")
    assert store.named(SECRET, "team-a", "n-u1")["metadata"]["uid"] == "u2"
    store.remove(SECRET, "u2")
    assert store.named(SECRET, "team-a", "n-u1") is None


def test_recent_results_are_made_once_for_each_key_and_bounded():
    recent, made = Recent(most=2), []

    def ask(uid, key):
        return recent.of("what", uid, key, lambda: made.append((uid, key)) or len(made))

    assert [ask("a", 1), ask("a", 1), ask("a", 2), ask("b", 1), ask("a", 2)] == [1, 1, 2, 3, 2]
    ask("c", 1)
    assert ask("a", 2) == 2 and ask("b", 1) == 5
