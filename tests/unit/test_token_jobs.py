"""Jobs that are paid by the token: run once, never charged twice, never lost."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import counter_of
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.token_house import TOKENS, TokenHouse, completion, dollars, token_catalogue
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    CapacityError,
    ConflictError,
    OutcomeUnknownError,
    StorageError,
)
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobState
from tollgate.services.jobs.queries import JobQueries

OWN_PARTS = Decimal("0.0003")
"""More than the gateway's own parts of a job cost."""


def _accepted(house: TokenHouse) -> str:
    job_id = house.accept()
    house.submitter().submit(job_id)
    return job_id


def test_a_job_goes_through_both_queues_and_is_charged_by_its_tokens() -> None:
    """The function that submits jobs hands it on to the one that can wait for the answer."""
    house = TokenHouse(limit="1")
    job_id = house.accept(priority="low")
    assert house.gateway.deferred_queue.sent == []
    house.submitter().submit(job_id)
    assert house.gateway.deferred_queue.bodies == [{"kind": "job", "job_id": job_id, "resource": "chat/paid"}]
    house.gateway.realtime.answer = completion(1_000, 200, cached=400)
    house.runner().run(job_id)
    job = house.job(job_id)
    assert (job.state, job.output.inline) == (JobState.COMPLETED, {"text": "384,400 km", "finish_reason": "stop"})
    assert (job.usage.input_tokens, job.usage.cached_input_tokens) == (1_000, 400)
    assert job.finished_at is not None
    assert job.started_at == job.finished_at - timedelta(seconds=house.gateway.realtime.takes)
    tokens = dollars(1_000, 200, 400)
    assert job.effective_cost is not None
    assert tokens < job.effective_cost < tokens + OWN_PARTS
    counter = counter_of(house.gateway)
    assert (counter.spent, counter.committed) == (job.effective_cost, job.effective_cost)
    assert house.telemetry.requests[-1].usage.cached_input_tokens == 400


def test_messages_that_come_twice_run_nothing_twice() -> None:
    """To either function, before or after the end."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.submitter().submit(job_id)
    for _ in range(3):
        house.runner().run(job_id)
    house.submitter().submit(job_id)
    assert len(house.gateway.realtime.calls) == 1
    assert counter_of(house.gateway).spent == house.job(job_id).effective_cost


def test_two_at_once_make_one_call() -> None:
    """The second finds the job taken while the first one waits for its answer."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    second = house.runner()

    def meanwhile() -> bytes:
        second.run(job_id)
        return completion()

    house.gateway.realtime.script = meanwhile
    house.runner().run(job_id)
    assert len(house.gateway.realtime.calls) == 1
    assert house.job(job_id).state is JobState.COMPLETED


def test_a_lease_of_another_way_is_respected() -> None:
    """A job whose deployment was on SageMaker a moment ago may just be submitted there."""
    house = TokenHouse()
    job_id = _accepted(house)
    job = house.job(job_id)
    leased = job._replace(submit_lease_until=house.clock.now().replace(year=2030))
    house.gateway.jobs.jobs[job_id] = leased
    with pytest.raises(ConflictError):
        house.runner().run(job_id)
    assert house.gateway.realtime.calls == []


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", range(1, 4))
def test_a_function_that_dies_anywhere_causes_no_second_call(after: int, *, before: bool) -> None:
    """Redelivered or not, the provider is asked once at most, and the hold covers whatever it charged."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    with pytest.raises(CrashError):
        house.runner(CrashPoint(after, before=before)).run(job_id)
    called = len(house.gateway.realtime.calls)
    house.runner().run(job_id)
    job, counter = house.job(job_id), counter_of(house.gateway)
    assert len(house.gateway.realtime.calls) <= 1
    assert called <= 1
    if job.state in FINAL_STATES:
        assert counter.spent == job.effective_cost
    else:
        # The sweeper ends it when the lease is over.
        assert (job.state, counter.spent) == (JobState.SUBMITTED, Decimal(0))
        assert job.reservation is not None
        assert counter.committed == job.reservation.amount
        assert job.submit_lease_until is not None


@pytest.mark.parametrize("done", [True, False])
def test_a_beginning_whose_answer_was_lost_is_looked_up(*, done: bool) -> None:
    """Begun, the job goes on at once: nobody else would run it, and its hold would be charged for nothing."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    write, lost = house.gateway.jobs.change, [True]

    def change(job: Job, **options: Any) -> bool:
        if job.state is JobState.SUBMITTED and lost.pop():
            if done:
                write(job, **options)
            raise OutcomeUnknownError("The job store did not confirm in time.")
        return write(job, **options)

    house.gateway.jobs.change = change  # type: ignore[method-assign]  # the table, not the code under test
    if not done:
        with pytest.raises(OutcomeUnknownError):
            house.runner().run(job_id)
        lost.append(False)
    house.runner().run(job_id)
    house.runner().run(job_id)
    assert len(house.gateway.realtime.calls) == 1
    assert house.job(job_id).state is JobState.COMPLETED
    assert counter_of(house.gateway).spent == house.job(job_id).effective_cost


@pytest.mark.parametrize("error", [BackendThrottledError("slow down"), CapacityError("full")])
def test_a_busy_provider_is_asked_again_after_a_pause(error: BackendError) -> None:
    """The job is queued as if nothing had been tried, and its message comes back by itself."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.gateway.realtime.answer = error
    house.runner().run(job_id)
    house.clock.advance(100)
    house.runner().run(job_id)
    job = house.job(job_id)
    assert (job.state, job.submitted_at, job.submit_lease_until) == (JobState.QUEUED, None, None)
    assert [m.delay_seconds for m in house.gateway.deferred_queue.sent] == [0, 5, 50]
    assert counter_of(house.gateway).spent == 0
    house.gateway.realtime.answer = completion()
    house.runner().run(job_id)
    assert house.job(job_id).state is JobState.COMPLETED


def test_an_answer_that_cannot_be_written_down_is_kept() -> None:
    """It was paid for: it waits in the bucket, where the job's record says."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    jobs, run = house.gateway.jobs, house.runner()
    change = jobs.change

    def broken(*args: object, **kwargs: object) -> bool:
        if house.gateway.realtime.calls:
            raise StorageError("the table is down")
        return change(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    jobs.change = broken  # type: ignore[method-assign]  # until the table is back
    run.run(job_id)
    job = house.job(job_id)
    assert job.state is JobState.SUBMITTED
    assert job.output_location is not None
    key = house.gateway.objects.key_of(job.output_location)
    assert key is not None
    assert house.gateway.objects.get(key) == completion()


def test_a_job_that_is_no_longer_covered_is_not_run() -> None:
    """Rates may rise between acceptance and the call; what was held must cover the most that it can cost."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    dearer = TOKENS.replace("max_output_tokens = 500", "max_output_tokens = 5000")
    house.gateway.catalogues.catalogue = token_catalogue(dearer, limit="1")
    house.runner().run(job_id)
    job = house.job(job_id)
    assert house.gateway.realtime.calls == []
    assert job.failure is not None
    assert (job.state, job.failure.code) == (JobState.FAILED, "invalid_request")
    assert counter_of(house.gateway).spent < OWN_PARTS


def test_a_deployment_that_has_moved_to_instances_ends_the_job() -> None:
    """The runner makes no call that the catalogue does not name."""
    house = TokenHouse()
    job_id = _accepted(house)
    house.gateway.catalogues.catalogue = token_catalogue(TOKENS.replace("deployments.paid", "deployments.other"))
    house.runner().run(job_id)
    assert house.job(job_id).state is JobState.FAILED
    assert house.gateway.realtime.calls == []


def test_a_job_whose_time_is_over_is_left_to_the_sweeper() -> None:
    """It would end the job as expired, at no cost, while the provider works on it."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.clock.advance(21_600 + 900 + 1)
    house.runner().run(job_id)
    assert house.gateway.realtime.calls == []
    assert house.job(job_id).state is JobState.QUEUED


def test_a_running_job_cannot_be_called_off() -> None:
    """Its call may already cost something; before it begins, calling it off gives the hold back."""
    house = TokenHouse(limit="1")
    queries = JobQueries(jobs=house.gateway.jobs, objects=house.gateway.objects, clock=house.clock)
    waiting, running = house.accept(), _accepted(house)

    def meanwhile() -> bytes:
        with pytest.raises(ConflictError):
            queries.cancel(house.job(running).owner, running)
        return completion()

    house.gateway.realtime.script = meanwhile
    house.runner().run(running)
    assert queries.cancel(house.job(waiting).owner, waiting).state is JobState.CANCELLED
    house.runner().run(waiting)
    assert len(house.gateway.realtime.calls) == 1
    counter = counter_of(house.gateway)
    assert counter.committed == counter.spent == house.job(running).effective_cost


def test_who_finds_a_job_not_covered_does_not_end_one_that_runs() -> None:
    """Its message came twice, and both read it as queued; one of them by a catalogue that was in force before."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    read, second = house.job(job_id), house.runner()

    def meanwhile() -> bytes:
        house.at_rate(2, "90")
        assert second._by_token is not None
        second._by_token().run(read)
        return completion(1_000, 200)

    house.gateway.realtime.script = meanwhile
    house.runner().run(job_id)
    job = house.job(job_id)
    assert job.state is JobState.COMPLETED
    assert job.effective_cost == counter_of(house.gateway).spent > dollars(1_000, 200)


def test_a_job_that_was_put_back_and_begun_again_is_not_put_back_twice() -> None:
    """The table's yes was lost, and somebody else has made the call when the write is tried once more."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    write, second, lost = house.gateway.jobs.change, house.runner(CrashPoint(2)), [True]

    def change(job: Job, **options: Any) -> bool:
        done = write(job, **options)
        if job.state is JobState.QUEUED and lost and lost.pop():
            house.gateway.realtime.answer = completion()
            house.clock.advance(1)
            with pytest.raises(CrashError):
                second.run(job_id)
            raise OutcomeUnknownError("The job store did not confirm in time.")
        return done

    house.gateway.jobs.change = change  # type: ignore[method-assign]  # the table, not the code under test
    house.gateway.realtime.answer = BackendThrottledError("slow down")
    house.runner().run(job_id)
    house.runner().run(job_id)
    assert len(house.gateway.realtime.calls) == 2
    assert house.job(job_id).state is JobState.SUBMITTED
