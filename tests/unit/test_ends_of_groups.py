"""Jobs that went together, or might have: what they pay however they end, and what parts them from others."""

import json
from decimal import Decimal

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.examples import OWNER
from tests.fakes.groups import POLICY, group_catalogue, group_road, run_groups, waiting_ids
from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.domain.jobs.job import JobFailure, JobState, Payload
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.groups import GROUP_PREFIX
from tollgate.services.jobs.queries import JobQueries


def _put_back() -> AsyncRoad:
    """Two jobs that wait for their second try, each with half of the two seconds that their group held."""
    road = group_road(2)
    road.group_submitter().submit_all(waiting_ids(road))
    run_groups(road, poison="text 1")
    assert [job.state for job in road.jobs.jobs.values()] == [JobState.QUEUED, JobState.QUEUED]
    return road


@pytest.mark.parametrize("ending", ["expired", "failed"])
def test_what_a_failed_group_held_is_paid_however_its_jobs_end(ending: str) -> None:
    """Also by those that nobody runs any more."""
    road = _put_back()
    for job in list(road.jobs.jobs.values()):
        if ending == "expired":
            assert road.completer().expire(job, "No endpoint took the request in time.")
            assert not road.completer().expire(job, "The same, said twice.")
        else:
            assert road.completer().fail(job, JobFailure("invalid_request", "Its deployment has gone."))
    rates = gateway_rates(group_catalogue().gateway_prices)
    for job in road.jobs.jobs.values():
        assert job.bill is not None
        assert job.bill.instance == pytest.approx(Decimal("0.115") / 3600)
        assert job.effective_cost == job.bill.charged > job.bill.instance + rates.by_road[InferenceType.ASYNC]
    assert road.jobs.late == {}


def test_an_answer_after_the_end_is_counted_without_what_a_failed_group_held() -> None:
    """That is on the job's own record: both together are the seconds and dollars of the instance, once each."""
    road = _put_back()
    (name, *_) = waiting_ids(road)
    road.submitter().submit(name)
    assert road.completer().expire(road.jobs.jobs[name], "SageMaker reported neither an answer nor a failure in time.")
    began = road.clock.now()
    road.clock.advance(3)
    location = road.answer(name, b'{"label": "en"}')
    road.completion().notice(
        AsyncNotice(name, completed=True, received_at=began, finished_at=road.clock.now(), output_location=location)
    )
    job, late = road.jobs.jobs[name], road.jobs.late[f"{name}#late"]
    assert [job.held_seconds, late.held_seconds] == [Decimal(1), Decimal(3)]
    assert job.bill is not None
    assert late.bill is not None
    assert [job.bill.instance, late.bill.instance] == [pytest.approx(s * Decimal("0.115") / 3600) for s in (1, 3)]


def test_a_job_whose_group_has_failed_cannot_be_called_off_for_nothing() -> None:
    """An instance has worked for it; it waits for its second try."""
    road = _put_back()
    queries = JobQueries(jobs=road.jobs, objects=road.objects, clock=road.clock)
    with pytest.raises(ConflictError):
        queries.cancel(OWNER, "inf_0")
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.QUEUED}


def test_a_group_that_was_given_up_is_charged_when_it_ends_after_all() -> None:
    """Each of its jobs its own share, once; those that have ended otherwise pay nothing more."""
    road = group_road(3)
    road.group_submitter().submit_all(waiting_ids(road))
    for name in ("inf_0", "inf_1"):
        assert road.completer().expire(
            road.jobs.jobs[name], "SageMaker reported neither an answer nor a failure in time."
        )
    run_groups(road)
    assert road.jobs.jobs["inf_2"].state is JobState.COMPLETED
    shares = [late.held_seconds for late in road.jobs.late.values()] + [road.jobs.jobs["inf_2"].held_seconds]
    assert list(road.jobs.late) == ["inf_0#late", "inf_1#late"]
    assert sum(share or 0 for share in shares) == 2
    answered = road.jobs.jobs["inf_2"].effective_cost
    assert answered is not None
    for name in ("inf_0", "inf_1"):
        charged = [job.bill.charged for job in (road.jobs.jobs[name], road.jobs.late[f"{name}#late"]) if job.bill]
        assert sum(charged) == pytest.approx(answered, abs=Decimal("1E-8"))


def test_what_is_too_large_for_company_goes_first_and_parts_nobody() -> None:
    """It is not kept in memory while the others are read, and those before and after it still go together."""
    road = group_road(3)
    road.jobs.jobs["inf_1"] = road.jobs.jobs["inf_1"]._replace(input=Payload(inline="x" * POLICY.max_bytes))
    assert road.group_submitter().submit_all(waiting_ids(road)) == {}
    (alone, *_), (group, body, *_) = road.backend.submitted
    assert (alone, group[: len(GROUP_PREFIX)]) == ("inf_1", GROUP_PREFIX)
    assert json.loads(body)["inputs"] == ["text 0", "text 2"]


@pytest.mark.parametrize("policy", [None, POLICY])
def test_a_job_that_nobody_foresaw_brings_back_its_own_message_only(policy: MicroBatchPolicy | None) -> None:
    """Otherwise those that share its event would end among the dead letters, again and again."""
    road = group_road(4, policy=policy)
    road.jobs.jobs["inf_1"] = road.jobs.jobs["inf_1"]._replace(input=Payload(key="async-input/broken"))
    road.objects.put("async-input/broken", b"{")
    failures = road.group_submitter().submit_all(waiting_ids(road))
    assert list(failures) == ["inf_1"]
    states = {name: job.state for name, job in road.jobs.jobs.items()}
    assert states.pop("inf_1") is JobState.QUEUED
    assert set(states.values()) == {JobState.SUBMITTED}


def test_a_notice_that_comes_twice_at_once_puts_nothing_back_that_runs_again() -> None:
    """The second one has read the jobs before the first put them back; since then they were submitted alone."""
    road = group_road(2)
    road.group_submitter().submit_all(waiting_ids(road))
    read, now = list(road.jobs.jobs.values()), road.clock.now()
    notice = AsyncNotice(road.backend.submitted.pop()[0], False, now, now, None, "ModelError")  # noqa: FBT003 -- a field
    road.completion().notice(notice)
    road.group_submitter().submit_all(waiting_ids(road))
    alone = dict(road.jobs.jobs)
    road.jobs.get_many = lambda job_ids: [job for job in read if job.job_id in job_ids]  # type: ignore[method-assign]  # old
    road.completion().notice(notice)
    assert road.jobs.jobs == alone
    assert {job.state for job in alone.values()} == {JobState.SUBMITTED}


def test_a_failure_that_meets_the_record_of_its_submission_is_told_again() -> None:
    """The job was read before it was written down that it is in the group."""
    road = group_road(2)
    road.group_submitter().submit_all(waiting_ids(road))
    group = road.backend.submitted.pop()[0]
    read = [job._replace(state=JobState.QUEUED, batch_id=None) for job in road.jobs.jobs.values()]
    get_many, found, now = road.jobs.get_many, [read], road.clock.now()
    road.jobs.get_many = lambda job_ids: found.pop() if found else get_many(job_ids)  # type: ignore[method-assign]  # once
    notice = AsyncNotice(group, False, now, now, None, "ModelError")  # noqa: FBT003 -- as above
    with pytest.raises(StorageError):
        road.completion().notice(notice)
    road.completion().notice(notice)
    assert waiting_ids(road) == ["inf_0", "inf_1"]


def test_a_group_may_run_as_long_as_every_jobs_own_share_is_paid_for() -> None:
    """One that has money for half a minute gets no more than that of an invocation, whatever the others could pay."""
    road = group_road(3)
    jobs = road.jobs.jobs
    for name, paid in (("inf_0", 600.0), ("inf_1", 30.0), ("inf_2", 45.0)):
        jobs[name] = jobs[name]._replace(reservation=Reservation("h1", Decimal("0.01"), (), seconds=paid))
    road.group_submitter().submit_all(waiting_ids(road))
    ((_, _, _, timeout),) = road.backend.submitted
    assert timeout == 90
    assert timeout / 3 <= 30
