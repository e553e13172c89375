"""A queued job reaches its endpoint once, whatever happens on the way."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import make_catalogue, make_job
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ConflictError,
    StorageError,
)
from tollgate.domain.jobs.job import OPEN_STATES, Job, JobState, Payload
from tollgate.services.jobs.claim_job import LEASE_SECONDS


@pytest.fixture
def road() -> AsyncRoad:
    made = AsyncRoad()
    made.jobs.add(make_job())
    return made


def _job(road: AsyncRoad, job_id: str = "inf_1") -> Job:
    found = road.jobs.get(job_id)
    assert found is not None
    return found


def test_a_job_is_submitted_with_its_id_and_limits(road: AsyncRoad) -> None:
    """The container's body, the catalogue's time limits, and where the answer will be."""
    road.clock.advance(3)
    road.submitter().submit("inf_1")
    [(inference_id, body, ttl, timeout)] = road.backend.submitted
    assert (inference_id, json.loads(body), ttl, timeout) == ("inf_1", {"inputs": "hello there"}, 3_600, 600)
    job = _job(road)
    assert job.state is JobState.SUBMITTED
    assert job.submitted_at == road.clock.now()
    assert job.output_location is not None
    assert job.output_location.endswith("inf_1.out")
    assert job.submit_lease_until is None


def test_a_redelivered_message_does_nothing(road: AsyncRoad) -> None:
    """Neither after the submission nor after the end."""
    road.submitter().submit("inf_1")
    road.submitter().submit("inf_1")
    assert len(road.backend.submitted) == 1


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.COMPLETED, JobState.SUBMITTED])
def test_a_job_that_moved_on_is_left_alone(road: AsyncRoad, state: JobState) -> None:
    """A cancelled job above all."""
    road.jobs.change(make_job(state=state), expected=OPEN_STATES)
    road.submitter().submit("inf_1")
    assert not road.backend.submitted


def test_unknown_and_batch_jobs_are_ignored(road: AsyncRoad) -> None:
    """Their messages are done with."""
    road.jobs.add(make_job("inf_b", inference_type=InferenceType.BATCH))
    for job_id in ("inf_none", "inf_b"):
        road.submitter().submit(job_id)
    assert not road.backend.submitted


def test_nobody_submits_while_a_lease_runs(road: AsyncRoad) -> None:
    """The second one asks for its message to come back, and may go on when the lease has run out."""
    lease = road.clock.now() + timedelta(seconds=LEASE_SECONDS)
    road.jobs.change(make_job(submit_lease_until=lease), expected=OPEN_STATES)
    with pytest.raises(ConflictError):
        road.submitter().submit("inf_1")
    assert not road.backend.submitted
    road.clock.advance(LEASE_SECONDS)
    road.submitter().submit("inf_1")
    assert len(road.backend.submitted) == 1


@pytest.mark.parametrize("error", [CapacityError("x"), BackendThrottledError("x"), StorageError("x")])
def test_a_request_that_was_not_taken_is_tried_again_at_once(road: AsyncRoad, error: Exception) -> None:
    """The lease is given back, so that the next delivery need not wait for it."""
    road.backend.errors = [error]
    with pytest.raises(type(error)):
        road.submitter().submit("inf_1")
    assert _job(road).state is JobState.QUEUED
    road.submitter().submit("inf_1")
    assert _job(road).state is JobState.SUBMITTED


def test_a_request_that_may_have_been_taken_waits_for_its_lease(road: AsyncRoad) -> None:
    """It could run twice otherwise."""
    road.backend.errors = [BackendTimeoutError("x")]
    with pytest.raises(BackendTimeoutError):
        road.submitter().submit("inf_1")
    with pytest.raises(ConflictError):
        road.submitter().submit("inf_1")


def test_a_refused_request_fails_with_the_reason(road: AsyncRoad) -> None:
    """Nothing ran, so only the gateway's own parts are charged."""
    road.backend.errors = [BackendError("Endpoint refused the call (ValidationException).")]
    road.submitter().submit("inf_1")
    job = _job(road)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == "backend_refused"
    assert "ValidationException" in job.failure.message
    assert job.effective_cost is not None
    assert job.effective_cost > 0
    assert job.avoided_cost == -job.effective_cost


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"deployment": "gone"}, "invalid_request"),
        ({"model": "gone"}, "invalid_request"),
        ({"input": Payload(key="async-input/none.json")}, "invalid_request"),
    ],
)
def test_a_job_that_cannot_be_rendered_fails(road: AsyncRoad, changes: dict[str, Any], code: str) -> None:
    """Its model has left the catalogue, or its input the bucket."""
    road.jobs.add(make_job("inf_2", **changes))
    road.submitter().submit("inf_2")
    job = _job(road, "inf_2")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == code


def test_an_input_in_the_bucket_is_sent(road: AsyncRoad) -> None:
    """Large inputs lie there; the container gets the same body."""
    road.objects.put("async-input/inf_2.json", json.dumps(["ä"] * 3).encode())
    road.jobs.add(make_job("inf_2", input=Payload(key="async-input/inf_2.json"), parameters={"top": 1}))
    road.submitter().submit("inf_2")
    assert json.loads(road.backend.submitted[0][1]) == {"inputs": ["ä"] * 3, "parameters": {"top": 1}}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_death_at_any_step_loses_nothing(road: AsyncRoad, step: int, before: bool) -> None:
    """The message comes back, and after the lease at the latest the job is submitted; once unless nobody can know."""
    with pytest.raises(CrashError):
        road.submitter(CrashPoint(step, before=before)).submit("inf_1")
    for _ in range(3):
        try:
            road.submitter().submit("inf_1")
        except ConflictError:
            road.clock.advance(LEASE_SECONDS)
    assert _job(road).state is JobState.SUBMITTED
    # Between SageMaker's yes and the record of it nobody can know.
    unknowable = (step, before) in {(2, False), (3, True)}
    assert len(road.backend.submitted) == (2 if unknowable else 1)


def test_a_record_that_fails_for_a_moment_is_written_again(road: AsyncRoad) -> None:
    """The submission was accepted; giving up would submit it again."""
    failing = [StorageError("x"), StorageError("x")]
    change = road.jobs.change

    def flaky(job: Job, **conditions: Any) -> bool:
        if job.state is JobState.SUBMITTED and failing:
            raise failing.pop()
        return change(job, **conditions)

    road.jobs.change = flaky  # type: ignore[method-assign]  # one write that fails
    road.submitter().submit("inf_1")
    assert _job(road).state is JobState.SUBMITTED
    assert len(road.backend.submitted) == 1


def test_a_submission_that_cannot_be_recorded_is_kept_in_the_bucket(road: AsyncRoad) -> None:
    """Whoever claims the job next records it, and submits, and pays for, nothing a second time."""
    change, down = road.jobs.change, True

    def failing(job: Job, **conditions: Any) -> bool:
        if job.state is JobState.SUBMITTED and down:
            raise StorageError("x")
        return change(job, **conditions)

    road.jobs.change = failing  # type: ignore[method-assign]  # a table that does not answer
    began = road.clock.now()
    road.submitter().submit("inf_1")
    for _ in range(2):
        assert _job(road).state is JobState.QUEUED
        road.clock.advance(LEASE_SECONDS)
        road.submitter().submit("inf_1")
        down = False
    job = _job(road)
    assert (job.state, job.submitted_at, job.submit_lease_until) == (JobState.SUBMITTED, began, None)
    assert job.output_location is not None
    assert job.output_location.endswith("inf_1.out")
    assert len(road.backend.submitted) == 1


def test_an_answer_may_overtake_the_record(road: AsyncRoad) -> None:
    """A job that ended meanwhile stays as it is."""
    submit = road.backend.submit

    def quick(*values: Any, **named: Any) -> Any:
        submission = submit(*values, **named)
        road.jobs.change(make_job()._replace(state=JobState.COMPLETED), expected=OPEN_STATES)
        return submission

    road.backend.submit = quick  # type: ignore[method-assign]  # an endpoint that answers at once
    road.submitter().submit("inf_1")
    assert _job(road).state is JobState.COMPLETED


def test_the_example_catalogue_has_an_async_road() -> None:
    """The tests above lean on it."""
    assert InferenceType.ASYNC in make_catalogue().model("echo").deployments[0].roads
