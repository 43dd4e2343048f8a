"""Which logs outlive their pods, and which go first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedicated.api.endpointlog import Moment
from dedicated.api.reasons import Reason
from dedicated.lifecycle.decide import decide
from dedicated.lifecycle.records import Kept, runs_to_keep, too_many
from tests.support.builders import NOW, TARGET, a_finding, a_pod, an_engine, an_observation, ended, failed_before, serving, workloads


def kept(seen):
    return list(runs_to_keep(seen, decide(seen)))


def crashed(**changes):
    return a_pod(containers=(an_engine(last=ended(1), restarts=1, log_tail="last words", **changes),))


def test_a_run_that_failed_is_kept_whether_or_not_the_attempt_is_given_up():
    for final in (True, False):
        seen = an_observation(pods=(crashed(),), finding=a_finding(final=final, container="engine"), workloads=workloads(**{TARGET: 1}))
        (run,) = kept(seen)
        assert (run.moment, run.container, run.exit_code, run.attempt, run.log) == (Moment.FAILED, "engine", 1, 1, "last words")
        assert run.ended_at - run.started_at == 5


def test_a_run_of_a_later_attempt_says_which():
    seen = an_observation(pods=(crashed(),), finding=a_finding(container="engine"), status=failed_before(next_in_s=-1))
    assert kept(seen)[0].attempt == 2


def test_the_same_run_has_the_same_mark_and_the_next_one_another():
    seen = an_observation(pods=(crashed(),), finding=a_finding(container="engine"))
    later = an_observation(now=NOW + 99, pods=(crashed(),), finding=a_finding(container="engine"))
    other = an_observation(
        pods=(a_pod(containers=(an_engine(last=replace(ended(1), finished_at=NOW + 50), log_tail="x"),)),), finding=a_finding(container="engine")
    )
    assert kept(seen)[0].mark == kept(later)[0].mark != kept(other)[0].mark


def test_an_engine_that_hangs_is_kept_when_it_is_given_up_and_not_before():
    hanging = a_pod(containers=(an_engine(running_since=NOW - 600, log_tail="loading"),))
    for final, count in ((True, 1), (False, 0)):
        finding = a_finding(Reason.PROBE_NEVER_PASSED, final=final, container="engine")
        assert len(kept(an_observation(pods=(hanging,), finding=finding))) == count


def up(**changes):
    pod = a_pod(ready=True, containers=(an_engine(running_since=NOW - 50, ready=True),))
    return an_observation(pods=(pod,), workloads=workloads(**{TARGET: 1}), **changes)


def test_the_first_readiness_of_a_revision_is_kept_once():
    (run,) = kept(up())
    assert (run.moment, run.revision, run.log, run.ended_at) == (Moment.READY, TARGET, None, 0.0)
    assert kept(up(status=serving())) and not kept(up(status=serving(TARGET)))


@pytest.mark.parametrize(
    "changes", [{"deleting": True}, {"finding": a_finding()}, {}], ids=["being deleted", "no container failed", "nothing happened"]
)
def test_nothing_is_kept(changes):
    assert kept(an_observation(pods=(crashed(),), **changes)) == []


RECORDS = st.lists(
    st.builds(
        Kept,
        namespace=st.just("n"),
        name=st.uuids().map(str),
        uid=st.uuids().map(str),
        endpoint_id=st.sampled_from("abcdef"),
        size=st.integers(min_value=1, max_value=100),
        at=st.integers(min_value=0, max_value=50).map(float),
    ),
    max_size=40,
)


@given(RECORDS, st.integers(min_value=0, max_value=1000))
def test_what_is_left_is_within_the_limit_two_an_endpoint_and_nothing_newer_goes_before_something_older(records, limit):
    gone = too_many(records, limit)
    left = [one for one in records if one not in gone]
    assert sum(one.size for one in left) <= limit
    assert all(sum(one.endpoint_id == which for one in left) <= 2 for which in "abcdef")
    for one in gone:
        newer = [other for other in left if other.at < one.at and other.endpoint_id == one.endpoint_id]
        assert not newer


def test_nothing_goes_while_there_is_room():
    assert too_many([Kept("n", str(at), "u", str(at), 16_384, float(at)) for at in range(1000)]) == []
