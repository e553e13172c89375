"""What nobody finished on the batch road is found and ended truthfully."""

from copy import replace
from datetime import timedelta

import pytest

from tests.fakes.batch_road import RESOURCE
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.swept_house import SweptHouse
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.job import OPEN_STATES, JobState
from tollgate.ports.jobs import JobPage


@pytest.fixture
def house() -> SweptHouse:
    return SweptHouse()


def test_a_run_left_in_preparation_is_taken_up(house: SweptHouse) -> None:
    """Its dispatcher died; not before anybody alive could still be at it."""
    house.add_jobs(4)
    with pytest.raises(CrashError):
        house.dispatcher(CrashPoint(7)).wake(RESOURCE)
    house.sweep_for(300)
    assert not house.backend.started
    house.sweep_for(120)
    assert len(house.backend.started) == 1
    assert {run.state for run in house.batches.runs.values()} == {BatchState.RUNNING}


def test_an_end_that_nobody_announced_is_found(house: SweptHouse) -> None:
    """The event was lost; SageMaker is asked."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    [name] = house.backend.started
    house.sweep_for(240)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.SUBMITTED}
    house.run_transform(name)
    house.sweep_for(60)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}


def test_a_transform_job_that_vanished_is_started_again(house: SweptHouse) -> None:
    """SageMaker knows nothing of it."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    house.backend.started.clear()
    house.backend.statuses.clear()
    house.sweep_for(180)
    assert len(house.backend.started) == 1


def test_a_dropped_file_left_in_preparation_is_taken_up(house: SweptHouse) -> None:
    """Like a run of jobs."""
    house.objects.put("batch-input/echo/a.jsonl", b"1\n2\n3\n")
    with pytest.raises(CrashError):
        house.drops(CrashPoint(2)).dropped("batch-input/echo/a.jsonl", "v1")
    house.sweep_for(420)
    assert len(house.backend.started) == 1


def test_a_pool_that_should_have_left_is_woken_once_a_sweep(house: SweptHouse) -> None:
    """One tick for the deployment, however many jobs wait."""
    house.add_jobs(3)
    house.sweep_for(420)
    assert not house.queue.sent
    house.sweep_for(60)
    assert house.queue.bodies == [{"kind": "tick", "resource": RESOURCE}]


def test_a_batch_job_without_a_run_goes_back_to_its_pool(house: SweptHouse) -> None:
    """Its run has ended or never was; one whose run goes on stays."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    [run] = house.batches.runs.values()
    house.batches.runs[run.batch_id] = replace(run, state=BatchState.ENDED)
    stray = house.job("inf_000")
    house.jobs.change(stray._replace(batch_id="tollgate-none"), expected=OPEN_STATES)
    house.sweep_for(1_020)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.QUEUED}
    assert house.telemetry.counts["RequeuedBatchJob"] == 4


def test_a_batch_job_that_another_run_has_taken_since_stays_there(house: SweptHouse) -> None:
    """A sweep looks at many, and what it has read of the last of them is seconds old by then."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    job = house.job("inf_000")
    read = job._replace(batch_id="tollgate-ended")
    house.jobs.open_since = lambda *_args, **_options: JobPage([read], None)  # type: ignore[method-assign]  # see above
    house.sweep_for(1_020)
    assert house.job("inf_000") == job
    assert job.state is JobState.SUBMITTED


def test_a_batch_job_that_waits_for_its_second_run_stays(house: SweptHouse) -> None:
    """Between the end of the first run and the preparation of the second it is in neither."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    [run] = house.batches.runs.values()
    house.batches.runs[run.batch_id] = replace(run, state=BatchState.ENDED)
    second = replace(
        run,
        batch_id=run.retry_id,
        attempt=2,
        parent=run.batch_id,
        created_at=house.clock.now() + timedelta(days=1),
        state=BatchState.PREPARING,
    )
    house.batches.add(second)
    house.sweep_for(1_020)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.SUBMITTED}


def test_a_batch_job_expires_in_the_end(house: SweptHouse) -> None:
    """After three days, queued or submitted."""
    house.add_jobs(2)
    stray = house.job("inf_000")
    house.jobs.change(stray._replace(state=JobState.SUBMITTED, batch_id="x"), expected=OPEN_STATES)
    house.clock.advance(3 * 86_400 + 60)
    house.sweeper.sweep()
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.EXPIRED}


def test_a_batch_job_that_expired_unanswered_pays_for_its_share_of_the_run(house: SweptHouse) -> None:
    """The instance worked for it; once, however often the end of the run is told. The answered one pays as ever."""
    house.add_jobs(2)
    house.clock.advance(400)
    house.dispatcher().wake(RESOURCE)
    [name] = house.backend.started
    house.clock.advance(3 * 86_400)
    house.sweeper.sweep()
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.EXPIRED}
    house.run_transform(name, bad=lambda value: value == 1, seconds=60)
    for _ in range(2):
        house.collect(name)
        house.batches.runs[name] = replace(house.batches.runs[name], state=BatchState.RUNNING)
    assert [late.held_seconds for late in house.jobs.late.values()] == [30, 30]
    assert all(late.bill is not None and late.bill.charged > 0 for late in house.jobs.late.values())
