"""
What GitOps tools see: the rules of kstatus for a custom resource (sigs.k8s.io/cli-utils pkg/kstatus, status.go and generic.go), which Flux applies.

In order: an old observedGeneration is InProgress; Reconciling true is InProgress; Stalled true is Failed; a Ready that is not true is InProgress;
everything else is Current.
"""

from __future__ import annotations

from dedicated.adapters.kinds import ENDPOINT
from tests.support.sleepers import Sleeper


def kstatus(endpoint):
    status = endpoint.get("status") or {}
    by_type = {one["type"]: one["status"] for one in status.get("conditions") or []}
    if status.get("observedGeneration", 0) != endpoint["metadata"]["generation"] or by_type.get("Reconciling") == "True":
        return "InProgress"
    if by_type.get("Stalled") == "True":
        return "Failed"
    return "Current" if by_type.get("Ready", "True") == "True" else "InProgress"


async def test_a_sleeping_and_a_waking_endpoint_are_current_and_nobody_writes_their_spec():
    one = Sleeper()

    def seen():
        return kstatus(one.kube.all(ENDPOINT)[0])

    await one.look()
    assert seen() == "InProgress"
    await one.come_up()
    spec, written = one.kube.all(ENDPOINT)[0]["spec"], []
    patch = one.kube.patch

    async def watched(kind, namespace, name, body, subresource=None):
        written.append((kind.name, subresource, "spec" in body))
        return await patch(kind, namespace, name, body, subresource)

    one.kube.patch = watched
    assert seen() == "Current"
    await one.fall_asleep()
    assert seen() == "Current"
    one.call()
    await one.look()
    assert (one.told, seen()) == ("waking Waking", "Current")
    one.kubelet()
    await one.settle()
    assert seen() == "Current"
    assert {what for what in written if what[0] == ENDPOINT.name} == {(ENDPOINT.name, "status", False)}
    assert one.kube.all(ENDPOINT)[0]["spec"] == spec
