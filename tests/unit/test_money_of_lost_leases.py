"""Jobs that somebody had, or may have written, without a record: none is run twice, or ended for nothing."""

from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.async_endpoint import RUN_SECONDS
from tests.fakes.async_road import AsyncRoad
from tests.fakes.budgeted_gateway import DAY
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_job
from tests.fakes.faults import Fault, Faults
from tests.fakes.gateway import FakeGateway
from tests.fakes.groups import group_road, run_groups, waiting_ids
from tests.fakes.money_house import MoneyHouse
from tests.fakes.sleepers import Sleepers
from tollgate.domain.cache.entry import CachedAnswer
from tollgate.domain.errors import ConflictError, OutcomeUnknownError, StorageError
from tollgate.domain.jobs.job import Job, JobState, Usage
from tollgate.services.jobs.claim_job import LEASE_SECONDS, claim_job
from tollgate.services.jobs.groups import ALONE
from tollgate.services.jobs.queries import JobQueries


class Down:
    """A table that takes no record of a submission while it is down."""

    def __init__(self, road: AsyncRoad) -> None:
        self.down = True
        self._change = road.jobs.change
        road.jobs.change = self.change  # type: ignore[method-assign]  # see above

    def change(self, job: Job, **conditions: Any) -> bool:
        if self.down and job.state is JobState.SUBMITTED:
            raise StorageError("x")
        return self._change(job, **conditions)


def _kept() -> tuple[AsyncRoad, Down]:
    """A job that was submitted, which only the bucket knows; its lease has run out."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    table = Down(road)
    road.submitter().submit("inf_1")
    assert road.jobs.jobs["inf_1"].state is JobState.QUEUED
    road.clock.advance(LEASE_SECONDS)
    table.down = False
    return road, table


def test_a_bucket_that_fails_once_forgets_no_submission() -> None:
    """The next delivery looks again, under the same lease, instead of submitting a second time."""
    road, _ = _kept()
    get = road.objects.get

    def fail(key: str) -> bytes | None:
        raise StorageError(key)

    road.objects.get = fail  # type: ignore[method-assign]  # for one delivery
    with pytest.raises(StorageError):
        road.submitter().submit("inf_1")
    road.objects.get = get  # type: ignore[method-assign]
    road.clock.advance(LEASE_SECONDS)
    road.submitter().submit("inf_1")
    assert road.jobs.jobs["inf_1"].state is JobState.SUBMITTED
    assert len(road.backend.submitted) == 1


@pytest.mark.parametrize("before", [False, True])
def test_a_death_while_a_kept_submission_is_recorded_forgets_nothing(*, before: bool) -> None:
    """Before the write or after it: one submission, and its record at last."""
    road, _ = _kept()
    with pytest.raises(CrashError):
        road.submitter(CrashPoint(1, before=before)).submit("inf_1")
    road.clock.advance(LEASE_SECONDS)
    road.submitter().submit("inf_1")
    assert road.jobs.jobs["inf_1"].state is JobState.SUBMITTED
    assert len(road.backend.submitted) == 1


def test_one_of_a_group_that_nothing_takes_costs_the_others_no_second_run() -> None:
    """Neither table nor bucket take the record of the first; those of the others are written all the same."""
    road = group_road(3)
    change, put = road.jobs.change, road.objects.put

    def flaky(job: Job, **conditions: Any) -> bool:
        if job.state is JobState.SUBMITTED and job.job_id == "inf_0":
            raise StorageError("x")
        return change(job, **conditions)

    def full(key: str, body: bytes, **named: Any) -> None:
        if key.startswith("results/inf_0"):
            raise StorageError("x")
        put(key, body, **named)

    road.jobs.change, road.objects.put = flaky, full  # type: ignore[method-assign]  # see above
    assert road.group_submitter().submit_all(waiting_ids(road)).keys() == {"inf_0", "inf_1", "inf_2"}
    states = [job.state for job in road.jobs.jobs.values()]
    assert states == [JobState.QUEUED, JobState.SUBMITTED, JobState.SUBMITTED]


def test_a_claim_with_an_old_copy_does_not_forget_what_a_group_has_held() -> None:
    """Read before its group was submitted, failed and was taken apart: the claim is refused, the share stays."""
    road = group_road(2)
    read = road.jobs.jobs["inf_0"]
    road.group_submitter().submit_all(waiting_ids(road))
    run_groups(road, poison="text 1")
    assert road.jobs.jobs["inf_0"].batch_id == f"{ALONE} mb_00000001"
    with pytest.raises(ConflictError):
        claim_job(road.jobs, read, road.clock.now())
    assert road.jobs.jobs["inf_0"].held_seconds == Decimal(1)


def test_what_somebody_had_is_not_called_off_for_nothing() -> None:
    """SageMaker may have the job although no record says so, and its lease is over."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    with pytest.raises(CrashError):
        road.submitter(CrashPoint(2)).submit("inf_1")
    assert len(road.backend.submitted) == 1
    road.clock.advance(LEASE_SECONDS + 1)
    queries = JobQueries(jobs=road.jobs, objects=road.objects, clock=road.clock)
    with pytest.raises(ConflictError) as refused:
        queries.cancel(OWNER, "inf_1")
    assert "may have been run already" in refused.value.message
    assert road.jobs.jobs["inf_1"].state is JobState.QUEUED


@pytest.mark.parametrize("failing", [None, 0, 1])
def test_both_runs_of_a_job_that_was_submitted_twice_are_paid(failing: int | None) -> None:
    """The first submitter died before it could say so. A notice that comes twice counts once."""
    house = MoneyHouse(Faults({1: Fault.DIES_AFTER}, of="AsyncEndpoint.submit"), busy=5)
    house.accept(1, "medium")
    while len(house.endpoint.runs) < 2:
        house.step()
    notices = house.endpoint.work()
    if failing is not None:
        notices[failing] = replace(notices[failing], completed=False)
    for notice in (*notices, *notices):
        house.completion.notice(notice)
    (job,) = house.jobs.jobs.values()
    (late,) = house.jobs.late.values()
    assert [job.held_seconds, late.held_seconds] == [RUN_SECONDS, RUN_SECONDS]
    assert late.usage == Usage()
    assert house.charged == house.ledger.counters[DAY].spent


def test_an_equal_jobs_answer_ends_nothing_that_is_being_run() -> None:
    """A second message has read the job before the first was acted upon: the run goes on, and is charged."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    read = road.jobs.jobs["inf_1"]
    road.submitter().submit("inf_1")
    answer = CachedAnswer({"label": "en"}, Usage(), "echo/small", Decimal(1), 0, 0, 1, 1)
    assert not road.completer().answered(read, answer)
    assert road.jobs.jobs["inf_1"].state is JobState.SUBMITTED


def test_a_deployment_that_leaves_while_its_job_runs_ends_no_run() -> None:
    """Who has the newer catalogue waits for the one who runs the job; the seconds are charged."""
    house = Sleepers()
    house.until_asleep()
    assert house.gateway.infer({"model": "echo", "input": "hello", "priority": "high"}).status == 202
    (job_id,) = house.gateway.jobs.jobs
    house.deliver()
    house.minutes(3)
    job = house.gateway.jobs.jobs[job_id]
    lease = house.clock.now() + timedelta(seconds=LEASE_SECONDS)
    house.gateway.jobs.jobs[job_id] = job._replace(submit_lease_until=lease, deployment="gone")
    with pytest.raises(ConflictError):
        house.deferred.run(job_id)
    assert house.gateway.jobs.jobs[job_id].state is JobState.QUEUED
    house.clock.advance(LEASE_SECONDS)
    house.deferred.run(job_id)
    assert house.gateway.jobs.jobs[job_id].state is JobState.FAILED


def test_a_job_that_may_have_been_written_is_not_accepted_a_second_time() -> None:
    """The write's answer is lost and the look after it fails: the idempotency key stays with the first job."""
    gateway = FakeGateway()
    add, get = gateway.jobs.add, gateway.jobs.get

    def lost(*values: Any) -> None:
        add(*values)
        raise OutcomeUnknownError("x")

    def down(_: str) -> Job | None:
        raise StorageError("x")

    body, headers = {"model": "echo", "input": "hello", "priority": "medium"}, {"idempotency-key": "once"}
    gateway.jobs.add, gateway.jobs.get = lost, down  # type: ignore[assignment,method-assign]  # see above
    assert gateway.infer(body, headers=headers).status == 503
    gateway.jobs.add, gateway.jobs.get = add, get  # type: ignore[method-assign]
    assert gateway.infer(body, headers=headers).status == 409
    assert len(gateway.jobs.jobs) == 1
