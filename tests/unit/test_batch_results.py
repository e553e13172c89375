"""What a transform job left behind comes back to every job, once, with its share of the cost."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue
from tollgate.domain.catalogue import BatchPolicy
from tollgate.domain.errors import BackendError
from tollgate.domain.jobs.batches import BatchState
from tollgate.domain.jobs.job import JobState, Payload
from tollgate.ports.backends import TransformStatus


def _dispatched(count: int = 4, **changes: object) -> tuple[BatchRoad, str]:
    road = BatchRoad()
    road.add_jobs(count, **changes)
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    [name] = road.backend.started
    return road, name


def test_every_record_comes_back_to_its_job() -> None:
    """With its own output, and an equal share of the instance's time."""
    road, name = _dispatched()
    road.run_transform(name, seconds=60)
    road.collect(name)
    for number, job in enumerate(road.jobs.jobs.values()):
        assert job.state is JobState.COMPLETED
        assert job.output.inline == {"echo": number}
        assert job.held_seconds == Decimal(15)
        assert job.effective_cost is not None
        assert job.effective_cost > Decimal(15) * Decimal("0.115") / 3600
    run = road.batches.get(name)
    assert run is not None
    assert run.state is BatchState.ENDED


@pytest.mark.parametrize("levels", [150, 200_000])
def test_an_answer_of_nothing_but_brackets_keeps_no_other_from_its_job(levels: int) -> None:
    """Its own job is run once more and then fails; whoever went along is answered."""
    road, name = _dispatched()
    road.run_transform(name)
    (key, *_) = road.objects.list_keys(f"transform-output/{name}/")
    first, *others = list(road.objects.lines(key) or ())
    (head, _) = first.split(b'"SageMakerOutput":')
    deep = head + b'"SageMakerOutput":' + b"[" * levels + b"]" * levels + b"}"
    road.objects.put_lines(key, [deep, *others])
    road.collect(name)
    states = [job.state for job in road.jobs.jobs.values()]
    assert states.count(JobState.COMPLETED) == len(states) - 1
    assert JobState.SUBMITTED in states


def test_a_doubled_event_changes_nothing() -> None:
    """Neither jobs nor webhooks nor records."""
    road, name = _dispatched(webhook_url="https://example.com/hook")
    road.run_transform(name)
    road.collect(name)
    jobs = dict(road.jobs.jobs)
    road.collect(name)
    assert road.jobs.jobs == jobs
    assert len(road.webhooks.sent) == len(road.telemetry.requests) == 4


def test_events_that_say_nothing_of_ours_are_ignored() -> None:
    """A job of somebody else, and one that still runs."""
    road, name = _dispatched()
    road.collect(name)
    road.collector().ended(TransformStatus("tollgate-other", "Completed", None, None, road.clock.now()))
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.SUBMITTED}
    assert road.telemetry.counts == {"UnknownBatchResult": 1}


def test_an_event_without_times_is_completed_from_the_job() -> None:
    """The cost needs both of them."""
    road, name = _dispatched()
    road.run_transform(name)
    road.collector().ended(TransformStatus(name, "Completed", None, None, None))
    assert {job.held_seconds for job in road.jobs.jobs.values()} == {Decimal(15)}


def test_a_bad_record_fails_alone() -> None:
    """Its file is run again, one record a file; the neighbour completes, only the bad one has failed."""
    road, name = _dispatched()
    bad = [2].__contains__
    road.run_transform(name, bad=bad)
    road.collect(name)
    states = [job.state for job in road.jobs.jobs.values()]
    assert states == [JobState.COMPLETED, JobState.COMPLETED, JobState.SUBMITTED, JobState.SUBMITTED]
    second = f"{name}-r2"
    files = list(road.objects.list_keys(f"transform-input/{second}/"))
    assert len(files) == 2
    road.run_transform(second, bad=bad, seconds=20)
    road.collect(second)
    jobs = list(road.jobs.jobs.values())
    assert [job.state for job in jobs] == [
        JobState.COMPLETED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.COMPLETED,
    ]
    assert jobs[2].failure is not None
    assert jobs[2].failure.message == "ClientError: The transform job gave no answer for this request."
    # 60 s over four records, then 20 s over two: nothing is lost and nothing counted twice.
    assert [job.held_seconds for job in jobs] == [Decimal(15), Decimal(15), Decimal(25), Decimal(25)]


@pytest.mark.parametrize("ending", ["refused", "input gone"])
def test_what_the_first_run_held_is_charged_although_the_second_never_starts(ending: str) -> None:
    """SageMaker refuses the second transform job, or the record's input has left the bucket: the first has worked."""
    road = BatchRoad()
    road.objects.put("async-input/large.json", b"2")
    road.add_jobs(4)
    road.jobs.jobs["inf_002"] = road.jobs.jobs["inf_002"]._replace(input=Payload(key="async-input/large.json"))
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    [name] = road.backend.started
    road.run_transform(name, bad=[2].__contains__)
    if ending == "refused":
        road.backend.errors = [BackendError("SageMaker refused transform job (ValidationException).")]
    else:
        road.objects.delete("async-input/large.json")
    road.collect(name)
    job = road.jobs.jobs["inf_002"]
    assert (job.state, job.held_seconds) == (JobState.FAILED, Decimal(15))
    assert job.bill is not None
    assert job.bill.charged > Decimal(15) * Decimal("0.115") / 3600


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "3 failed"), (2, "ClientError: The transform job gave no answer for this request.")],
)
def test_nobody_is_told_what_a_job_says_of_others(count: int, told: str) -> None:
    """A job's reason is about all its records, which may be other tenants'; alone, it is about one's own."""
    road, _ = _dispatched(count)
    reason = "ClientError: 3 failed: s3://bucket/transform-input/000002.jsonl: 'another tenant's words'"
    for attempt in range(1, 3):
        name = list(road.backend.started)[-1]
        road.backend.end(name, "Failed", began=road.clock.now(), reason=reason)
        road.collect(name)
        assert len(road.backend.started) == 2, attempt
    for job in road.jobs.jobs.values():
        assert job.failure is not None
        assert told in job.failure.message
        assert ("another tenant" in job.failure.message) == (count == 1)


def test_a_job_without_any_output_is_run_once_more_and_then_fails() -> None:
    """There is no third run."""
    road, _ = _dispatched()
    road.run_everything(bad=lambda _value: True)
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.FAILED}
    assert len(road.backend.started) == 2
    assert {run.state for run in road.batches.runs.values()} == {BatchState.ENDED}


def test_a_stopped_job_is_not_run_again() -> None:
    """Somebody wanted it to end."""
    road, name = _dispatched()
    road.backend.end(name, "Stopped", began=None)
    road.collect(name)
    failures = {job.failure.code for job in road.jobs.jobs.values() if job.failure}
    assert failures == {"batch_stopped"}
    assert len(road.backend.started) == 1


def test_lines_that_are_not_ours_do_no_harm() -> None:
    """Text that is not JSON, foreign ids, a record without output."""
    road, name = _dispatched(count=2)
    prefix = road.backend.started[name].output_prefix
    lines = [
        b"oops",
        b"[]",
        b'{"id": 7, "SageMakerOutput": 1}',
        b'{"id": "inf_none", "SageMakerOutput": 1}',
        json.dumps({"id": "inf_000", "SageMakerOutput": "ok"}).encode(),
        b'{"id": "inf_001"}',
    ]
    road.objects.put_lines(f"{prefix}000001.jsonl.out", lines)
    road.backend.end(name, "Completed", began=road.clock.now())
    road.collect(name)
    assert road.jobs.jobs["inf_000"].output.inline == "ok"
    assert road.jobs.jobs["inf_001"].batch_id == f"{name}-r2"


def test_an_event_may_overtake_the_record_that_the_job_runs() -> None:
    """The dispatcher died after the start; the results are brought back all the same."""
    road, name = _dispatched()
    run = road.batches.runs[name]
    road.batches.runs[name] = type(run)(
        **{field: getattr(run, field) for field in run.__dataclass_fields__} | {"state": BatchState.PREPARING}
    )
    road.run_transform(name)
    road.collect(name)
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.COMPLETED}
    assert road.batches.runs[name].state is BatchState.ENDED


def _effects_of_collection() -> int:
    road, name = _dispatched(webhook_url="https://example.com/hook")
    road.run_transform(name, bad=[2].__contains__)
    counter = CrashPoint(0)
    road.collect(name, counter)
    return counter.effects


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", range(1, _effects_of_collection() + 1))
def test_a_death_at_any_step_of_collection_settles_once(step: int, before: bool) -> None:
    """The event comes back: same states, same costs, and the second run holds exactly the unanswered records."""
    bad = [2].__contains__
    road, name = _dispatched(webhook_url="https://example.com/hook")
    road.run_transform(name, bad=bad)
    with pytest.raises(CrashError):
        road.collect(name, CrashPoint(step, before=before))
    road.collect(name)
    road.run_everything(bad=bad)
    states = [job.state for job in road.jobs.jobs.values()]
    assert states == [JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED, JobState.COMPLETED]
    # What dies with the process between the record and its announcement is one metric at most.
    assert 3 <= len(road.telemetry.requests) <= 4
    assert len(road.webhooks.sent) <= 4
    assert len(road.backend.started) == 2
    assert {run.state for run in road.batches.runs.values()} == {BatchState.ENDED}


@settings(deadline=None)
@given(bad=st.sets(st.integers(0, 11)), per_file=st.integers(1, 5), seconds=st.integers(1, 500))
def test_instance_time_is_shared_out_to_the_last_second(bad: set[int], per_file: int, seconds: int) -> None:
    """Whichever records fail: the jobs together carry the instance's time, neither more nor less."""
    road = BatchRoad(make_catalogue(batch=BatchPolicy(max_records=12, records_per_file=per_file)))
    road.add_jobs(12)
    road.dispatcher().wake(RESOURCE)
    [name] = list(road.backend.started)
    road.run_transform(name, bad=bad.__contains__, seconds=seconds)
    road.collect(name)
    total = seconds
    if len(road.backend.started) == 2:
        road.run_transform(f"{name}-r2", bad=bad.__contains__, seconds=7)
        road.collect(f"{name}-r2")
        total += 7
    held = [job.held_seconds for job in road.jobs.jobs.values()]
    assert sum(seconds for seconds in held if seconds is not None) == pytest.approx(Decimal(total), abs=Decimal("1E-6"))
    failed = {int(job_id[4:]) for job_id, job in road.jobs.jobs.items() if job.state is JobState.FAILED}
    assert failed == bad
