"""When waiting requests leave for a transform job, and in which files."""

import json
from collections.abc import Iterable, Sequence
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.catalogue import BatchPolicy, InferenceType
from tollgate.domain.errors import BackendError, CapacityError
from tollgate.domain.jobs.batches import BatchState, WaitingJob, due_at, seconds_per_record
from tollgate.domain.jobs.job import OPEN_STATES, Job, JobState, Payload

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_ROAD = make_catalogue().model("echo").deployments[0].roads[InferenceType.BATCH]
_POLICY = BatchPolicy(max_records=3, max_age_seconds=300)


def _waiting(*ages: float, deadline: float | None = None) -> list[WaitingJob]:
    until = None if deadline is None else _NOW + timedelta(seconds=deadline)
    return [WaitingJob(_NOW - timedelta(seconds=age), until) for age in ages]


def test_an_empty_pool_is_never_due() -> None:
    """There is nothing to send."""
    assert due_at([], _POLICY, _ROAD, 1) is None


def test_a_pool_is_due_at_its_greatest_age() -> None:
    """Counted from the oldest request."""
    assert due_at(_waiting(100, 5), _POLICY, _ROAD, 1) == _NOW + timedelta(seconds=200)


def test_a_full_pool_is_due_at_once() -> None:
    """Since its oldest request came."""
    due = due_at(_waiting(3, 2, 1), _POLICY, _ROAD, 1)
    assert due is not None
    assert due <= _NOW


def test_a_deadline_hurries_a_pool() -> None:
    """Work and a margin of a minute must still fit before it."""
    assert due_at(_waiting(1, 1, deadline=100), _POLICY, _ROAD, 2) == _NOW + timedelta(seconds=100 - 4 - 60)
    wide = replace(_ROAD, instance_count=2, concurrency=4, startup_seconds=10.0)
    assert due_at(_waiting(1, 1, deadline=100), _POLICY, wide, 8) == _NOW + timedelta(seconds=100 - 10 - 2 - 60)


@pytest.mark.parametrize(
    ("started", "ended", "records", "expected"),
    [
        (_NOW, _NOW + timedelta(seconds=10), 4, Decimal("2.5")),
        (None, _NOW, 4, Decimal(0)),
        (_NOW, None, 4, None),
        (None, None, 4, None),
    ],
)
def test_instance_time_is_spread_over_records(
    started: datetime | None, ended: datetime | None, records: int, expected: Decimal | None
) -> None:
    """Nothing when no instance ever started, unknown while the times are."""
    assert seconds_per_record(started, ended, _ROAD, records) == expected


def test_a_young_pool_waits_and_one_tick_is_sent() -> None:
    """However many messages wake the dispatcher."""
    road = BatchRoad()
    road.add_jobs(2)
    for _ in range(5):
        road.dispatcher().wake(RESOURCE)
    assert not road.backend.started
    assert [(m.body, m.delay_seconds) for m in road.queue.sent] == [({"kind": "tick", "resource": RESOURCE}, 300)]


def test_a_due_pool_leaves_in_files_of_the_catalogues_size() -> None:
    """Oldest first, with the container's own body, marked with the run."""
    road = BatchRoad()
    road.add_jobs(3)
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    [job] = road.backend.started.values()
    files = [list(road.objects.lines(key) or ()) for key in road.objects.list_keys(job.input_prefix)]
    assert [[json.loads(line)["id"] for line in lines] for lines in files] == [["inf_000", "inf_001"], ["inf_002"]]
    assert json.loads(files[0][1])["body"] == {"inputs": 1}
    assert job.largest_record == len(files[0][0])
    assert {(j.state, j.batch_id) for j in road.jobs.jobs.values()} == {(JobState.SUBMITTED, job.name)}
    run = road.batches.get(job.name)
    assert run is not None
    assert (run.state, run.records, run.attempt) == (BatchState.RUNNING, 3, 1)


def test_a_full_pool_does_not_wait() -> None:
    """It leaves with as many as one job may carry, and the rest stays."""
    road = BatchRoad()
    road.add_jobs(5)
    road.clock.advance(6)
    road.dispatcher().wake(RESOURCE)
    [run] = road.batches.runs.values()
    assert run.records == 4
    assert [job.job_id for job in road.jobs.waiting_for_batch(RESOURCE, limit=9)] == ["inf_004"]
    assert road.queue.sent[-1].body == {"kind": "tick", "resource": RESOURCE}


def test_names_of_transform_jobs_fit_sagemaker() -> None:
    """At most 63 characters of letters, digits and hyphens, the second run's as well, with our prefix."""
    road = BatchRoad()
    road.add_jobs(4)
    road.dispatcher().wake(RESOURCE)
    [run] = road.batches.runs.values()
    for name in (run.batch_id, run.retry_id):
        assert name.startswith("tollgate-")
        assert name.replace("-", "").isalnum()
        # Real ids are 26 characters, those of tests 8.
        assert len(name) + 18 <= 63


def test_one_dispatcher_at_a_time() -> None:
    """While another holds the lease, nothing happens; when it has run out, the next one goes on."""
    road = BatchRoad()
    road.add_jobs(4)
    now = road.clock.now()
    road.batches.lease(f"dispatch#{RESOURCE}", holder="other", now=now, until=now + timedelta(seconds=180))
    road.dispatcher().wake(RESOURCE)
    assert not road.backend.started
    road.clock.advance(180)
    road.dispatcher().wake(RESOURCE)
    assert len(road.backend.started) == 1


def test_a_job_cancelled_meanwhile_stays_behind() -> None:
    """It is in the list that was written down and not in the files."""
    road = BatchRoad()
    road.add_jobs(3)
    run = road.pooled().begin("tollgate-1", RESOURCE, ["inf_000", "inf_001", "inf_002"])
    assert run is not None
    cancelled = make_job("inf_001", inference_type=InferenceType.BATCH, state=JobState.CANCELLED)
    road.jobs.change(cancelled, expected=OPEN_STATES)
    road.pooled().prepare(run)
    stored = road.batches.get("tollgate-1")
    assert stored is not None
    assert stored.records == 2
    assert road.jobs.get("inf_001") == cancelled


def test_a_run_whose_jobs_are_all_gone_ends() -> None:
    """No transform job is started for nothing."""
    road = BatchRoad()
    run = road.pooled().begin("tollgate-1", RESOURCE, ["inf_none"])
    assert run is not None
    road.pooled().prepare(run)
    assert not road.backend.started
    assert road.batches.runs["tollgate-1"].state is BatchState.ENDED


def test_a_job_that_cannot_be_rendered_fails_alone() -> None:
    """Its input has left the bucket; the others go."""
    road = BatchRoad()
    road.add_jobs(3)
    road.jobs.jobs["inf_001"] = make_job(
        "inf_001", inference_type=InferenceType.BATCH, input=Payload(key="async-input/none.json")
    )
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    assert road.jobs.jobs["inf_001"].state is JobState.FAILED
    [run] = road.batches.runs.values()
    assert run.records == 2


def test_no_capacity_for_a_transform_job_delays_it() -> None:
    """The run stays in preparation and starts when it is tried again; no job is lost."""
    road = BatchRoad()
    road.add_jobs(4)
    road.backend.errors = [CapacityError("ResourceLimitExceeded")]
    road.dispatcher().wake(RESOURCE)
    [run] = road.batches.runs.values()
    assert run.state is BatchState.PREPARING
    road.run_everything()
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.COMPLETED}


def test_a_refused_transform_job_fails_its_jobs() -> None:
    """With the reason; they held nothing."""
    road = BatchRoad()
    road.add_jobs(4)
    road.backend.errors = [BackendError("SageMaker refused transform job (ValidationException).")]
    road.dispatcher().wake(RESOURCE)
    for job in road.jobs.jobs.values():
        assert job.state is JobState.FAILED
        assert job.failure is not None
        assert job.failure.code == "backend_refused"
        assert job.held_seconds == 0
    [run] = road.batches.runs.values()
    assert run.state is BatchState.ENDED


def test_jobs_of_a_deployment_that_left_the_catalogue_fail() -> None:
    """Nobody would ever run them."""
    road = BatchRoad()
    road.add_jobs(2, deployment="gone")
    road.dispatcher().wake("echo/gone")
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.FAILED}


def test_a_file_is_written_before_the_next_is_read() -> None:
    """All inputs of a run together, of many tenants, may be far larger than the function's memory."""
    road = BatchRoad()
    road.add_jobs(4)
    for number, (name, job) in enumerate(list(road.jobs.jobs.items())):
        road.objects.put(f"async-input/{name}.json", str(number).encode())
        road.jobs.jobs[name] = job._replace(input=Payload(key=f"async-input/{name}.json"))
    read: list[str] = []
    read_at_write: list[int] = []
    get, put_lines = road.objects.get, road.objects.put_lines

    def reading(key: str) -> bytes | None:
        read.append(key)
        return get(key)

    def writing(key: str, lines: Iterable[bytes], **named: Any) -> None:
        read_at_write.append(sum(key.startswith("async-input/") for key in read))
        put_lines(key, lines, **named)

    road.objects.get = reading  # type: ignore[method-assign]  # the bucket, not the code under test
    road.objects.put_lines = writing  # type: ignore[method-assign]  # as above
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    assert read_at_write == [2, 4]
    (name,) = road.backend.started
    road.run_transform(name)
    road.collect(name)
    assert [job.output.inline for job in road.jobs.jobs.values()] == [{"echo": number} for number in range(4)]


def test_large_records_make_more_files_and_nothing_else() -> None:
    """However many records a file may have."""
    policy = BatchPolicy(max_records=4, max_age_seconds=300, records_per_file=50)
    road = BatchRoad(make_catalogue(batch=policy))
    road.add_jobs(3, input=Payload(inline="x" * 5_000_000))
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    (name,) = road.backend.started
    files = [list(road.objects.lines(key) or ()) for key in road.objects.list_keys(f"transform-input/{name}/")]
    assert [len(lines) for lines in files] == [2, 1]
    run = road.batches.get(name)
    assert run is not None
    assert run.records == 3


def test_trouble_with_one_pool_leaves_the_others_alone() -> None:
    """It is logged, and raised when all were looked at, so that the schedule's failure shows."""
    road = BatchRoad()
    road.add_jobs(4)
    road.backend.describe = _fail  # type: ignore[assignment,method-assign]  # SageMaker is down
    with pytest.raises(CapacityError):
        road.dispatcher().wake_all()
    assert [line[1] for line in road.telemetry.lines] == ["batch pool failed"]


def test_trouble_that_nobody_foresaw_leaves_the_other_pools_alone() -> None:
    """They come after it at every look, and would never leave."""
    catalogue = make_catalogue()
    models = {name: replace(catalogue.model("echo"), name=name) for name in ("broken", "echo")}
    for name, model in models.items():
        models[name] = replace(model, deployments=tuple(replace(d, model=name) for d in model.deployments))
    road = BatchRoad(replace(catalogue, models=models))
    road.add_jobs(4)
    waiting = road.jobs.waiting_for_batch

    def broken(resource: str, *, limit: int) -> Sequence[Job]:
        if resource.startswith("broken"):
            raise KeyError(resource)
        return waiting(resource, limit=limit)

    road.jobs.waiting_for_batch = broken  # type: ignore[method-assign]  # a table with an item that nobody can read
    road.clock.advance(300)
    with pytest.raises(KeyError):
        road.dispatcher().wake_all()
    assert len(road.backend.started) == 1


def _fail(_name: str) -> None:
    raise CapacityError("SageMaker could not be reached.")


def _effects_of_dispatch() -> int:
    road = BatchRoad()
    road.add_jobs(4)
    counter = CrashPoint(0)
    road.dispatcher(counter).wake(RESOURCE)
    return counter.effects


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, _effects_of_dispatch() + 1))
def test_a_death_at_any_step_of_dispatch_loses_nothing(step: int, before: bool) -> None:
    """Every job is run and settled once, in whatever run it ends up."""
    road = BatchRoad()
    road.add_jobs(4)
    with pytest.raises(CrashError):
        road.dispatcher(CrashPoint(step, before=before)).wake(RESOURCE)
    road.run_everything()
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.COMPLETED}
    assert sorted(record.job_id for record in road.telemetry.requests) == sorted(road.jobs.jobs)
    assert len(road.backend.started) == 1


@settings(deadline=None)
@given(steps=st.lists(st.integers(1, 14), max_size=4), count=st.integers(1, 9))
def test_any_number_of_deaths_loses_nothing(steps: list[int], count: int) -> None:
    """The dispatcher dies again and again; in the end every job has its own answer, once."""
    road = BatchRoad()
    road.add_jobs(count)
    for step in steps:
        road.clock.advance(200)
        try:
            road.dispatcher(CrashPoint(step)).wake_all()
        except CrashError:
            continue
    road.run_everything()
    for number, job in enumerate(sorted(road.jobs.jobs.values(), key=lambda job: job.job_id)):
        assert job.state is JobState.COMPLETED
        assert job.output.inline == {"echo": number}
    assert len(road.telemetry.requests) == count
