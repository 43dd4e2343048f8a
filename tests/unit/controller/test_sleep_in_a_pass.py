"""Passes over an endpoint that sleeps and wakes, in a cluster in memory: the whole operator but its watches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, POD
from dedicated.adapters.world import EndpointWorld
from dedicated.api.conditions import find
from dedicated.api.errors import ApiConflict, ApiUnavailable, GatedAccessDenied
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, ConditionType, EndpointStatus, Revisions
from dedicated.core.clock import rfc3339
from dedicated.lifecycle.decide import Life, Verb
from dedicated.lifecycle.life import decide
from dedicated.lifecycle.observation import Load
from tests.support.builders import NOW, TARGET, a_pod, a_spec, an_observation, workloads
from tests.support.sleepers import Sleeper

T = ConditionType


def condition(one, kind):
    return find(one.status.conditions, kind)


async def test_an_idle_endpoint_sleeps_when_every_gateway_has_let_go_of_it():
    one = Sleeper()
    await one.come_up()
    assert await one.settle(later_s=314) == "up AllReady"
    assert one.status.drain is None
    assert await one.settle(later_s=2) == "up AllReady"
    assert (one.status.drain.epoch, one.status.drain.reason, len(one.status.drain.pods)) == (1, "NoTraffic", 1)
    assert one.replicas == [1]
    one.says("gw-1")
    assert await one.settle() == "up AllReady"
    assert one.witnesses.silent == {one.id: ("gw-2",)}
    one.says("gw-2")
    assert await one.settle() == "sleeping NoTraffic"
    assert one.replicas == [0] and one.kube.all(POD) == []
    assert one.witnesses.silent == {}
    assert condition(one, T.READY).status == "True" and condition(one, T.RECONCILING) is None
    assert (condition(one, T.ACTIVE).status, condition(one, T.ACTIVE).reason) == ("False", Reason.NO_TRAFFIC)


async def test_a_sleeping_endpoint_is_looked_at_without_a_write_or_a_question():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    called = len(one.kube.calls)
    for _ in range(5):
        assert await one.look(later_s=600) == "sleeping NoTraffic"
    assert len(one.kube.calls) == called


async def test_a_sleep_costs_six_calls_and_a_create_no_more_than_before():
    one = Sleeper()
    await one.look()
    assert len([call for call in one.kube.calls if call not in ("apply ServiceAccount", "apply NetworkPolicy")]) <= 7
    one.kubelet()
    await one.settle()
    before = len(one.kube.calls)
    await one.fall_asleep()
    gone = ["patch InferenceEndpoint"]
    assert one.kube.calls[before:] == ["patch InferenceEndpoint", "list Pod", "get Lease", "patch Deployment", "patch InferenceEndpoint", *gone]


async def test_the_first_call_wakes_it_once_and_what_served_answers_again():
    one = Sleeper()
    await one.come_up()
    serving = one.status.revisions.serving
    await one.fall_asleep()
    one.call()
    assert await one.look(later_s=100) == "waking Waking"
    assert one.replicas == [1]
    assert "SLEEPING and is now WAKING UP" in condition(one, T.READY).message
    assert condition(one, T.ACTIVE).reason == Reason.WAKING
    assert one.status.wake.current.epoch == 1 and one.status.sleep.since is None
    one.call()
    one.kubelet(ready=False)
    assert await one.look(later_s=3) == "waking Waking"
    one.kube.time += 4
    one.kubelet()
    assert await one.settle() == "up AllReady"
    assert one.status.revisions.serving == serving
    last = one.status.wake.last
    assert (last.succeeded, last.seconds, one.status.wake.current) == (True, pytest.approx(7), None)
    assert [phase.phase for phase in last.phases] == ["schedule", "image", "load"]
    assert [(past.seconds, past.succeeded) for past in one.status.wake.history] == [(pytest.approx(7), True)]
    assert one.status.wake.expected_seconds == pytest.approx(7)
    assert one.status.sleep.seconds == pytest.approx(100)


async def test_a_late_wake_of_an_earlier_sleep_wakes_nothing():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()
    assert await one.settle() == "up AllReady"
    await one.fall_asleep()
    assert one.epoch == 2
    one.call(wake=1)
    assert await one.settle() == "sleeping NoTraffic"
    one.call(wake=2)
    assert await one.settle() == "up AllReady"


async def test_a_call_during_the_handover_takes_it_back():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.call()
    one.says("gw-2")
    assert await one.settle() == "up AllReady"
    assert (one.status.drain.epoch, one.status.drain.pods, one.status.drain.reason) == (1, [], None)
    assert one.replicas == [1]


async def test_a_renewal_that_no_watch_has_told_yet_takes_it_back():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")
    stale = one.witnesses.activity(one.id)
    one.lease(renewed=True)
    one.witnesses._activity[one.id] = stale
    await one.look()
    assert one.replicas == [1] and one.status.drain.pods == []


async def test_a_gateway_that_no_watch_has_told_yet_is_asked_too():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")
    one.kube.gateway_pods["gw-3"] = {"metadata": {"name": "gw-3", "uid": "uid-gw-3"}, "spec": {}}
    assert await one.look() == "up AllReady"
    assert one.replicas == [1]
    one.says("gw-3")
    assert await one.look() == "sleeping NoTraffic"


async def test_a_veto_takes_a_sleep_back_after_five_seconds_and_it_is_tried_again_later():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2", "busy")
    assert await one.settle(later_s=4) == "up AllReady"
    assert one.status.drain.pods
    await one.settle(later_s=2)
    assert one.status.drain.pods == [] and one.epoch == 1
    await one.settle(later_s=10)
    assert one.epoch == 1
    await one.settle(later_s=10)
    assert one.epoch == 2 and one.status.drain.pods
    one.says("gw-1")
    one.says("gw-2")
    assert await one.settle() == "sleeping NoTraffic"


async def test_a_gateway_is_waited_for_until_its_pod_is_gone():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    assert await one.settle(later_s=3600) == "up AllReady"
    assert one.replicas == [1]
    one.woken.clear()
    one.gateway_goes("gw-2")
    assert one.woken == [one.id]
    assert await one.settle() == "sleeping NoTraffic"


async def test_without_any_gateway_it_sleeps_by_its_own_word():
    one = Sleeper(gateways=())
    await one.come_up()
    assert await one.settle(later_s=400) == "sleeping NoTraffic"
    assert one.epoch == 1


async def test_an_endpoint_that_never_sleeps():
    one = Sleeper(scaling={"idleAfter": "0s"})
    await one.come_up()
    assert await one.settle(later_s=1_000_000) == "up AllReady"
    assert one.status.drain is None and one.outcome.look_again_at is None


async def test_it_stays_awake_for_as_long_as_somebody_calls():
    one = Sleeper()
    await one.come_up()
    for _ in range(5):
        one.call()
        assert await one.settle(later_s=300) == "up AllReady"
    assert one.status.drain is None


@pytest.mark.parametrize("step", ["status", "scale", "report"])
async def test_an_operator_that_dies_between_two_writes_goes_on_where_it_stopped(step, monkeypatch):
    one = Sleeper()
    await one.come_up()
    patch = one.kube.patch

    async def dies(kind, *args, **kwargs):
        if step == "status" and kind is ENDPOINT:
            raise ApiUnavailable("killed")
        stored = await patch(kind, *args, **kwargs) if not (step == "report" and kind is ENDPOINT) else None
        if stored is None or step == "scale":
            raise ApiUnavailable("killed")
        return stored

    if step != "status":
        await one.settle(later_s=400)
        one.says("gw-1")
        one.says("gw-2")
    monkeypatch.setattr(one.kube, "patch", dies)
    with pytest.raises(ApiUnavailable):
        await one.look(later_s=400 if step == "status" else 0)
    monkeypatch.undo()
    assert one.replicas == [1 if step == "status" else 0]
    if step == "status":
        await one.settle()
        one.says("gw-1")
        one.says("gw-2")
    assert await one.settle() == "sleeping NoTraffic"
    assert one.epoch == 1


async def test_a_call_that_comes_while_the_operator_is_dead_after_the_scale_wakes_it():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")
    found = one.kube.all(DEPLOYMENT)[0]
    one.kube.put(DEPLOYMENT, {**found, "spec": {**found["spec"], "replicas": 0}})
    one.kubelet()
    one.call()
    assert await one.look() == "waking Waking"
    assert one.replicas == [1]
    one.kubelet()
    assert await one.settle() == "up AllReady"


async def test_a_stale_deployment_is_not_scaled():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")

    async def conflict(*_args, **_kwargs):
        raise ApiConflict("409")

    patch, one.kube.patch = one.kube.patch, conflict
    await one.look()
    assert one.outcome.back_off and one.told == "up AllReady"
    one.kube.patch = patch
    assert await one.settle() == "sleeping NoTraffic"


async def test_a_wake_whose_engine_fails_sleeps_again_and_only_a_later_call_tries_again():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()
    await one.look()
    one.kubelet(ready=False)
    one.engine_fails("Error", 1)
    assert await one.look(later_s=5) == "sleeping WakeFailed"
    assert one.replicas == [0] and one.epoch == 2
    ready = condition(one, T.READY)
    assert (ready.status, ready.reason) == ("False", Reason.WAKE_FAILED) and condition(one, T.STALLED) is None
    assert one.status.diagnosis.next_attempt_at is not None and one.status.wake.last.succeeded is False
    one.kubelet()
    assert await one.settle(later_s=3600) == "sleeping WakeFailed"
    one.call(wake=1)
    assert await one.settle() == "sleeping WakeFailed"
    one.call(wake=2)
    assert await one.settle() == "up AllReady"
    assert one.status.diagnosis is None
    assert [past.succeeded for past in one.status.wake.history] == [True, False]


async def test_a_call_before_the_next_attempt_wakes_it_when_that_is_due():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()
    await one.look()
    one.kubelet(ready=False)
    one.engine_fails("Error", 1)
    await one.look()
    one.kubelet()
    one.call(wake=2)
    assert await one.settle(later_s=5) == "sleeping WakeFailed"
    assert one.outcome.look_again_at == pytest.approx(one.kube.time - 5 + 30, abs=1)
    assert await one.settle(later_s=26) == "up AllReady"


async def test_a_wake_whose_engine_cannot_run_fails_for_good():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()
    await one.look()
    one.kubelet(ready=False)
    pod = one.kube.all(POD)[0]
    waiting = {"reason": "CreateContainerConfigError", "message": "couldn't find key x in Secret"}
    one.kube.put(POD, {**pod, "status": {**pod["status"], "containerStatuses": [{"name": "engine", "state": {"waiting": waiting}}]}})
    assert await one.look() == "failed InvalidSpec"
    assert one.replicas == [0]
    assert one.status.sleep.since is None and one.status.drain.reason is None
    assert await one.settle(later_s=3600) == "failed InvalidSpec"


async def test_suspending_asks_the_gateways_first_and_waits_for_them_no_longer_than_the_drain():
    one = Sleeper(update={"drain": "2m"})
    await one.come_up()
    one.kube.edit(suspend=True)
    assert await one.settle() == "paused Suspended"
    assert one.replicas == [1] and one.status.drain.reason == "Suspended"
    one.says("gw-1")
    one.says("gw-2", "busy")
    await one.settle(later_s=119)
    assert one.replicas == [1]
    await one.settle(later_s=2)
    assert one.replicas == [0] and one.status.drain.pods == [] and one.epoch == 1


async def test_a_paused_endpoint_is_woken_by_nobody_and_a_sleeping_one_that_is_paused_sleeps_no_more():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.kube.edit(suspend=True)
    assert await one.settle() == "paused Suspended"
    assert one.status.sleep.since is None
    one.call(wake=1)
    assert await one.settle() == "paused Suspended"
    assert one.replicas == [0]
    one.kube.edit(suspend=False)
    assert await one.settle() == "up AllReady"


async def test_an_update_routes_to_the_new_revision_before_the_old_one_goes():
    one = Sleeper()
    await one.come_up()
    old = one.status.revisions.serving
    one.kube.edit(engine={"args": ["--other"]})
    await one.look()
    one.kubelet()
    await one.look()
    assert one.status.revisions.serving != old and one.replicas == [1, 1]
    assert one.status.drain.pods and one.status.drain.reason == Reason.DRAINING and one.told == "up AllReady"
    one.says("gw-1")
    one.says("gw-2")
    await one.settle()
    assert one.replicas == [1] and one.status.drain.pods == []


async def test_fewer_replicas_take_away_the_pods_that_gateways_have_let_go_of():
    one = Sleeper(replicas=3)
    await one.come_up()
    one.kube.edit(replicas=2)
    await one.look()
    (leaving,) = one.status.drain.pods
    one.says("gw-1")
    one.says("gw-2")
    await one.look()
    cost = "controller.kubernetes.io/pod-deletion-cost"
    marked = [pod["metadata"]["name"] for pod in one.kube.all(POD) if cost in pod["metadata"].get("annotations", {})]
    assert marked == [leaving] and one.replicas == [2]


async def test_a_changed_spec_waits_for_the_wake_which_starts_what_served_last():
    one = Sleeper()
    await one.come_up()
    old = one.status.revisions.serving
    await one.fall_asleep()
    one.kube.edit(engine={"args": ["--other"]})
    assert await one.settle() == "sleeping NoTraffic"
    one.call()
    await one.look()
    assert one.status.revisions.serving == old and sorted(one.replicas) in ([0, 1], [1])
    one.kubelet()
    await one.look()
    assert one.status.revisions.serving == old and one.told.startswith("up")


async def test_a_gateway_is_gone_when_its_node_has_been_away_for_five_minutes_on_end():
    one = Sleeper(gateways=("gw-1",))
    await one.come_up()
    await one.settle(later_s=400)
    one.node(False)
    await one.settle(later_s=100)
    one.node(True)
    await one.settle(later_s=10)
    one.node(False)
    assert await one.settle(later_s=1) == "up AllReady"
    assert await one.settle(later_s=299) == "up AllReady"
    assert one.replicas == [1]
    assert await one.settle(later_s=2) == "sleeping NoTraffic"


async def test_the_last_call_is_told_at_transitions_and_seldom_else():
    one = Sleeper()
    await one.come_up()
    one.call()
    await one.settle(later_s=20)
    await one.settle(later_s=20)
    told = one.status.last_activity_time
    one.call()
    await one.settle(later_s=20)
    assert one.status.last_activity_time == told
    one.call()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")
    await one.settle()
    assert one.status.last_activity_time != told


def test_an_engine_that_hangs_for_five_minutes_is_started_anew_and_is_not_put_to_sleep():
    seen = up_and_idle(load=Load(None, mute_s=299))
    assert decide(seen).reason is Reason.ALL_READY
    lost = decide(replace(seen, load=Load(None, mute_s=300)))
    assert (lost.reason, lost.verb, dict(lost.replicas)) == (Reason.ENGINE_MUTE, Verb.STALL, {TARGET: 0})
    assert lost.diagnosis.next_attempt_at is not None


def up_and_idle(**changes):
    """An endpoint of an engine that tells its load, up and called by nobody for an hour."""
    active = Condition(type="Active", status="True", reason="AllReady", last_transition_time=rfc3339(NOW - 3600))
    status = EndpointStatus(conditions=[active], revisions=Revisions(serving=TARGET))
    spec = a_spec(engine={"kind": "llamacpp"})
    return an_observation(spec=spec, status=status, workloads=workloads(target00=1), pods=(a_pod(ready=True),), **changes)


async def test_access_that_is_refused_beside_a_wake_ends_it_at_once(monkeypatch):
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()

    async def apply(world, seen, decision):
        await real(world, seen, decision)
        return GatedAccessDenied("No more.") if decision.life is Life.WAKING else None

    real = EndpointWorld.apply
    monkeypatch.setattr(EndpointWorld, "apply", apply)
    assert await one.look() == "failed GatedAccessDenied"
    assert one.replicas == [0] and one.status.sleep.since is None
    assert one.status.diagnosis.message == "No more."


async def test_a_wake_without_room_is_given_up_after_the_class_deadline_and_tried_again_by_a_later_call():
    one = Sleeper()
    await one.come_up()
    await one.fall_asleep()
    one.call()
    await one.look()
    one.kubelet(ready=False)
    pod = one.kube.all(POD)[0]
    no_room = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient memory."}]
    one.kube.put(POD, {**pod, "spec": {}, "status": {"phase": "Pending", "conditions": no_room}})
    assert await one.look(later_s=59) == "waking Waking"
    assert await one.look(later_s=2) == "sleeping WakeFailed"
    assert (one.status.diagnosis.reason, one.replicas) == (Reason.NO_CAPACITY, [0])


async def test_what_happens_is_told_in_events_in_the_same_words():
    one = Sleeper()
    await one.come_up()
    await one.settle(later_s=400)
    one.says("gw-1")
    one.says("gw-2")
    await one.look()
    assert one.outcome.told.message == "Went to sleep: The endpoint sleeps, since nobody called it."
    one.call()
    await one.look()
    assert one.outcome.told.message.startswith("Started waking: Endpoint is SLEEPING and is now WAKING UP;")
    assert await one.look() == "waking Waking", "a pod that was told to go and still looks ready is no answer"
    one.kubelet(ready=False)
    one.engine_fails("Error", 1)
    await one.look()
    assert one.outcome.told.warning and one.outcome.told.message.startswith("Went to sleep: The wake failed (")
