"""One endpoint that can sleep, a cluster in memory around it, gateways that speak, and the operator's passes over it."""

from __future__ import annotations

from typing import Any

from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, LEASE, NODE, POD
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.witnesses import Witnesses
from dedicated.adapters.world import EndpointWorld
from dedicated.api import names
from dedicated.api.conditions import find
from dedicated.api.status import ConditionType, EndpointStatus
from dedicated.controller.reconcile import Outcome, reconcile
from dedicated.core.clock import precise, rfc3339
from dedicated.diagnosis.evidence import Limits
from dedicated.lifecycle.observation import Load
from dedicated.render.platform import Platform
from tests.support.cluster import Manifest, endpoint
from tests.support.fake_kube import FakeKube
from tests.support.status_rules import broken_rules

SYSTEM, ACTIVITY = "dedicated-system", "dedicated-activity"


class Engines:
    """Engines that say of their load what a test says."""

    def __init__(self) -> None:
        self.load, self.asked = Load(0), 0

    async def ask(self, *_: Any) -> Load:
        """The load."""
        self.asked += 1
        return self.load


class Sleeper:
    """One endpoint of a custom engine: idleAfter 5 min, minAwake 1 min unless told otherwise."""

    def __init__(self, gateways: tuple[str, ...] = ("gw-1", "gw-2"), hub: Any = None, **spec: Any) -> None:
        self.store, self.woken = Store(), list[str]()
        self.kube = FakeKube(self.store)
        self.witnesses = Witnesses(self.store, ACTIVITY, SYSTEM, self.woken.append, lambda: self.kube.time)
        self.engines = Engines()
        platform = Platform(fetch_image="localhost/dedicated:test")
        inventory, limits = InventoryReader(self.store), Limits(600, 300, capacity_s=60)
        self.clients = Clients(self.kube, hub, self.store, platform, b"k" * 32, limits, inventory, witnesses=self.witnesses, loads=self.engines)  # type: ignore[arg-type]
        manifest = endpoint("one", **{"scaling": {"idleAfter": "5m", "minAwake": "1m"}, **spec})
        manifest["metadata"] |= {"namespace": "team-a", "generation": 1, "annotations": {}}
        self.uid = self.kube.put(ENDPOINT, manifest)["metadata"]["uid"]
        self.id = names.endpoint_id(self.uid)
        self.node(True)
        for gateway in gateways:
            self.gateway_starts(gateway)
        self.outcome = Outcome()
        self._pod_number = 0

    async def look(self, *, later_s: float = 0.0) -> str:
        """One pass; answers phase and the reason of Ready, and checks the status."""
        self.kube.time += later_s
        self.outcome = await reconcile(EndpointWorld(self.clients, self.store.all(ENDPOINT)[0]))
        raw = self.kube.all(ENDPOINT)[0]
        assert broken_rules(self.status, raw["metadata"]["generation"]) == []
        return self.told

    async def settle(self, *, later_s: float = 0.0) -> str:
        """Passes, with the kubelet between them, until nothing is written any more."""
        self.kube.time += later_s
        for _ in range(10):
            before = [call for call in self.kube.calls if not call.startswith(("get", "list"))]
            told = await self.look()
            self.kubelet()
            if [call for call in self.kube.calls if not call.startswith(("get", "list"))] == before:
                return told
        raise AssertionError(f"ten passes, and it still writes: {self.kube.calls[-10:]}")

    async def come_up(self) -> None:
        """Build it until it answers."""
        await self.look()
        self.kubelet()
        await self.settle()
        assert self.told == "up AllReady", self.told

    @property
    def status(self) -> EndpointStatus:
        """The status as it was stored."""
        return EndpointStatus.model_validate(self.kube.all(ENDPOINT)[0]["status"])

    @property
    def told(self) -> str:
        """Phase and the reason of Ready."""
        ready = find(self.status.conditions, ConditionType.READY)
        return f"{self.status.phase} {ready.reason if ready else '-'}"

    @property
    def replicas(self) -> list[int]:
        """Of each Deployment."""
        return [found["spec"]["replicas"] for found in self.kube.all(DEPLOYMENT)]

    @property
    def epoch(self) -> int:
        """Of the last handover."""
        return self.status.drain.epoch if self.status.drain else 0

    # the cluster

    def kubelet(self, *, ready: bool = True) -> None:
        """Make the pods that Deployments want, and take away those that they do not."""
        for deployment in self.kube.all(DEPLOYMENT):
            revision = deployment["metadata"]["labels"][names.LABEL_REVISION]
            pods = [pod for pod in self.kube.all(POD) if pod["metadata"]["labels"][names.LABEL_REVISION] == revision]
            for pod in pods[deployment["spec"]["replicas"] :]:
                self.kube.remove(POD, pod["metadata"]["name"])
            for _ in range(deployment["spec"]["replicas"] - len(pods)):
                self._pod_number += 1
                self.kube.put(POD, self._pod(f"{deployment['metadata']['name']}-{self._pod_number}", deployment, ready))
        wanted = {found["metadata"]["labels"][names.LABEL_REVISION] for found in self.kube.all(DEPLOYMENT)}
        for pod in list(self.kube.all(POD)):
            if pod["metadata"]["labels"][names.LABEL_REVISION] not in wanted:
                self.kube.remove(POD, pod["metadata"]["name"])
            elif ready:
                self.kube.put(POD, {**pod, "status": self._pod_status(True, pod["status"])})

    def _pod(self, name: str, deployment: Manifest, ready: bool) -> Manifest:
        meta = deployment["metadata"]
        labels = {**meta["labels"]}
        made = {"name": name, "namespace": "team-a", "labels": labels, "creationTimestamp": rfc3339(self.kube.time)}
        owner = {"ownerReferences": [{"uid": meta["uid"]}]}
        return {"metadata": {**made, **owner}, "spec": {"nodeName": "node-1"}, "status": self._pod_status(ready, {})}

    def _pod_status(self, ready: bool, before: Manifest) -> Manifest:
        now = rfc3339(self.kube.time)
        if before and any(one["type"] == "Ready" and one["status"] == "True" for one in before["conditions"]):
            return before
        conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now}]
        conditions.append({"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now})
        engine = {"name": "engine", "state": {"running": {"startedAt": now}}, "ready": ready, "started": ready}
        return {"phase": "Running", "podIP": "10.0.0.9", "conditions": conditions, "containerStatuses": [engine]}

    def engine_fails(self, reason: str, exit_code: int) -> None:
        """The engine of every pod that is not ready ends, again and again."""
        ended = {"terminated": {"exitCode": exit_code, "reason": reason, "startedAt": rfc3339(self.kube.time), "finishedAt": rfc3339(self.kube.time)}}
        broken = {"name": "engine", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended, "restartCount": 5, "ready": False}
        for pod in list(self.kube.all(POD)):
            conditions = [one if one["type"] != "Ready" else {**one, "status": "False"} for one in pod["status"]["conditions"]]
            self.kube.put(POD, {**pod, "status": {**pod["status"], "conditions": conditions, "containerStatuses": [broken]}})

    def node(self, ready: bool) -> None:
        """The node is ready, or away."""
        condition = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": rfc3339(self.kube.time)}
        self.kube.put(NODE, {"metadata": {"name": "node-1"}, "spec": {}, "status": {"allocatable": {}, "conditions": [condition]}})

    # gateways

    def gateway_starts(self, name: str) -> None:
        """A gateway's pod is made."""
        pod = {"metadata": {"name": name, "namespace": SYSTEM, "uid": f"uid-{name}"}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}
        self.kube.gateway_pods[name] = pod
        self.witnesses.seen(self.witnesses.pods, "ADDED", pod)

    def gateway_goes(self, name: str) -> None:
        """A gateway's pod is gone."""
        del self.kube.gateway_pods[name]
        self.witnesses.gone(self.witnesses.pods, f"uid-{name}")

    def lease(self, *, renewed: bool = False, marks: dict[str, str] | None = None) -> None:
        """A gateway writes on the Lease."""
        known = next((found for found in self.kube.all(LEASE)), None) or {"metadata": {"name": self.id, "namespace": ACTIVITY, "annotations": {}}}
        annotations = {**known["metadata"]["annotations"], **(marks or {})}
        spec = {"renewTime": precise(self.kube.time)} if renewed else known.get("spec", {})
        stored = self.kube.put(LEASE, {"metadata": {**known["metadata"], "annotations": annotations}, "spec": spec})
        self.witnesses.seen(self.witnesses.leases, "MODIFIED", stored)

    def says(self, gateway: str, word: str | None = None) -> None:
        """A gateway answers the handover: with its epoch, or another word."""
        self.lease(marks={names.ack_annotation(gateway): word or str(self.epoch)})

    def call(self, *, wake: int | None = None) -> None:
        """A call: activity; of a sleeping endpoint a wake of its epoch."""
        if wake is None and self.status.drain and self.status.drain.reason == "NoTraffic":
            wake = self.epoch
        if wake is None:
            self.lease(renewed=True)
        else:
            self.lease(marks={names.ANNOTATION_WAKE: str(wake)})

    async def fall_asleep(self) -> None:
        """Idle until it sleeps, with every gateway's word."""
        assert await self.settle(later_s=400) == "up AllReady"
        for name in self.kube.gateway_pods:
            self.says(name)
        assert await self.settle() == "sleeping NoTraffic"
