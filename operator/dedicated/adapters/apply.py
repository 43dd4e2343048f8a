"""Making the cluster as decided: server-side apply of what is missing or drifted, scaling, deleting. What is as wanted is not written."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from dedicated.adapters import facts
from dedicated.adapters.kinds import BUDGET, BY_NAME, CLAIM_TEMPLATE, DEPLOYMENT, NETWORK_POLICY, POD, SERVICE_ACCOUNT
from dedicated.adapters.store import whole
from dedicated.adapters.view import Clients, EndpointView, Manifest
from dedicated.api.names import LABEL_REVISION
from dedicated.lifecycle.decide import Decision
from dedicated.lifecycle.manifests import covers, manifest_hash, manifests, with_hash
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.wanted import wanted
from dedicated.render import isolation

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Kubernetes': of a ReplicaSet's pods those with the lowest go first."""


class Applier:
    """Writes the children of one endpoint."""

    def __init__(self, clients: Clients, view: EndpointView) -> None:
        self._c, self._v = clients, view

    async def apply(self, seen: Observation, decision: Decision) -> None:
        """
        Make the cluster as decided: what is missing or drifted is applied, other revisions are scaled, what is not wanted is deleted.

        Where the same was decided before, and nobody has touched a child since, there is nothing to do.
        """
        if seen.deleting or self._c.store.applied.get(seen.uid) == self._state(seen, decision):
            return
        await self._make_so(seen, decision)
        self._c.store.applied[seen.uid] = self._state(seen, decision)

    def _state(self, seen: Observation, decision: Decision) -> Hashable:
        """What was decided, and what there is."""
        once_a_namespace = ((SERVICE_ACCOUNT, isolation.SERVICE_ACCOUNT), (NETWORK_POLICY, isolation.NETWORK_POLICY))
        shared = (self._c.store.named(kind, seen.namespace, name) for kind, name in once_a_namespace)
        decided = (seen.generation, seen.target, decision.serving, tuple(sorted(decision.replicas.items())))
        return decided, self._c.store.changes(self._v.raw, *shared)

    async def _make_so(self, seen: Observation, decision: Decision) -> None:
        if seen.target:
            for manifest in manifests(wanted(seen), decision, self._c.platform, self._c.system_key):
                await self._ensure(seen, decision, with_hash(manifest))
        for deployment in list(self._c.store.children(DEPLOYMENT, self._v.raw)):
            found = facts.workload(deployment)
            if found.revision not in decision.replicas:
                await self._delete(DEPLOYMENT, deployment)
            elif found.revision != seen.target and found.replicas != decision.replicas[found.revision]:
                await self._scale(deployment, decision.replicas[found.revision])
        for template in list(self._c.store.children(CLAIM_TEMPLATE, self._v.raw)):
            if template["metadata"]["labels"].get(LABEL_REVISION) not in decision.replicas:
                await self._delete(CLAIM_TEMPLATE, template)
        if seen.spec.replicas == 1:
            for budget in list(self._c.store.children(BUDGET, self._v.raw)):
                await self._delete(BUDGET, budget)

    async def _ensure(self, seen: Observation, decision: Decision, manifest: Manifest) -> None:
        kind = BY_NAME[manifest["kind"]]
        live = self._live(kind.name, manifest)
        if live is not None and kind is DEPLOYMENT and manifest_hash(live) != manifest_hash(manifest) and live["spec"].get("replicas"):
            # Rendered by another version of the operator and running: its pods are left alone until it is started anew.
            if live["spec"]["replicas"] != manifest["spec"]["replicas"]:
                await self._scale(live, manifest["spec"]["replicas"])
            return
        if live is not None and kind is DEPLOYMENT and live["spec"].get("replicas", 0) > manifest["spec"]["replicas"]:
            # What was decided on this Deployment must still be so when its pods go.
            await self._first_to_go(seen, decision)
            await self._scale(live, manifest["spec"]["replicas"])
            return
        if live is None or _drifted(live, manifest):
            self._c.store.put(kind, await self._c.kube.apply(manifest))

    def _live(self, kind: str, manifest: Manifest) -> Manifest | None:
        meta = manifest["metadata"]
        if kind in (SERVICE_ACCOUNT.name, NETWORK_POLICY.name):
            return self._c.store.named(BY_NAME[kind], meta["namespace"], meta["name"])
        children = self._c.store.children(BY_NAME[kind], self._v.raw)
        return next((child for child in children if child["metadata"]["name"] == meta["name"]), None)

    async def _first_to_go(self, seen: Observation, decision: Decision) -> None:
        """Mark the pods that gateways have let go of, so that these are the ones that the ReplicaSet removes."""
        if not any(decision.replicas.values()):
            return
        for name in decision.victims:
            body = {"metadata": {"annotations": {DELETION_COST: "-1000"}}}
            await self._c.kube.patch(POD, seen.namespace, name, body)

    async def _scale(self, deployment: Manifest, replicas: int) -> None:
        meta = deployment["metadata"]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": {"replicas": replicas}}
        self._c.store.put(DEPLOYMENT, await self._c.kube.patch(DEPLOYMENT, meta["namespace"], meta["name"], body))

    async def _delete(self, kind: Any, obj: Manifest) -> None:
        meta = obj["metadata"]
        if "deletionTimestamp" not in meta:
            await self._c.kube.delete(kind, meta["namespace"], meta["name"], meta["uid"])


def _drifted(live: Manifest, manifest: Manifest) -> bool:
    """Another hash, or a field of ours that somebody changed. A secret's data is not kept, so only its hash speaks for it."""
    seen_by_us = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "data", "type")}
    return manifest_hash(live) != manifest_hash(manifest) or not covers(whole(live), seen_by_us)
