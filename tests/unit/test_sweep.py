"""What nobody finished is found and ended truthfully."""

import itertools
from copy import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.batch_road import RESOURCE
from tests.fakes.examples import OWNER, make_job
from tests.fakes.swept_house import SweptHouse
from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.file_batches import COMPLETION_WINDOW, FileBatch, FileBatchStatus
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.jobs.sweeping import look_due


@pytest.fixture
def house() -> SweptHouse:
    return SweptHouse()


def _submitted(house: SweptHouse, **changes: Any) -> Job:
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


def test_a_queued_job_is_queued_again(house: SweptHouse) -> None:
    """Its message was lost; it is sent again now and then, not every minute."""
    house.jobs.add(make_job())
    house.sweep_for(120)
    assert house.async_queue.bodies == [{"kind": "job", "job_id": "inf_1", "resource": "echo/small"}]
    house.sweep_for(3_000)
    assert 4 <= len(house.async_queue.sent) <= 10


def test_a_job_that_is_being_submitted_is_left_alone(house: SweptHouse) -> None:
    """Its lease still runs."""
    house.jobs.add(make_job(submit_lease_until=house.clock.now() + timedelta(hours=9)))
    house.sweep_for(600)
    assert not house.async_queue.sent


def test_a_job_that_nobody_takes_expires(house: SweptHouse) -> None:
    """After the request's time to live, the container's and a margin; it held nothing."""
    house.jobs.add(make_job())
    house.sweep_for(3_600 + 600 + 660)
    assert house.job().state is JobState.EXPIRED
    assert house.job().held_seconds == 0
    assert house.job().finished_at is not None
    told = {"job_id": "inf_1", "resource": "echo/small", "state": "queued"}
    assert [fields for _, message, fields in house.telemetry.lines if message == "job expired"] == [told]


@pytest.mark.parametrize(("name", "state"), [("inf_1.out", JobState.COMPLETED), ("inf_1-error.out", JobState.FAILED)])
def test_a_result_that_nobody_announced_ends_its_job(house: SweptHouse, name: str, state: JobState) -> None:
    """Through the same code as its notification."""
    _submitted(house)
    house.sweep_for(180)
    assert house.job().state is JobState.SUBMITTED
    house.objects.put(f"async-output/x/{name}", b'"late"')
    house.sweep_for(180)
    assert house.job().state is state
    assert house.telemetry.counts["SweptJob"] == 1


def test_a_submitted_job_without_result_expires(house: SweptHouse) -> None:
    """But what lies in the bucket even then wins."""
    _submitted(house)
    house.sweep_for(3_600 + 600 + 660)
    assert house.job().state is JobState.EXPIRED
    assert house.job().failure is not None
    late = SweptHouse()
    _submitted(late)
    late.clock.advance(9_000)
    late.objects.put("async-output/x/inf_1.out", b"1")
    late.sweeper.sweep()
    assert late.job().state is JobState.COMPLETED


def test_a_webhook_that_was_not_queued_is_queued(house: SweptHouse) -> None:
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


@pytest.mark.parametrize("trouble", [StorageError("The queue is not available."), KeyError("nobody foresaw it")])
def test_trouble_with_one_thing_leaves_the_others(house: SweptHouse, trouble: Exception) -> None:
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


def test_more_than_a_page_is_swept(house: SweptHouse) -> None:
    """All of it in one sweep while there is time."""
    for number in range(250):
        house.jobs.add(make_job(f"inf_{number}"))
    house.sweep_for(120)
    assert len(house.async_queue.sent) == 250


def test_a_long_sweep_goes_on_next_time(house: SweptHouse) -> None:
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


def test_backlogs_of_more_roads_than_a_sweep_can_count_are_written_by_several(
    house: SweptHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function would be stopped in the middle, and the roads after that would never be counted."""
    catalogue = house.catalogues.current()
    [plain] = catalogue.models["echo"].deployments
    many = tuple(replace(plain, name=f"number-{number}") for number in range(40))
    models = {"echo": replace(catalogue.models["echo"], deployments=many)}
    monkeypatch.setattr(house.catalogues, "catalogue", replace(catalogue, models=models))
    counted: list[tuple[str, InferenceType]] = []

    def count(resource: str, inference_type: InferenceType) -> int:
        house.clock.advance(1)
        counted.append((resource, inference_type))
        return 1

    monkeypatch.setattr(house.jobs, "count_open", count)
    began = house.clock.monotonic()
    house.sweeper.sweep()
    assert house.clock.monotonic() - began < 50
    house.sweeper.sweep()
    assert set(counted) == {(one.resource, road) for one in many for road in (InferenceType.ASYNC, InferenceType.BATCH)}
    assert house.measurements.backlogs.keys() == set(counted)


def test_the_backlog_is_written_when_it_changes(house: SweptHouse) -> None:
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


def test_an_open_batch_is_woken_every_minute(house: SweptHouse) -> None:
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


def _called(house: SweptHouse) -> Job:
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


def test_a_call_that_nobody_waits_for_any_more_is_charged_as_it_was_held(house: SweptHouse) -> None:
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


def test_an_answer_that_was_kept_ends_its_job(house: SweptHouse) -> None:
    """The function could not write it down, and put it where the record says."""
    job = _called(house)
    assert job.output_location is not None
    house.objects.put("results/inf_1.answer.json", b'{"label": "en"}')
    house.sweep_for(240)
    assert (house.job().state, house.job().output.inline) == (JobState.COMPLETED, {"label": "en"})
