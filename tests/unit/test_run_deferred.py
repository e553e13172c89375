"""A deferred job whose end the table does not take: nothing is run, or paid for, a second time."""

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.sleepers import Sleepers
from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.errors import ConflictError, ModelFailedError, StorageError
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobState
from tollgate.services.jobs.claim_job import LEASE_SECONDS
from tollgate.services.jobs.deferred_calls import MODEL_LIMIT_SECONDS

URGENT = {"model": "echo", "input": "hello", "priority": "high"}


class House:
    """A job that waited for its endpoint, and a table that may take no end of it."""

    def __init__(self) -> None:
        self.house = Sleepers()
        self.house.until_asleep()
        answer = self.house.gateway.infer(URGENT)
        assert answer.status == 202, answer.body
        (self.job_id,) = self.house.gateway.jobs.jobs
        self.house.deliver()
        self.house.minutes(3)
        self.down = True
        self.change = self.house.gateway.jobs.change
        self.house.gateway.jobs.change = self.flaky  # type: ignore[method-assign]  # see above

    def flaky(self, job: Job, **conditions: Any) -> bool:
        """The table takes claims, and no ends while it is down."""
        if self.down and job.state in FINAL_STATES:
            raise StorageError("x")
        return self.change(job, **conditions)

    def run(self) -> Job:
        """Deliver the job's message."""
        self.house.deferred.run(self.job_id)
        return self.house.gateway.jobs.jobs[self.job_id]


@pytest.mark.parametrize(
    ("failure", "state"),
    [(None, JobState.COMPLETED), (ModelFailedError("boom", original_status=500), JobState.FAILED)],
)
def test_an_end_that_cannot_be_written_is_kept_in_the_bucket(failure: Exception | None, state: JobState) -> None:
    """The next delivery ends the job with it: one run, charged with the seconds that it took."""
    house = House()
    realtime = house.house.gateway.realtime
    if failure is not None:
        realtime.answer = failure
    with pytest.raises(StorageError):
        house.run()
    assert len(realtime.calls) == 1
    house.down = False
    job = house.run()
    assert len(realtime.calls) == 1
    assert job.state is state
    assert float(job.held_seconds or 0) == pytest.approx(realtime.takes)
    assert job.effective_cost


@pytest.mark.parametrize(("paid", "limit"), [(None, MODEL_LIMIT_SECONDS), (2.5, 2.5), (900.0, MODEL_LIMIT_SECONDS)])
def test_a_call_takes_no_longer_than_is_paid_for(paid: float | None, limit: float) -> None:
    """It is cut when its reservation is used up, or with the function."""
    house = House()
    house.down = False
    jobs = house.house.gateway.jobs.jobs
    held = None if paid is None else Reservation("h1", Decimal(1), (), seconds=paid)
    jobs[house.job_id] = jobs[house.job_id]._replace(reservation=held)
    house.run()
    assert house.house.gateway.realtime.timeouts == [limit]


def test_who_finds_nothing_kept_waits_for_the_lease() -> None:
    """While it lasts somebody may be at work; later the job is run, for it must not be lost."""
    house = House()
    realtime, put = house.house.gateway.realtime, house.house.gateway.objects.put

    def no_bucket(*_: Any, **__: Any) -> None:
        raise StorageError("x")

    house.house.gateway.objects.put = no_bucket  # type: ignore[method-assign]  # it fails as well
    with pytest.raises(StorageError):
        house.run()
    house.house.gateway.objects.put = put  # type: ignore[method-assign]
    house.down = False
    with pytest.raises(ConflictError):
        house.run()
    house.house.clock.advance(LEASE_SECONDS)
    assert house.run().state is JobState.COMPLETED
    assert len(realtime.calls) == 2
