"""Passes over one endpoint whose engine fails: named once, recorded once, counted once, whoever looks again."""

from __future__ import annotations

import pytest

from dedicated.adapters.hub import Hub
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, ENDPOINT_LOG, NODE, POD
from dedicated.adapters.records import Records
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.conditions import find
from dedicated.api.endpointlog import unpacked
from dedicated.api.names import LABEL_ENDPOINT_ID, LABEL_REVISION, endpoint_id
from dedicated.api.status import ConditionType, EndpointStatus
from dedicated.controller.reconcile import reconcile
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import Limits
from dedicated.telemetry import metrics
from tests.support.builders import NOW, PLATFORM
from tests.support.cluster import endpoint
from tests.support.fake_kube import FakeKube
from tests.support.status_rules import broken_rules

KV = "ValueError: No available memory for the cache blocks."


class Cluster:
    """One endpoint of a custom engine, its pod, and the operator's passes."""

    def __init__(self):
        self.store = Store()
        self.kube = FakeKube(self.store)
        self.starts()
        manifest = endpoint("one")
        manifest["metadata"] |= {"namespace": "team-a", "generation": 1, "annotations": {}, "labels": {}}
        self.kube.put(ENDPOINT, manifest)

    def starts(self):
        """An operator starts, and knows nothing but what the API server has."""
        limits = Limits(placement_s=600, start_s=300)
        self.clients = Clients(
            self.kube, Hub("http://127.0.0.1:9"), self.store, PLATFORM, b"k" * 32, limits, InventoryReader(self.store), records=Records()
        )

    async def look(self, *, later_s=0.0):
        self.kube.time += later_s
        outcome = await reconcile(EndpointWorld(self.clients, self.store.all(ENDPOINT)[0]))
        assert outcome.failure is None
        (raw,) = self.kube.all(ENDPOINT)
        status = EndpointStatus.model_validate(raw["status"])
        assert broken_rules(status, raw["metadata"]["generation"]) == []
        return status

    def pod(self, *, ready=False, **container):
        """Its pod, with its engine in this state."""
        (owner,) = self.kube.all(ENDPOINT)
        uid = owner["metadata"]["uid"]
        (deployment,) = self.kube.all(DEPLOYMENT)
        labels = {LABEL_ENDPOINT_ID: endpoint_id(uid), LABEL_REVISION: deployment["metadata"]["labels"][LABEL_REVISION]}
        meta = {"name": "one-x", "namespace": "team-a", "labels": labels, "ownerReferences": [{"uid": uid}], "creationTimestamp": rfc3339(NOW)}
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(NOW)},
            {"type": "Ready", "status": str(ready)},
        ]
        status = {
            "phase": "Running",
            "conditions": conditions,
            "containerStatuses": [{"name": "engine", "ready": ready, "restartCount": 1, **container}],
        }
        self.kube.put(POD, {"metadata": meta, "spec": {"nodeName": "node-1"}, "status": status})

    def crashed(self, **more):
        ended = {"exitCode": 1, "reason": "Error", "startedAt": rfc3339(NOW), "finishedAt": rfc3339(NOW + 9)}
        self.pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended}, **more)

    def recorded(self):
        return [(found["spec"]["moment"], unpacked(found["spec"]["text"])) for found in self.kube.all(ENDPOINT_LOG)]


@pytest.fixture
async def cluster():
    found = Cluster()
    await found.look()
    return found


def counted(reason):
    return metrics.DIAGNOSES.labels(reason)._value.get()


async def test_a_failure_is_named_recorded_and_counted_once_however_often_somebody_looks(cluster):
    before = counted("KvCacheTooSmall")
    cluster.kube.log = f"loading\n{KV}"
    cluster.crashed()
    status = await cluster.look()
    assert (status.phase, status.diagnosis.reason, status.diagnosis.next_attempt_at) == ("failed", "KvCacheTooSmall", None)
    assert cluster.recorded() == [("failed", f"loading\n{KV}")]
    cluster.kube.calls.clear()
    for _ in range(3):
        await cluster.look(later_s=20)
    cluster.starts()
    await cluster.look(later_s=20)
    writes = [call for call in cluster.kube.calls if not call.startswith(("get", "list"))]
    assert writes == [] and counted("KvCacheTooSmall") == before + 1


async def test_the_record_stays_when_the_pod_is_gone(cluster):
    cluster.kube.log = KV
    cluster.crashed()
    await cluster.look()
    cluster.kube.remove(POD, "one-x")
    status = await cluster.look()
    assert status.phase == "failed" and cluster.recorded() == [("failed", KV)]


async def test_the_first_readiness_is_recorded_once_and_a_later_one_is_not(cluster):
    cluster.kube.log = "Application startup complete"
    cluster.pod(ready=True, state={"running": {"startedAt": rfc3339(NOW)}})
    assert (await cluster.look()).phase == "up"
    assert cluster.recorded() == [("ready", "Application startup complete")]
    cluster.kube.log = "another"
    cluster.starts()
    await cluster.look(later_s=20)
    assert cluster.recorded() == [("ready", "Application startup complete")]


async def test_secrets_reach_neither_the_status_nor_the_record(cluster):
    cluster.kube.log = f"HF_TOKEN=hf_abcdefghijklmnop\nAuthorization: Bearer abcdefghijklmnop\n{KV}"
    cluster.crashed()
    status = await cluster.look()
    for sink in (str(status.to_dict()), str(cluster.recorded())):
        assert "hf_abc" not in sink and "Bearer abc" not in sink and "***" in sink


async def test_a_node_that_is_not_ready_is_the_cause_of_what_its_pod_suffers(cluster):
    meta = {"name": "node-1", "uid": "n1", "creationTimestamp": rfc3339(NOW)}
    silent = {"type": "Ready", "status": "Unknown", "lastTransitionTime": rfc3339(NOW - 40)}
    cluster.kube.put(NODE, {"metadata": meta, "spec": {}, "status": {"allocatable": {}, "conditions": [silent]}})
    cluster.pod(state={"running": {"startedAt": rfc3339(NOW)}}, started=True)
    status = await cluster.look()
    assert find(status.conditions, ConditionType.READY).reason == "NodeLost" and status.diagnosis is None


async def test_a_pod_that_was_put_out_of_its_node_says_why(cluster):
    (owner,) = cluster.kube.all(ENDPOINT)
    cluster.crashed()
    (pod,) = cluster.kube.all(POD)
    why = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
    }
    conditions = [*pod["status"]["conditions"], why]
    cluster.kube.put(
        POD, {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": rfc3339(NOW)}, "status": {**pod["status"], "conditions": conditions}}
    )
    status = await cluster.look()
    assert find(status.conditions, ConditionType.READY).reason == "NodeLost" and owner["metadata"]["name"] == "one"
