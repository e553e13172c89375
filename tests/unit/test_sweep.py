"""What nobody finished is found and ended truthfully."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_job
from tests.fakes.messages import InMemoryQueue
from tests.fakes.telemetry import InMemoryHoldingStore
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.domain.batches import BatchState
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.file_batches import COMPLETION_WINDOW, FileBatch, FileBatchStatus
from tollgate.domain.jobs import OPEN_STATES, Job, JobState
from tollgate.domain.ledger import Reservation
from tollgate.domain.sweeping import look_due
from tollgate.services.complete_async import AsyncCompletion
from tollgate.services.complete_together import GroupCompletion
from tollgate.services.sweep import Sweeper, SweepQueues, SweepServices


class _House(BatchRoad):
    """The batch road with a sweeper over it, which looks at both roads."""

    def __init__(self) -> None:
        super().__init__()
        self.async_queue = InMemoryQueue()
        self.deferred_queue = InMemoryQueue()
        nothing = CrashPoint(0)
        self.sweeper = Sweeper(
            jobs=self.jobs,
            batches=self.batches,
            file_batches=self.file_batches,
            catalogues=self.catalogues,
            backend=self.backend,
            backlog=self.measurements,
            queues=SweepQueues(
                asynchronous=self.async_queue, deferred=self.deferred_queue, batch=self.queue, webhooks=self.webhooks
            ),
            services=SweepServices(
                completion=AsyncCompletion(
                    jobs=self.jobs,
                    objects=self.objects,
                    catalogues=self.catalogues,
                    holding=InMemoryHoldingStore(),
                    completer=self.completer(nothing),
                    groups=GroupCompletion(
                        jobs=self.jobs,
                        objects=self.objects,
                        holding=InMemoryHoldingStore(),
                        merger=InputsMerger(),
                        completer=self.completer(nothing),
                        catalogues=self.catalogues,
                        durations=self.measurements,
                        queue=self.async_queue,
                        telemetry=self.telemetry,
                    ),
                    telemetry=self.telemetry,
                ),
                completer=self.completer(nothing),
                collector=self.collector(),
                pooled=self.pooled(),
                drops=self.drops(),
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def sweep_for(self, seconds: float) -> None:
        """A sweep a minute."""
        for _ in range(int(seconds // 60)):
            self.clock.advance(60)
            self.sweeper.sweep()

    def job(self, job_id: str = "inf_1") -> Job:
        found = self.jobs.get(job_id)
        assert found is not None
        return found


@pytest.fixture
def house() -> _House:
    return _House()


def _submitted(house: _House, **changes: Any) -> Job:
    base = f"s3://{house.objects.bucket}/async-output/x/inf_1"
    job = make_job(
        state=JobState.SUBMITTED,
        submitted_at=house.clock.now(),
        output_location=f"{base}.out",
        failure_location=f"{base}-error.out",
        **changes,
    )
    house.jobs.add(job)
    return job


def test_looks_become_rarer() -> None:
    """A thing of six hours is looked at some twenty times, and never between marks twice as old."""
    ages = [float(age) for age in range(0, 21_600, 60)]
    looks = [age for age in ages if look_due(age, first=120, factor=1.3)]
    assert looks[0] == 120
    assert 15 <= len(looks) <= 40
    gaps = [later / earlier for earlier, later in itertools.pairwise(looks)]
    assert max(gaps) < 2


def test_a_look_that_was_missed_once_is_made_up_for() -> None:
    """Every mark is seen even if a sweep comes half a minute late."""
    assert look_due(205, first=120, factor=1.3)


def test_a_queued_job_is_queued_again(house: _House) -> None:
    """Its message was lost; it is sent again now and then, not every minute."""
    house.jobs.add(make_job())
    house.sweep_for(120)
    assert house.async_queue.bodies == [{"kind": "job", "job_id": "inf_1", "resource": "echo/small"}]
    house.sweep_for(3_000)
    assert 4 <= len(house.async_queue.sent) <= 10


def test_a_job_that_is_being_submitted_is_left_alone(house: _House) -> None:
    """Its lease still runs."""
    house.jobs.add(make_job(submit_lease_until=house.clock.now() + timedelta(hours=9)))
    house.sweep_for(600)
    assert not house.async_queue.sent


def test_a_job_that_nobody_takes_expires(house: _House) -> None:
    """After the request's time to live, the container's and a margin; it held nothing."""
    house.jobs.add(make_job())
    house.sweep_for(3_600 + 600 + 660)
    assert house.job().state is JobState.EXPIRED
    assert house.job().held_seconds == 0
    assert house.job().finished_at is not None


@pytest.mark.parametrize(("name", "state"), [("inf_1.out", JobState.COMPLETED), ("inf_1-error.out", JobState.FAILED)])
def test_a_result_that_nobody_announced_ends_its_job(house: _House, name: str, state: JobState) -> None:
    """Through the same code as its notification."""
    _submitted(house)
    house.sweep_for(180)
    assert house.job().state is JobState.SUBMITTED
    house.objects.put(f"async-output/x/{name}", b'"late"')
    house.sweep_for(180)
    assert house.job().state is state
    assert house.telemetry.counts["SweptJob"] == 1


def test_a_submitted_job_without_result_expires(house: _House) -> None:
    """But what lies in the bucket even then wins."""
    _submitted(house)
    house.sweep_for(3_600 + 600 + 660)
    assert house.job().state is JobState.EXPIRED
    assert house.job().failure is not None
    late = _House()
    _submitted(late)
    late.clock.advance(9_000)
    late.objects.put("async-output/x/inf_1.out", b"1")
    late.sweeper.sweep()
    assert late.job().state is JobState.COMPLETED


def test_a_webhook_that_was_not_queued_is_queued(house: _House) -> None:
    """After the time a first delivery takes, then rarely; after three days it is given up."""
    job = make_job(
        state=JobState.COMPLETED,
        finished_at=house.clock.now(),
        webhook_url="https://example.com",
        webhook_pending=True,
    )
    house.jobs.add(job)
    house.sweep_for(540)
    assert not house.webhooks.sent
    house.sweep_for(60)
    assert house.webhooks.bodies == [{"job_id": "inf_1", "attempt": 1}]
    house.sweep_for(6 * 3_600)
    assert 2 <= len(house.webhooks.sent) <= 4
    house.clock.advance(3 * 86_400)
    house.sweeper.sweep()
    assert not house.job().webhook_pending
    assert house.job().state is JobState.COMPLETED


def test_a_run_left_in_preparation_is_taken_up(house: _House) -> None:
    """Its dispatcher died; not before anybody alive could still be at it."""
    house.add_jobs(4)
    with pytest.raises(CrashError):
        house.dispatcher(CrashPoint(7)).wake(RESOURCE)
    house.sweep_for(300)
    assert not house.backend.started
    house.sweep_for(120)
    assert len(house.backend.started) == 1
    assert {run.state for run in house.batches.runs.values()} == {BatchState.RUNNING}


def test_an_end_that_nobody_announced_is_found(house: _House) -> None:
    """The event was lost; SageMaker is asked."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    [name] = house.backend.started
    house.sweep_for(240)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.SUBMITTED}
    house.run_transform(name)
    house.sweep_for(60)
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.COMPLETED}


def test_a_transform_job_that_vanished_is_started_again(house: _House) -> None:
    """SageMaker knows nothing of it."""
    house.add_jobs(4)
    house.dispatcher().wake(RESOURCE)
    house.backend.started.clear()
    house.backend.statuses.clear()
    house.sweep_for(180)
    assert len(house.backend.started) == 1


def test_a_dropped_file_left_in_preparation_is_taken_up(house: _House) -> None:
    """Like a run of jobs."""
    house.objects.put("batch-input/echo/a.jsonl", b"1\n2\n3\n")
    with pytest.raises(CrashError):
        house.drops(CrashPoint(2)).dropped("batch-input/echo/a.jsonl", "v1")
    house.sweep_for(420)
    assert len(house.backend.started) == 1


def test_a_pool_that_should_have_left_is_woken_once_a_sweep(house: _House) -> None:
    """One tick for the deployment, however many jobs wait."""
    house.add_jobs(3)
    house.sweep_for(420)
    assert not house.queue.sent
    house.sweep_for(60)
    assert house.queue.bodies == [{"kind": "tick", "resource": RESOURCE}]


def test_a_batch_job_without_a_run_goes_back_to_its_pool(house: _House) -> None:
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


def test_a_batch_job_that_waits_for_its_second_run_stays(house: _House) -> None:
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


def test_a_batch_job_expires_in_the_end(house: _House) -> None:
    """After three days, queued or submitted."""
    house.add_jobs(2)
    stray = house.job("inf_000")
    house.jobs.change(stray._replace(state=JobState.SUBMITTED, batch_id="x"), expected=OPEN_STATES)
    house.clock.advance(3 * 86_400 + 60)
    house.sweeper.sweep()
    assert {job.state for job in house.jobs.jobs.values()} == {JobState.EXPIRED}


@pytest.mark.parametrize("trouble", [StorageError("The queue is not available."), KeyError("nobody foresaw it")])
def test_trouble_with_one_thing_leaves_the_others(house: _House, trouble: Exception) -> None:
    """It is logged and counted, and the rest is swept."""
    house.jobs.add(make_job("inf_0", created_at=house.clock.now() - timedelta(seconds=1)))
    house.jobs.add(make_job("inf_1"))
    send = house.async_queue.send

    def flaky(message: Any, **named: Any) -> None:
        if message["job_id"] == "inf_0":
            raise trouble
        send(message, **named)

    house.async_queue.send = flaky  # type: ignore[method-assign]  # a queue that fails for one job
    house.sweep_for(120)
    assert [body["job_id"] for body in house.async_queue.bodies] == ["inf_1"]
    assert house.telemetry.counts["SweepFailed"] >= 1


def test_more_than_a_page_is_swept(house: _House) -> None:
    """All of it in one sweep while there is time."""
    for number in range(250):
        house.jobs.add(make_job(f"inf_{number}"))
    house.sweep_for(120)
    assert len(house.async_queue.sent) == 250


def test_a_long_sweep_goes_on_next_time(house: _House) -> None:
    """When its time is over it remembers where it was."""
    for number in range(250):
        house.jobs.add(make_job(f"inf_{number:03d}"))
    house.clock.advance(120)
    open_since = house.jobs.open_since

    def slow(before: datetime, **named: Any) -> Any:
        house.clock.advance(40)
        return open_since(before, **named)

    house.jobs.open_since = slow  # type: ignore[method-assign]  # a table that takes its time
    for expected in (25, 50, 75):
        house.sweeper.sweep()
        assert len(house.async_queue.sent) == expected


def test_the_backlog_is_written_when_it_changes(house: _House) -> None:
    """For every road but real-time."""
    house.jobs.add(make_job())
    house.add_jobs(3)
    house.sweeper.sweep()
    assert house.measurements.backlogs == {
        (RESOURCE, InferenceType.ASYNC): 1,
        (RESOURCE, InferenceType.BATCH): 3,
    }
    house.measurements.backlogs.clear()
    house.sweeper.sweep()
    assert not house.measurements.backlogs


def test_the_sweeper_and_the_event_settle_once() -> None:
    """The notification comes after the sweeper found the result."""
    road = AsyncRoad()
    road.jobs.add(make_job())
    road.submitter().submit("inf_1")
    road.answer("inf_1", b"1")
    job = road.jobs.jobs["inf_1"]
    assert road.completion().found_in_bucket(job)
    ended = road.jobs.jobs["inf_1"]
    assert road.completion().found_in_bucket(job)
    assert road.jobs.jobs["inf_1"] == ended
    assert len(road.telemetry.requests) == 1


def test_an_open_batch_is_woken_every_minute(house: _House) -> None:
    """Whether its message was lost, its window is over, or a part's end was never told."""
    now = house.clock.now()
    batch = FileBatch("batch_1", OWNER, "/v1/embeddings", "file-1", now, now + COMPLETION_WINDOW)
    house.file_batches.add(batch)
    house.sweep_for(60)
    assert house.queue.bodies == []
    house.sweep_for(120)
    assert house.queue.bodies == [{"kind": "file_batch", "file_batch": "batch_1"}] * 2
    house.file_batches.change(batch.at(FileBatchStatus.COMPLETED, now))
    house.sweep_for(60)
    assert len(house.queue.bodies) == 2


def _called(house: _House) -> Job:
    """A job whose answer a function waits for."""
    now = house.clock.now()
    job = make_job(
        state=JobState.SUBMITTED,
        created_at=now,
        submitted_at=now,
        submit_lease_until=now + timedelta(seconds=120),
        output_location=house.objects.location_of("results/inf_1.answer.json"),
        reservation=Reservation("h_inf_1", Decimal("0.01"), ()),
    )
    house.jobs.add(job)
    return job


def test_a_call_that_nobody_waits_for_any_more_is_charged_as_it_was_held(house: _House) -> None:
    """Not while its function may run; afterwards once, for nobody can say whether the provider answered."""
    _called(house)
    house.sweep_for(60)
    assert house.job().state is JobState.SUBMITTED
    house.sweep_for(180)
    job = house.job()
    assert job.failure is not None
    assert job.bill is not None
    assert (job.state, job.failure.code) == (JobState.FAILED, "outcome_unknown")
    assert (job.effective_cost, job.bill.charged) == (None, Decimal("0.01"))


def test_an_answer_that_was_kept_ends_its_job(house: _House) -> None:
    """The function could not write it down, and put it where the record says."""
    job = _called(house)
    assert job.output_location is not None
    house.objects.put("results/inf_1.answer.json", b'{"label": "en"}')
    house.sweep_for(240)
    assert (house.job().state, house.job().output.inline) == (JobState.COMPLETED, {"label": "en"})
