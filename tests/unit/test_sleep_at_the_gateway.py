"""Requests for a sleeping deployment: accepted, waking it once, answered when it is up."""

import json

import pytest

from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, Sleepers, sleepy_catalogue
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import Phase

HIGH = {"model": "echo", "input": "hello", "priority": "high"}


@pytest.fixture
def alone() -> Sleepers:
    """A deployment with a real-time road only, asleep."""
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME))
    world.until_asleep()
    return world


def _story(world: Sleepers) -> list[str]:
    return [line.reason for line in world.record().history]


def test_a_request_for_a_sleeping_endpoint_is_answered_when_it_is_up(alone: Sleepers) -> None:
    """202 at once, one wake, and after the start the job is complete with its cost."""
    answer = alone.gateway.infer(HIGH)
    document = json.loads(answer.body)
    assert (answer.status, document["status"], document["inference_type"]) == (202, "queued", "realtime")
    assert answer.headers["x-tollgate-route-reason"] == "priority=high;realtime_ruled_out=asleep"
    alone.deliver()
    assert alone.record().phase is Phase.WAKING
    assert alone.gateway.jobs.jobs[document["id"]].state is JobState.QUEUED
    alone.minutes(3)
    alone.deliver()
    job = alone.gateway.jobs.jobs[document["id"]]
    assert (job.state, job.output.inline) == (JobState.COMPLETED, {"label": "en"})
    assert job.effective_cost is not None
    assert job.effective_cost > 0


def test_a_storm_at_the_gateway_wakes_once_and_answers_all(alone: Sleepers) -> None:
    """500 requests: one message, one creation, 500 answers."""
    alone.endpoints.orders.clear()
    for number in range(500):
        assert alone.gateway.infer(HIGH, request_id=f"req-{number}").status == 202
    assert len(alone.gateway.wakes.sent) == 1
    alone.deliver()
    alone.minutes(3)
    alone.deliver()
    assert alone.endpoints.orders == [f"{REALTIME.key} made"]
    assert {job.state for job in alone.gateway.jobs.jobs.values()} == {JobState.COMPLETED}
    assert len(alone.gateway.realtime.calls) == 500


def test_with_the_asynchronous_road_awake_nobody_waits_for_the_wake() -> None:
    """The request takes the other road at once; the sleeping one wakes for those that follow."""
    world = Sleepers()
    world.activity.last[ASYNC] = world.clock.now()
    for _ in range(2):
        world.minutes(20)
        world.activity.last[ASYNC] = world.clock.now()
    answer = world.gateway.infer(HIGH)
    assert (answer.status, answer.headers["x-tollgate-inference-type"]) == (202, "async")
    assert [m.body["place"] for m in world.gateway.wakes.sent] == [REALTIME.key]


def test_with_both_asleep_one_is_woken() -> None:
    """The request waits for the road it asked for; the other may sleep on."""
    world = Sleepers()
    world.until_asleep()
    assert world.record(ASYNC).phase is Phase.ASLEEP
    answer = world.gateway.infer(HIGH)
    assert answer.headers["x-tollgate-inference-type"] == "realtime"
    assert [m.body["place"] for m in world.gateway.wakes.sent] == [REALTIME.key]


def test_asynchronous_work_wakes_its_own_endpoint() -> None:
    """SageMaker takes the request at 0 instances; the endpoint is woken for it."""
    world = Sleepers()
    world.until_asleep(ASYNC)
    answer = world.gateway.infer({**HIGH, "priority": "medium"})
    assert answer.headers["x-tollgate-inference-type"] == "async"
    assert [m.body["place"] for m in world.gateway.wakes.sent] == [ASYNC.key]
    world.deliver()
    world.minutes(3)
    assert world.record(ASYNC).phase is Phase.AWAKE


def test_a_gateway_that_has_not_yet_heard_loses_no_request(alone: Sleepers) -> None:
    """It takes the endpoint for awake, finds it gone, accepts the request and has it woken."""
    alone.places.states.clear()
    alone.gateway.realtime.answer = CapacityError("Endpoint does not exist.", retry_after=60)
    answer = alone.gateway.infer(HIGH)
    assert answer.status == 202
    assert answer.headers["x-tollgate-route-reason"] == "priority=high;realtime_fallback=no_capacity"
    alone.gateway.realtime.answer = b'{"label": "en"}'
    alone.deliver()
    alone.minutes(3)
    alone.deliver()
    assert {job.state for job in alone.gateway.jobs.jobs.values()} == {JobState.COMPLETED}


def test_a_deadline_counts_the_start(alone: Sleepers) -> None:
    """Within an hour the endpoint is woken for it; within a minute no road is expected to be in time."""
    later = alone.gateway.infer({"model": "echo", "input": "hello", "deadline_seconds": 3600})
    assert later.status == 202
    soon = alone.gateway.infer({"model": "echo", "input": "hello", "deadline_seconds": 60})
    assert soon.status == 422
    assert json.loads(soon.body)["error"]["param"] == "deadline_seconds"


def test_without_a_policy_a_sleeping_road_is_refused_as_before() -> None:
    """Nobody would wake it, so nothing is promised."""
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME))
    world.until_asleep()
    world.gateway.catalogues.catalogue = sleepy_catalogue(None, InferenceType.REALTIME)
    assert world.gateway.infer(HIGH).status == 503


def test_a_caller_may_wait_for_the_wake(alone: Sleepers) -> None:
    """`Prefer: wait=20`: 200 with the ended job when it is up within that, and the preference was applied."""

    def meanwhile() -> None:
        alone.deliver()
        alone.endpoints.settle()
        alone.keeper.tick()

    alone.gateway.meanwhile = meanwhile
    answer = alone.gateway.infer(HIGH, headers={"prefer": "respond-async, wait=20"})
    document = json.loads(answer.body)
    assert (answer.status, document["status"], document["output"]) == (200, "completed", {"label": "en"})
    assert answer.headers["Preference-Applied"] == "wait=20"


def test_a_caller_who_waits_in_vain_is_told_where_to_ask(alone: Sleepers) -> None:
    """Two seconds are too short: 202 with the place of the job, as without the preference."""
    began = alone.clock.monotonic()
    answer = alone.gateway.infer(HIGH, headers={"prefer": "wait=2"})
    assert answer.status == 202
    assert answer.headers["Location"].startswith("/v1/inferences/inf_")
    assert answer.headers["Preference-Applied"] == "wait=2"
    assert 2 <= alone.clock.monotonic() - began < 3


def test_nobody_waits_longer_than_the_api_answers(alone: Sleepers) -> None:
    """`wait=600` ends with API Gateway's own limit; a wait that is no number is ignored."""
    began = alone.clock.monotonic()
    assert alone.gateway.infer(HIGH, headers={"prefer": "wait=600"}).status == 202
    assert alone.clock.monotonic() - began < 29
    assert "Preference-Applied" not in alone.gateway.infer(HIGH, headers={"prefer": "wait=soon"}).headers


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ModelFailedError("The container failed.", original_status=500), "model_failed"),
        (BackendTimeoutError("late"), "model_failed"),
    ],
)
def test_a_deferred_request_that_fails_says_so(alone: Sleepers, failure: Exception, code: str) -> None:
    """The container worked and failed: the job ends as failed, once."""
    identity = json.loads(alone.gateway.infer(HIGH).body)["id"]
    alone.deliver()
    alone.minutes(3)
    alone.gateway.realtime.answer = failure
    alone.deliver()
    alone.deliver()
    job = alone.gateway.jobs.jobs[identity]
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code == code
    assert len(alone.gateway.realtime.calls) == 1


def test_an_endpoint_that_is_full_after_the_wake_gets_the_job_again(alone: Sleepers) -> None:
    """No capacity is no end: the message comes back, and the lease does not stand in its way."""
    identity = json.loads(alone.gateway.infer(HIGH).body)["id"]
    alone.deliver()
    alone.minutes(3)
    alone.gateway.realtime.answer = CapacityError("full", retry_after=5)
    alone.deliver()
    assert alone.gateway.jobs.jobs[identity].state is JobState.QUEUED
    alone.gateway.realtime.answer = b'{"label": "en"}'
    alone.deliver()
    assert alone.gateway.jobs.jobs[identity].state is JobState.COMPLETED


def test_a_doubled_message_runs_the_model_once(alone: Sleepers) -> None:
    """The job has ended when its message comes again."""
    identity = json.loads(alone.gateway.infer(HIGH).body)["id"]
    alone.deliver()
    alone.minutes(3)
    alone.gateway.deferred_queue.sent *= 3
    alone.deliver()
    assert alone.gateway.jobs.jobs[identity].state is JobState.COMPLETED
    assert len(alone.gateway.realtime.calls) == 1


def test_a_wake_under_injected_failures_loses_nothing(alone: Sleepers) -> None:
    """Creations refused and without instances while requests come: all are answered, the record explains the wait."""
    alone.endpoints.failing = ["no capacity", "no capacity"]
    alone.endpoints.refusals = [CapacityError("ResourceLimitExceeded"), None, CapacityError("timed out")]
    for number in range(60):
        assert alone.gateway.infer(HIGH, request_id=f"req-{number}").status in {200, 202}
        alone.deliver()
        alone.minutes(1, settle=number % 2 == 0)
    alone.minutes(10)
    alone.deliver()
    assert {job.state for job in alone.gateway.jobs.jobs.values()} == {JobState.COMPLETED}
    assert any(reason == "failed: no capacity" for reason in _story(alone))
    assert any(reason == "failed: ResourceLimitExceeded" for reason in _story(alone))
