"""The pass: it reports whatever happened on the way, but never on stale ground."""

from __future__ import annotations

import pytest

from dedicated.api.errors import ApiConflict, ApiNotFound, ApiRefused, ApiUnavailable, HubRateLimited, HubUnavailable
from dedicated.api.reasons import Reason
from dedicated.controller.reconcile import reconcile
from tests.support.builders import NOW, a_finding, an_observation


class FakeWorld:
    """A world that answers as it is told and remembers what was reported."""

    def __init__(self, seen, apply_error=None, tell_at=None):
        self.seen, self.apply_error, self.tell_at, self.reported = seen, apply_error, tell_at, []

    async def observe(self):
        return self.seen

    async def apply(self, seen, decision):
        if self.apply_error:
            raise self.apply_error

    async def report(self, seen, decision):
        self.reported.append(decision)
        return None, self.tell_at


@pytest.mark.parametrize(
    ("error", "reports", "reason"),
    [
        (None, 1, Reason.ENGINE_STARTING),
        (ApiUnavailable("503"), 1, Reason.INTERNAL_ERROR),
        (ApiRefused("422"), 1, Reason.POD_REFUSED),
        (ApiConflict("409"), 0, None),
        (ApiNotFound("404"), 0, None),
    ],
    ids=["nothing", "the API server is away", "the API server refuses", "somebody wrote first", "it is gone"],
)
async def test_a_pass_reports_once_unless_its_ground_was_stale(error, reports, reason):
    world = FakeWorld(an_observation(), error)
    outcome = await reconcile(world)
    assert [decision.reason for decision in world.reported] == [reason] * reports
    assert outcome.back_off is (error is not None)


async def test_a_hub_that_is_away_backs_off_a_wait_that_it_names_is_kept_and_so_is_a_deadline():
    assert (await reconcile(FakeWorld(an_observation(target=None, model=None, problem=HubUnavailable())))).back_off
    limited = an_observation(target=None, model=None, problem=HubRateLimited("Wait.", retry_after_s=12.0))
    outcome = await reconcile(FakeWorld(limited))
    assert (outcome.back_off, outcome.look_again_at) == (False, NOW + 12)
    waits = an_observation(finding=a_finding(Reason.NO_CAPACITY, final=False), deadline=NOW + 30)
    assert (await reconcile(FakeWorld(waits))).look_again_at == NOW + 30
    assert (await reconcile(FakeWorld(waits, tell_at=NOW + 10))).look_again_at == NOW + 10
