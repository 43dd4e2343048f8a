"""
What the cluster has of each AcceleratorClass: read every minute, written to the classes' status where it differs, and known to every plan.

Nodes are watched. What pods ask of them, and which nodes a provisioner could add, is asked for here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import ACCELERATOR_CLASS, ANY_POD, NODE_POOL
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.store import Store
from dedicated.api.errors import ApiNotFound, DedicatedError
from dedicated.planner.nodes import of_node_pool, requests_by_node

ONE_BY_ONE = 20
"""Nodes with devices up to which each one's pods are asked for, instead of all pods of the cluster."""
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
log = logging.getLogger(__name__)
Manifest = dict[str, Any]


class Classes:
    """Keeps the inventory's slower half, and tells each class what there is of it."""

    def __init__(self, kube: KubeApi, store: Store, inventory: InventoryReader, every_s: float) -> None:
        self._kube, self._store, self._inventory, self._every_s = kube, store, inventory, every_s

    async def run(self) -> None:
        """Look every now and then, for ever."""
        while True:
            try:
                await self.look()
                await self._tell()
            except DedicatedError as failure:
                log.warning("accelerator classes not looked at", extra={"error": str(failure)})
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Ask what a provisioner could add, and what is taken of the nodes with devices."""
        self._inventory.templates = await self._templates()
        nodes = self._inventory.nodes_with_devices()
        self._inventory.requested = await self._requested(nodes) if nodes else {}

    async def _templates(self) -> tuple[Any, ...]:
        try:
            return tuple(map(of_node_pool, await self._kube.list(NODE_POOL)))
        except ApiNotFound:
            return ()  # no Karpenter here

    async def _requested(self, nodes: list[str]) -> Mapping[str, Mapping[str, int]]:
        if len(nodes) > ONE_BY_ONE:
            return requests_by_node(await self._kube.list(ANY_POD, fields=UNFINISHED))
        lists = await asyncio.gather(*(self._kube.list(ANY_POD, fields=f"spec.nodeName={name},{UNFINISHED}") for name in nodes))
        return requests_by_node([pod for listed in lists for pod in listed])

    async def _tell(self) -> None:
        states = self._inventory.read().states
        for obj in self._store.all(ACCELERATOR_CLASS):
            state = states.get(obj["metadata"]["name"])
            if state is None:
                continue
            wanted = {"nodes": state.nodes, "free": state.free, "provisionable": state.provisionable}
            if (obj.get("status") or {}) != wanted:
                patched = await self._kube.patch(ACCELERATOR_CLASS, None, obj["metadata"]["name"], {"status": wanted}, "status")
                self._store.put(ACCELERATOR_CLASS, patched)
