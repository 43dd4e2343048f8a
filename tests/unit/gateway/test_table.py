"""What the watches tell: standing, addresses, catalogue, keys."""

from __future__ import annotations

import ipaddress

import pytest

from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE
from dedicated.gateway.addresses import is_named_after, may_be_called, networks
from dedicated.gateway.keyring import Keyring
from dedicated.gateway.standing import standing
from dedicated.gateway.table import Hold, Table
from dedicated.gateway.watching import Watched
from tests.support.gateway import CONDITIONS, a_key, a_secret, a_slice, an_endpoint, id_of

PODS = networks(["10.0.0.0/8", "fd00::/8"])
NOW = 1_800_000_000.0


@pytest.mark.parametrize("state", CONDITIONS)
def test_the_state_is_read_from_conditions(state):
    assert standing(an_endpoint("e", state)["status"]["conditions"]).state == state


def test_an_endpoint_without_conditions_is_building_and_a_failed_update_still_answers():
    assert standing([]).state == "building"
    failed = [
        {"type": "Ready", "status": "True", "reason": "UpdateFailed"},
        {"type": "Active", "status": "True"},
        {"type": "Stalled", "status": "True"},
    ]
    assert standing(failed).state == "up"


@pytest.mark.parametrize(
    ("address", "allowed", "called"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("fd00::7", ["fd00::/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("127.0.0.1", ["0.0.0.0/0"], False),
        ("169.254.169.254", ["0.0.0.0/0"], False),
        ("::1", ["::/0"], False),
        ("fe80::1", ["::/0"], False),
        ("224.0.0.1", ["0.0.0.0/0"], False),
        ("0.0.0.0", ["0.0.0.0/0"], False),
        ("8.8.8.8", ["0.0.0.0/0"], True),
        ("127.0.0.1", ["127.0.0.0/8"], True),
        ("10.0.0.1", [], False),
    ],
)
def test_only_addresses_of_pods_are_called(address, allowed, called):
    assert may_be_called(ipaddress.ip_address(address), networks(allowed)) is called


def test_an_engine_that_answered_our_own_probe_counts_until_the_kubelet_or_a_connection_says_otherwise():
    endpoint = an_endpoint("e", "waking")
    starting = a_slice(endpoint, "10.0.0.7", port=80, serving=False)
    table = table_of(endpoint, starting)
    (replica,) = table.unproven(table.by_id(id_of(endpoint)))
    assert usable(table, endpoint) == []
    table.prove(replica)
    assert usable(table, endpoint) == ["10.0.0.7:80"] and table.unproven(table.by_id(id_of(endpoint))) == []
    table.put_slice({**starting, "metadata": {**starting["metadata"], "uid": "slice-0"}})
    assert usable(table, endpoint) == ["10.0.0.7:80"]
    table.disprove("10.0.0.7:80")
    assert usable(table, endpoint) == []
    table.prove(replica)
    for serving in (True, False):  # it served, and then no more
        found = a_slice(endpoint, "10.0.0.7", port=80, serving=serving)
        table.put_slice({**found, "metadata": {**found["metadata"], "uid": "slice-0"}})
        assert usable(table, endpoint) == (["10.0.0.7:80"] if serving else [])


def test_pods_that_are_drained_are_not_routed_to():
    pods = a_slice(an_endpoint("e"), "10.0.0.7", "10.0.0.8", port=80)
    second = pods["endpoints"][1]["targetRef"]["name"]
    endpoint = an_endpoint("e", drain={"epoch": 2, "pods": [second], "reason": "NoTraffic"})
    table = table_of(endpoint, pods)
    assert [found.id for found in table.draining()] == [id_of(endpoint)] and usable(table, endpoint) == ["10.0.0.7:80"]
    table.put(an_endpoint("e", drain={"epoch": 3}))
    assert table.draining() == [] and usable(table, endpoint) == ["10.0.0.7:80", "10.0.0.8:80"]


def test_how_long_calls_are_held_and_where_an_engine_says_that_it_is_healthy_come_from_the_spec():
    endpoint = an_endpoint("e")
    endpoint["spec"] |= {"wake": {"hold": "2m", "maxHold": "1m", "maxHeldRequests": 7, "maxHeldBytes": "1Mi"}}
    endpoint["spec"] |= {"engine": {"kind": "custom", "healthPath": "/ok"}}
    found = table_of(endpoint).by_id(id_of(endpoint))
    assert found.hold == Hold(60, 60, 7, 1 << 20) and found.health_path == "/ok"
    default = table_of(an_endpoint("e")).by_id(id_of(endpoint))
    assert default.hold == Hold(0, 600, 100, 64 << 20) and default.health_path == "/health"


def usable(table, endpoint):
    return list(table.usable(table.by_id(id_of(endpoint))))


def table_of(endpoint, *slices):
    table = Table(PODS)
    table.put(endpoint)
    for number, found in enumerate(slices):
        table.put_slice({**found, "metadata": {**found["metadata"], "uid": f"slice-{number}"}})
    return table


def known(endpoint, *slices):
    return usable(table_of(endpoint, *slices), endpoint)


def changed(found, **endpoint):
    (one,) = found["endpoints"]
    return {**found, "endpoints": [{**one, **endpoint}]}


E = an_endpoint("e")
GOOD = a_slice(E, "10.0.0.1", port=8000)


def test_addresses_are_those_of_every_slice_of_the_headless_service():
    second = a_slice(E, "10.0.0.2", "10.0.0.1", port=8000)
    assert known(E, GOOD, second) == ["10.0.0.1:8000", "10.0.0.2:8000"]
    six = {**changed(GOOD, addresses=["fd00::7"]), "addressType": "IPv6"}
    assert known(E, six) == ["[fd00::7]:8000"]


@pytest.mark.parametrize(
    "wrong",
    [
        a_slice(E, "10.0.0.1", port=8000, serving=False),
        a_slice(E, "10.0.0.1", port=8000, terminating=True),
        a_slice(E, "10.0.0.1", port=8000, pod="other-pod"),
        a_slice(E, "169.254.169.254", port=80),
        a_slice(an_endpoint("other"), "10.0.0.1", port=8000),
        changed(GOOD, targetRef={"kind": "Node", "name": "n", "namespace": "team-a"}),
        changed(GOOD, targetRef=None),
        changed(GOOD, targetRef={**GOOD["endpoints"][0]["targetRef"], "namespace": "team-b"}),
        changed(GOOD, addresses=["not an address"]),
        {**GOOD, "addressType": "FQDN"},
        {**GOOD, "ports": [{"name": "metrics", "port": 1}]},
        {**GOOD, "endpoints": None},
    ],
    ids=[
        "not serving",
        "going",
        "a stolen label",
        "link-local",
        "another endpoint's",
        "no pod",
        "nothing",
        "another namespace",
        "no address",
        "a name",
        "no port",
        "empty",
    ],
)
def test_what_is_no_replica_is_not_called(wrong):
    assert known(E, wrong) == []


def test_a_pods_name_is_compared_as_kubernetes_cuts_it():
    assert is_named_after("llama-abc-rev1-5d4f8-x7k2p", "llama-abc-rev1")
    assert not is_named_after("llama-abc-rev10-5d4f8-x7k2p", "llama-abc-rev1")
    deployment = "l" * 63
    assert is_named_after("l" * 58 + "x7k2p", deployment)


def test_an_endpoint_changes_hands_and_name_and_goes():
    table = Table(PODS)
    table.put(an_endpoint("e", owner="alice", shared_as="One"))
    table.put(an_endpoint("e", owner="bob", shared_as="Two"))
    assert table.owned_by("alice") == [] and len(table.owned_by("bob")) == 1
    assert table.by_catalogue_name("One") is None and table.by_catalogue_name("Two")
    table.put({**an_endpoint("e"), "metadata": {**an_endpoint("e")["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert len(table) == 0 and table.catalogue() == []


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        (ENDPOINT, {**E, "spec": None}),
        (ENDPOINT, {**E, "status": {"conditions": ["?"]}}),
        (ENDPOINT_SLICE, {**GOOD, "metadata": {**GOOD["metadata"], "uid": "s"}, "endpoints": [7]}),
        (API_KEY, {"metadata": {"name": "k", "uid": "k"}, "spec": {"owner": "alice", "sha256": "x", "expiresAt": "soon"}}),
        (LEASE, {"metadata": {"name": "e", "uid": "l"}, "spec": {"renewTime": "now"}}),
    ],
)
def test_an_object_that_cannot_be_read_is_as_if_it_were_not_there(kind, obj):
    watched = Watched(Table(PODS))
    watched.seen(ENDPOINT, None, E)
    watched.seen(kind, "MODIFIED", obj)
    assert watched.uids(kind) == set()


def put(keys, key, uid):
    keys.put({**key, "metadata": {**key["metadata"], "uid": uid}})


def test_a_key_is_found_by_its_secret_until_it_is_revoked_expired_or_gone():
    keys, secret = Keyring(), a_secret(1)
    put(keys, a_key(secret, expires_at="2027-01-15T08:00:00Z"), "a")
    found = keys.find(secret, NOW - 1)
    assert found and found.owner == "alice" and keys.has_active("alice", NOW - 1)
    assert keys.find(secret, NOW) is None and not keys.has_active("alice", NOW)
    put(keys, a_key(secret, revoked=True), "a")
    assert keys.find(secret, NOW - 1) is None
    keys.remove("a")
    keys.remove("a")
    assert len(keys) == 0 and not keys.has_active("alice", 0)


def test_a_copy_of_a_key_under_another_uid_does_not_outlive_it():
    keys, secret = Keyring(), a_secret(1)
    put(keys, a_key(secret), "old")
    put(keys, a_key(secret), "new")
    keys.remove("old")
    assert keys.find(secret, NOW) is not None
