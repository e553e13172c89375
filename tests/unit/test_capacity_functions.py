"""The handlers of capacity and deferred, with their sample events and services made of fakes."""

import json
from copy import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.capacity import app as capacity
from functions.deferred import app as deferred
from tests.fakes.examples import make_job
from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, Sleepers, sleepy_catalogue
from tollgate.api.message_fields import MessageError
from tollgate.domain.brakes.level import NO_CONTROL, BrakeLevel, BrakePolicy, BrakeStep, Control
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import Phase
from tollgate.services.jobs.braked_jobs import BRAKED_SECONDS
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.places.keep_places import PlaceKeeper
from tollgate.services.places.rightsize import RightSizing

EVENTS = Path(__file__).parents[2] / "events"
JOB = "inf_01kb3x8h5v2m9q4r7t1w6y0z3c"


def _event(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


@pytest.fixture
def asleep() -> Sleepers:
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME, InferenceType.ASYNC))
    world.until_asleep()
    return world


def _parts(world: Sleepers) -> capacity.Services:
    def not_now() -> RightSizing:
        raise AssertionError("Only the daily event looks at sizes")

    return capacity.Services(world.keeper, not_now)


def test_the_schedule_looks_at_every_place() -> None:
    """The first look writes a record of each endpoint."""
    world = Sleepers()
    capacity.handle(_event("capacity/schedule"), _parts(world))
    assert set(world.places.records) == {REALTIME, ASYNC}


def test_a_wake_event_wakes_and_comes_once_or_twice_alike(asleep: Sleepers) -> None:
    """Delivered three times it makes one endpoint, and is followed until that is up."""
    asleep.endpoints.orders.clear()
    for _ in range(3):
        capacity.handle(_event("capacity/wake"), _parts(asleep))
    assert asleep.endpoints.orders == [f"{REALTIME.key} made"]
    assert asleep.record().phase is Phase.AWAKE


def test_the_schedule_goes_on_with_what_is_under_way(asleep: Sleepers) -> None:
    """The asynchronous endpoint is up when its instances are, without waiting for the next minute."""
    asleep.keeper.wake(ASYNC)
    capacity.handle(_event("capacity/schedule"), _parts(asleep))
    assert asleep.record(ASYNC).phase is Phase.AWAKE


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (_event("capacity/wake_nowhere"), "no such place 'toaster/kitchen'"),
        ({"kind": "wake"}, "no 'place'"),
        ({"kind": "wake", "place": 7}, "no 'place'"),
        ({"kind": "dance", "place": REALTIME.key}, "unknown kind 'dance'"),
        ({"kind": None}, "no 'kind'"),
    ],
)
def test_a_malformed_event_ends_among_the_dead_letters_with_its_reason(
    asleep: Sleepers, event: dict[str, Any], problem: str
) -> None:
    """Lambda puts the error's text beside the event; nothing is guessed and nothing moves."""
    asleep.endpoints.orders.clear()
    with pytest.raises(MessageError, match=problem):
        capacity.handle(event, _parts(asleep))
    assert ("ERROR", "event not understood", {"problem": problem}) in asleep.telemetry.lines
    assert asleep.record().phase is Phase.ASLEEP
    assert asleep.endpoints.orders == []


def test_a_deferred_job_runs_when_its_endpoint_is_up(asleep: Sleepers) -> None:
    """While it sleeps the message is done with and the endpoint is asked to wake; awake, the job completes."""
    asleep.gateway.jobs.add(make_job(JOB, inference_type=InferenceType.REALTIME))
    assert deferred.handle(_event("deferred/queue"), asleep.deferred) == {"batchItemFailures": []}
    assert {"kind": "wake", "place": REALTIME.key} in asleep.wakes.bodies
    assert asleep.gateway.jobs.jobs[JOB].state is JobState.QUEUED
    asleep.deliver()
    asleep.minutes(3)
    assert deferred.handle(_event("deferred/queue"), asleep.deferred) == {"batchItemFailures": []}
    assert asleep.gateway.jobs.jobs[JOB].state is JobState.COMPLETED


def test_a_deferred_job_waits_while_spending_is_stopped() -> None:
    """Its endpoint may still be up: nothing runs, nothing is woken, its message comes back later, and then it runs."""
    world = Sleepers()
    brakes = BrakePolicy(steps=(BrakeStep(Decimal(100), BrakeLevel.STOP),))
    world.gateway.catalogues.catalogue = replace(world.gateway.catalogues.catalogue, brakes=brakes)
    world.gateway.brakes.control = Control(revision=1, level=BrakeLevel.STOP)
    world.gateway.jobs.add(make_job(JOB, inference_type=InferenceType.REALTIME))
    assert deferred.handle(_event("deferred/queue"), world.deferred) == {"batchItemFailures": []}
    assert world.gateway.jobs.jobs[JOB].state is JobState.QUEUED
    assert world.gateway.realtime.calls == []
    assert world.wakes.sent == []
    (again,) = world.gateway.deferred_queue.sent
    assert (again.body["job_id"], again.delay_seconds) == (JOB, BRAKED_SECONDS)
    world.gateway.brakes.control = NO_CONTROL
    world.deliver()
    assert world.gateway.jobs.jobs[JOB].state is JobState.COMPLETED
    assert len(world.gateway.realtime.calls) == 1


def test_a_deferred_message_for_no_job_is_done_with(asleep: Sleepers) -> None:
    """A job that was deleted leaves a line in the log and no failure."""
    assert deferred.handle(_event("deferred/queue"), asleep.deferred) == {"batchItemFailures": []}
    assert ("WARNING", "deferred message for an unknown job", {"job_id": JOB}) in asleep.telemetry.lines


def test_a_job_whose_deployment_is_gone_fails_truthfully(asleep: Sleepers) -> None:
    """Nobody will ever run it, so it says so instead of waiting."""
    asleep.gateway.jobs.add(make_job(JOB, inference_type=InferenceType.REALTIME, deployment="gone"))
    deferred.handle(_event("deferred/queue"), asleep.deferred)
    assert asleep.gateway.jobs.jobs[JOB].state is JobState.FAILED


def test_both_functions_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their settings are complete and nothing connects before the first event."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    urls = {name: f"http://127.0.0.1/{name}" for name in ("ASYNC_QUEUE_URL", "DEFERRED_QUEUE_URL", "WEBHOOK_QUEUE_URL")}
    tables = {"TABLE_JOBS": "j", "TABLE_REGISTRY": "r", "TABLE_LEDGER": "l", "TABLE_CACHE": "c", "BUCKET": "b"}
    names = {"CAPACITY_FUNCTION": "tollgate-capacity"}
    parts = capacity.build(capacity.CapacitySettings.load(urls | tables))
    assert isinstance(parts.keeper, PlaceKeeper)
    assert isinstance(parts.rightsizing(), RightSizing)
    assert isinstance(deferred.build(deferred.DeferredSettings.load(urls | tables | names)), DeferredRun)
