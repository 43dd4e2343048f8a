"""Which accelerators the cluster has: its AcceleratorClasses, its nodes, and what a provisioner could add."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from dedicated.adapters.kinds import ACCELERATOR_CLASS, NODE
from dedicated.adapters.store import Store
from dedicated.api.accelerator import AcceleratorSpec
from dedicated.lifecycle.placement import Inventory
from dedicated.planner.discovery import ClassState, NodeFacts, NodeTemplate, discover
from dedicated.planner.nodes import of_node

Manifest = dict[str, Any]


@dataclass
class InventoryReader:
    """
    The inventory of the store, made anew only when a class or a node has changed.

    Args:
        provisionable: Classes of which an admin says that a provisioner adds nodes.
    """

    store: Store
    provisionable: Collection[str] = ()
    templates: tuple[NodeTemplate, ...] = ()
    """What a provisioner's own objects say; set by whoever reads them."""
    requested: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each node, what its pods ask for of each extended resource."""
    _classes: tuple[object, dict[str, AcceleratorSpec]] | None = None
    _known: tuple[object, Inventory] | None = None

    def classes(self) -> dict[str, AcceleratorSpec]:
        """Every class, by name."""
        key = self.store.state_of(ACCELERATOR_CLASS)
        if self._classes is None or self._classes[0] != key:
            self._classes = (key, {obj["metadata"]["name"]: spec for obj in self.store.all(ACCELERATOR_CLASS) if (spec := _spec(obj))})
        return self._classes[1]

    def read(self) -> Inventory:
        """What the cluster has now."""
        key = (self.store.state_of(ACCELERATOR_CLASS), self.store.state_of(NODE), self.templates, id(self.requested))
        if self._known is None or self._known[0] != key:
            self._known = (key, self._made())
        return self._known[1]

    def nodes_with_devices(self) -> list[str]:
        """Names of nodes that have devices of some class."""
        resources = {spec.resource_name for spec in self.classes().values()}
        return [obj["metadata"]["name"] for obj in self.store.all(NODE) if resources & self._node(obj).allocatable.keys()]

    def _made(self) -> Inventory:
        classes = self.classes()
        found = discover([self._node(obj) for obj in self.store.all(NODE)], classes, self.templates)
        return Inventory(classes, {name: self._declared(name, state) for name, state in found.items()})

    def _declared(self, name: str, state: ClassState) -> ClassState:
        return replace(state, provisionable=True) if name in self.provisionable else state

    def _node(self, obj: Manifest) -> NodeFacts:
        return of_node(obj, self.requested.get(obj["metadata"]["name"], {}))


def _spec(obj: Manifest) -> AcceleratorSpec | None:
    """None for one that a newer version made and this one cannot read."""
    try:
        return AcceleratorSpec.model_validate(obj["spec"])
    except ValidationError:
        return None
