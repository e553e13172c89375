"""Requests with a deadline gather at a sleeping endpoint, and it wakes once, in time, for all of them."""

import json
from collections.abc import Mapping
from copy import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.async_road import AsyncRoad
from tests.fakes.examples import make_job
from tests.fakes.sleepers import ASYNC, REALTIME, Sleepers, sleepy_catalogue, standing
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import (
    CLOSE_LOOK_SECONDS,
    LATE_SECONDS,
    TICK_SECONDS,
    Action,
    Phase,
    SleepPolicy,
    Watched,
    decide,
    shared_policy,
)
from tollgate.domain.places.wake_by_deadline import DueWork

GATHER = SleepPolicy(idle_minutes=30, gather=True)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
STARTUP = 240.0
SOON: Mapping[str, Any] = {"model": "echo", "input": "hello", "deadline_seconds": 1800}


@pytest.fixture
def asleep() -> Sleepers:
    world = Sleepers(catalogue=sleepy_catalogue(GATHER, InferenceType.ASYNC))
    world.endpoints.put(standing(ASYNC, 1, bounds=(0, 4)))
    world.until_asleep(ASYNC)
    world.endpoints.orders.clear()
    return world


def _wakes(world: Sleepers) -> int:
    return [line.phase for line in world.record(ASYNC).history].count(Phase.WAKING)


def test_work_that_was_measured_as_nothing_does_not_stop_the_look() -> None:
    """A place whose requests take less than the clock shows is woken in time, like any other."""
    due = (DueWork((NOW + timedelta(minutes=20)).timestamp(), 0.0),)
    watched = Watched(phase=Phase.ASLEEP, since=NOW, due=due, startup_seconds=STARTUP)
    assert decide(NOW, watched, GATHER).action is Action.STAY
    late = timedelta(minutes=20) - timedelta(seconds=STARTUP + GATHER.gather_margin_seconds + LATE_SECONDS)
    assert decide(NOW + late - timedelta(seconds=1), watched, GATHER).soon
    assert decide(NOW + late, watched, GATHER).action is Action.WAKE


def test_enough_gathered_work_wakes_the_place_before_its_last_moment() -> None:
    """Work for as long as a start takes is not kept waiting for more; the same work for the next day is."""
    soon = DueWork((NOW + timedelta(minutes=15)).timestamp(), STARTUP)
    tomorrow = DueWork((NOW + timedelta(hours=20)).timestamp(), STARTUP)
    for due, action, instances in (((soon,), Action.WAKE, 1), ((tomorrow,), Action.STAY, 0)):
        watched = Watched(phase=Phase.ASLEEP, since=NOW, due=due, startup_seconds=STARTUP)
        decision = decide(NOW, watched, GATHER)
        assert (decision.action, decision.instances) == (action, instances)


def test_requests_with_a_deadline_wait_for_company(asleep: Sleepers) -> None:
    """Ten of them, a minute apart: nobody is asked to wake it until the first could be late, then once for all."""
    answers = []
    for number in range(10):
        answers.append(asleep.gateway.infer(SOON, request_id=f"req-{number}"))
        asleep.minutes(1)
    assert {answer.status for answer in answers} == {202}
    assert asleep.gateway.wakes.sent == []
    assert asleep.record(ASYNC).phase is Phase.ASLEEP
    first = asleep.gateway.jobs.jobs[json.loads(answers[0].body)["id"]]
    assert first.deadline_at is not None
    asleep.gateway.async_queue.sent.clear()
    while asleep.record(ASYNC).phase is not Phase.AWAKE:
        asleep.calls(1)
    woken = next(line for line in asleep.record(ASYNC).history if line.phase is Phase.WAKING)
    left = (first.deadline_at - woken.at).total_seconds()
    assert left > STARTUP + GATHER.gather_margin_seconds
    assert left <= STARTUP + GATHER.gather_margin_seconds + LATE_SECONDS + CLOSE_LOOK_SECONDS
    assert woken.reason == "gathered requests must start"
    assert asleep.record(ASYNC).phase is Phase.AWAKE
    assert _wakes(asleep) == 1
    released = {message.body["job_id"] for message in asleep.gateway.async_queue.sent}
    assert released == set(asleep.gateway.jobs.jobs)


def test_one_that_cannot_wait_for_the_next_look_wakes_it_at_once(asleep: Sleepers) -> None:
    """Its deadline leaves time for the start, but not for a minute before it: the gateway asks, and it is in time."""
    asleep.gateway.infer({**SOON, "deadline_seconds": int(STARTUP) + 60}, request_id="hurried")
    assert [event.body["place"] for event in asleep.gateway.wakes.sent] == [ASYNC.key]
    asleep.gateway.wakes.sent.clear()
    asleep.gateway.infer(SOON, request_id="patient")
    assert asleep.gateway.wakes.sent == []


def test_one_that_cannot_wait_wakes_it_for_all(asleep: Sleepers) -> None:
    """A request without a deadline is not gathered, by the message or, if that is lost, by the next look."""
    asleep.gateway.infer(SOON, request_id="patient")
    asleep.minutes(1)
    asleep.gateway.infer({"model": "echo", "input": "now", "priority": "medium"}, request_id="other")
    assert [event.body["place"] for event in asleep.gateway.wakes.sent] == [ASYNC.key]
    asleep.gateway.wakes.sent.clear()
    asleep.minutes(1, settle=False)
    assert asleep.record(ASYNC).phase is Phase.WAKING
    assert asleep.record(ASYNC).history[-1].reason == "1 waiting"


def test_the_most_pressing_is_handed_over_first(asleep: Sleepers) -> None:
    """By deadline and not by arrival, as the rule that woke it supposes."""
    for name, minutes in (("late", 60), ("soon", 20), ("between", 40)):
        now = asleep.clock.now()
        asleep.gateway.jobs.add(make_job(name, created_at=now, deadline_at=now + timedelta(minutes=minutes)))
        asleep.clock.advance(1)
    asleep.gateway.async_queue.sent.clear()
    asleep.minutes(20)
    assert asleep.record(ASYNC).phase is Phase.AWAKE
    assert [message.body["job_id"] for message in asleep.gateway.async_queue.sent][:3] == ["soon", "between", "late"]


def test_without_the_setting_a_deadline_waits_for_nothing() -> None:
    """The default: the request wakes the endpoint as any other does."""
    world = Sleepers(catalogue=sleepy_catalogue(replace(GATHER, gather=False), InferenceType.ASYNC))
    world.until_asleep(ASYNC)
    world.gateway.infer(SOON)
    assert [event.body["place"] for event in world.gateway.wakes.sent] == [ASYNC.key]


def test_a_job_does_not_expire_while_it_is_gathered(asleep: Sleepers) -> None:
    """Its deadline is a day away, but the model's `request_ttl_seconds` end sooner: it is woken for by then."""
    model = asleep.gateway.catalogues.catalogue.models["echo"]
    patience = model.asynchronous.request_ttl_seconds
    asleep.gateway.jobs.add(
        make_job(created_at=asleep.clock.now(), deadline_at=asleep.clock.now() + timedelta(seconds=86_400))
    )
    since = asleep.clock.now()
    while asleep.record(ASYNC).phase is Phase.ASLEEP:
        asleep.calls(1)
    woken = next(line.at for line in asleep.record(ASYNC).history if line.phase is Phase.WAKING)
    assert (woken - since).total_seconds() < patience - STARTUP


def test_more_work_wakes_it_with_more_instances(asleep: Sleepers) -> None:
    """As many as deadlines need, at most as many as autoscaling may have; two rounds later nothing of it is left."""
    for number in range(100):
        asleep.gateway.jobs.add(
            make_job(
                f"inf_{number}", created_at=asleep.clock.now(), deadline_at=asleep.clock.now() + timedelta(minutes=20)
            )
        )
    asleep.capacity.measured = 60.0
    while asleep.record(ASYNC).phase is Phase.ASLEEP:
        asleep.minutes(1, settle=False)
    before = asleep.record(ASYNC).before
    assert before is not None
    assert 1 < before.desired <= 4
    asleep.minutes(2)
    assert asleep.endpoints.describe(ASYNC).current == before.desired


@pytest.mark.parametrize(
    ("phase", "held"),
    [(Phase.ASLEEP, True), (Phase.FALLING_ASLEEP, True), (Phase.WAKING, True), (Phase.AWAKE, False), (None, False)],
)
def test_a_gathered_job_is_not_handed_to_sagemaker(phase: Phase | None, held: bool) -> None:
    """Its backlog would start instances at once, and during the start it would be ahead of those that gathered."""
    road = AsyncRoad(sleepy_catalogue(GATHER, InferenceType.ASYNC))
    road.jobs.add(make_job(deadline_at=NOW))
    if phase is not None:
        road.places.write(PlaceRecord(ASYNC, phase, NOW))
    road.submitter().submit("inf_1")
    assert bool(road.backend.submitted) is not held
    job = road.jobs.get("inf_1")
    assert job is not None
    assert (job.state is JobState.QUEUED, job.submit_lease_until) == (held, None)


def test_a_deferred_request_with_a_deadline_gathers_too() -> None:
    """At a real-time endpoint: its message asks nobody to wake it, and the job runs when it has woken."""
    world = Sleepers(catalogue=sleepy_catalogue(GATHER, InferenceType.REALTIME))
    world.until_asleep()
    answer = world.gateway.infer({**SOON, "priority": "high"})
    assert answer.status == 202
    world.deliver()
    assert (world.gateway.wakes.sent, world.wakes.sent) == ([], [])
    assert world.record().phase is Phase.ASLEEP
    while world.record().phase is not Phase.AWAKE:
        world.minutes(1)
    world.deliver()
    job = world.gateway.jobs.jobs[json.loads(answer.body)["id"]]
    assert job.deadline_at is not None
    assert job.state is JobState.COMPLETED
    assert job.finished_at is not None
    assert job.finished_at <= job.deadline_at
    assert REALTIME in world.places.records


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 7200), st.floats(600, 20_000)), min_size=1, max_size=30),
    held=st.floats(0.1, 30),
    places=st.integers(1, 8),
)
def test_whatever_arrives_it_wakes_before_a_deadline_is_lost(
    arrivals: list[tuple[float, float]], held: float, places: int
) -> None:
    """Looks a minute apart, closer when told to: each request can still be begun in time when it is up."""
    coming = sorted(arrivals)
    last, now, due = -1.0, 0.0, list[tuple[float, float]]()
    while True:
        due += [each for each in coming if last < each[0] <= now]
        work = tuple(DueWork(NOW.timestamp() + d - held, held) for d in sorted(a + patience for a, patience in due))
        watched = Watched(Phase.ASLEEP, NOW, due=work, concurrency=places, maximum=64, startup_seconds=STARTUP)
        decision = decide(NOW + timedelta(seconds=now), watched, GATHER)
        if decision.action is Action.WAKE:
            break
        last, now = now, now + (CLOSE_LOOK_SECONDS if decision.soon else TICK_SECONDS)
    earliest = min(a + patience for a, patience in due)
    slack = GATHER.gather_margin_seconds
    patient = all(patience > STARTUP + slack + LATE_SECONDS + TICK_SECONDS + len(coming) * held for _, patience in due)
    if patient:
        assert now + STARTUP + held <= earliest


def test_a_shared_place_gathers_only_if_all_its_users_may() -> None:
    """The most wakeful of each, as with every other rule; the widest margin."""
    both = shared_policy([GATHER, replace(GATHER, gather_margin_seconds=300)])
    assert both is not None
    assert (both.gather, both.gather_margin_seconds) == (True, 300)
    one = shared_policy([GATHER, replace(GATHER, gather=False)])
    assert one is not None
    assert one.gather is False
