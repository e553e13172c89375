"""Endpoints asleep and awake again: the keeper alone, with every fake under the test's hand."""

from copy import replace

import pytest

from tests.fakes.examples import make_job
from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, Sleepers, sleepy_catalogue, standing
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendThrottledError, CapacityError, StorageError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase, SleepPolicy, WarmHours
from tollgate.domain.places.standing import Place, StandStatus
from tollgate.domain.roads.capacity import RoadState
from tollgate.services.places.keep_places import DRAIN_SECONDS, FOLLOW_SECONDS, LOOK_AGAIN_SECONDS

_ROAD = ("echo/small", InferenceType.REALTIME)


def test_an_unused_endpoint_sleeps_and_routing_hears_first() -> None:
    """After the idle time the gateways are told; only when they have had time to hear it is it deleted."""
    world = Sleepers()
    world.minutes(31)
    assert world.record().phase is Phase.FALLING_ASLEEP
    assert world.places.states[_ROAD] == (RoadState.ASLEEP, 0)
    assert world.endpoints.orders == []
    world.keeper.tick()
    assert world.endpoints.orders == [], f"before {DRAIN_SECONDS} s"
    world.clock.advance(DRAIN_SECONDS)
    world.keeper.tick()
    assert f"{REALTIME.key} deleted" in world.endpoints.orders
    world.endpoints.settle()
    world.clock.advance(LOOK_AGAIN_SECONDS)
    world.keeper.tick()
    record = world.record()
    assert (record.phase, record.before) == (Phase.ASLEEP, standing(REALTIME))
    gone = f"after {DRAIN_SECONDS + LOOK_AGAIN_SECONDS:.0f} s"
    assert [line.reason for line in record.history] == ["first seen", "no invocation for 30 min", gone]


def test_more_places_than_a_minute_is_long_enough_for_are_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function would be stopped in the middle each time, and would never come to the last of them."""
    catalogue = sleepy_catalogue(POLICY, InferenceType.REALTIME)
    [plain] = catalogue.models["echo"].deployments
    road = plain.roads[InferenceType.REALTIME]
    many = tuple(
        replace(plain, name=f"number-{number}", roads={InferenceType.REALTIME: replace(road, target=f"end-{number}")})
        for number in range(100)
    )
    world = Sleepers(catalogue=replace(catalogue, models={"echo": replace(catalogue.models["echo"], deployments=many)}))
    write = world.places.write

    def slow(record: PlaceRecord) -> bool:
        world.clock.advance(1)
        return write(record)

    monkeypatch.setattr(world.places, "write", slow)
    began = world.clock.monotonic()
    world.keeper.tick()
    assert world.clock.monotonic() - began <= 61
    assert len(world.places.all()) == 60
    world.keeper.tick()
    assert len(world.places.all()) == 100


def test_an_endpoint_in_use_stays_up_and_metrics_are_asked_rarely() -> None:
    """With an invocation every 20 minutes nothing sleeps in 3 hours, for about one question to CloudWatch each."""
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME))
    for _ in range(9):
        world.activity.last[REALTIME] = world.clock.now()
        world.minutes(20)
    assert world.record().phase is Phase.AWAKE
    assert world.endpoints.orders == []
    assert world.activity.asked <= 9


def test_a_time_zone_that_is_not_known_here_keeps_only_its_place_up() -> None:
    """Its hours cannot be told, so it does not sleep; the looks at all places go on, and somebody hears why."""
    hours = WarmHours(frozenset(range(7)), 0, 60, zone="Mars/Olympus_Mons")
    world = Sleepers(catalogue=sleepy_catalogue(replace(POLICY, warm_hours=(hours,))))
    world.minutes(90)
    assert world.record().phase is Phase.AWAKE
    assert world.record(ASYNC).phase is Phase.AWAKE
    assert [line for line in world.telemetry.lines if "Mars/Olympus_Mons" in str(line)]


def test_without_metrics_nothing_sleeps() -> None:
    """Metrics that cannot be read are not the same as none."""
    world = Sleepers()
    world.activity.broken = True
    world.minutes(90)
    assert world.record().phase is Phase.AWAKE
    assert world.endpoints.orders == []


def test_waking_brings_back_exactly_what_was_there() -> None:
    """Two instances of eight at most: afterwards the same standing, awake in the record and for routing."""
    world = Sleepers()
    before = standing(REALTIME, 2, (2, 8))
    world.endpoints.put(before)
    world.until_asleep()
    assert world.endpoints.describe(REALTIME).status is StandStatus.ABSENT
    world.keeper.wake(REALTIME)
    world.minutes(4)
    assert world.endpoints.describe(REALTIME) == before
    assert world.record().phase is Phase.AWAKE
    assert world.places.states[_ROAD] == (RoadState.AWAKE, 2)


def test_a_few_jobs_wait_as_long_as_the_first_of_them_may() -> None:
    """With a backlog of three to wake for, two wait ten minutes, counted from the one that came first."""
    patient = replace(POLICY, wake_backlog=3, wake_after_seconds=600)
    world = Sleepers(catalogue=sleepy_catalogue(patient))
    world.until_asleep()
    world.gateway.jobs.add(make_job("inf_1", inference_type=InferenceType.REALTIME, created_at=world.clock.now()))
    world.minutes(5)
    world.gateway.jobs.add(make_job("inf_2", inference_type=InferenceType.REALTIME, created_at=world.clock.now()))
    world.minutes(4)
    assert world.record().phase is Phase.ASLEEP
    world.minutes(2)
    assert "waiting for 600 s" in [line.reason for line in world.record().history]


@pytest.mark.parametrize(
    "failure", [CapacityError("ResourceLimitExceeded"), BackendThrottledError("throttled"), StorageError("lost")]
)
def test_a_refused_creation_is_tried_again_ever_more_slowly(failure: BackendThrottledError) -> None:
    """Refused three times, then taken: awake in the end, and the record tells the story."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.refusals = [failure] * 3
    world.keeper.wake(REALTIME)
    world.minutes(8)
    assert world.record().phase is Phase.AWAKE
    if not isinstance(failure, StorageError):
        story = [line.reason for line in world.record().history]
        assert story.count(f"failed: {failure.message}") == 3
        assert world.telemetry.counts["PlaceHindered"] == 3


def test_an_endpoint_whose_instances_do_not_come_is_made_again() -> None:
    """Created, failed for want of capacity, cleared away, created again."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.orders.clear()
    world.endpoints.failing = ["no capacity", "no capacity"]
    world.keeper.wake(REALTIME)
    world.minutes(15)
    assert world.endpoints.orders.count(f"{REALTIME.key} made") == 3
    assert world.record().phase is Phase.AWAKE
    assert any("no capacity" in line.reason for line in world.record().history)


def test_a_wake_is_followed_until_it_is_over() -> None:
    """Looks every few seconds while the endpoint starts, none once it is up, and never beyond the next minute."""
    world = Sleepers()
    world.until_asleep()
    moving = world.keeper.wake(REALTIME)
    assert list(moving) == [REALTIME]
    world.keeper.follow(moving)
    assert world.record().phase is Phase.AWAKE
    assert set(world.paused) == {LOOK_AGAIN_SECONDS}
    assert len(world.paused) < FOLLOW_SECONDS / LOOK_AGAIN_SECONDS
    assert world.telemetry.counts["TimeToWake"] == sum(world.paused)
    world.paused.clear()
    world.keeper.follow(world.keeper.tick())
    assert world.paused == []


def test_following_ends_before_the_next_minute() -> None:
    """An endpoint that takes longer is left to the next call, within the time that this one has."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.settle = lambda: None  # type: ignore[method-assign]  # it never comes up
    world.keeper.follow(world.keeper.wake(REALTIME))
    assert sum(world.paused) == FOLLOW_SECONDS
    assert world.record().phase is Phase.WAKING


def test_what_the_brake_holds_neither_sleeps_nor_wakes() -> None:
    """Held awake it stays, held asleep it is not woken by 500 requests; let go it is."""
    world = Sleepers()
    world.minutes(1)
    world.places.hold(REALTIME, "brake", world.clock.now())
    world.minutes(60)
    assert world.record().phase is Phase.AWAKE
    world.places.let_go(REALTIME, "brake")
    world.until_asleep()
    world.places.hold(REALTIME, "brake", world.clock.now())
    for _ in range(500):
        world.keeper.wake(REALTIME)
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    world.minutes(2)
    assert world.record().phase is Phase.ASLEEP
    world.places.let_go(REALTIME, "brake")
    world.minutes(4)
    assert world.record().phase is Phase.AWAKE


def test_an_asynchronous_endpoint_goes_to_zero_and_keeps_its_upper_bound() -> None:
    """Its target's lower bound goes to 0 and comes back; autoscaling may still start it meanwhile."""
    world = Sleepers()
    before = standing(ASYNC, 1, (1, 4))
    world.endpoints.put(before)
    world.until_asleep(ASYNC)
    [target] = world.endpoints.describe(ASYNC).scaling
    assert (target.minimum, target.maximum) == (0, 4)
    world.keeper.wake(ASYNC)
    world.minutes(4)
    assert world.endpoints.describe(ASYNC) == before


def test_what_autoscaling_did_is_adopted() -> None:
    """An endpoint found at 0 counts as asleep, one found up as awake, without an order."""
    world = Sleepers()
    world.minutes(1)
    empty = standing(ASYNC, 0)
    world.endpoints.put(replace(empty, status=StandStatus.DOWN))
    world.minutes(1)
    assert (world.record(ASYNC).phase, world.record(ASYNC).history[-1].reason) == (Phase.ASLEEP, "found down")
    world.endpoints.put(standing(ASYNC, 2))
    world.minutes(1)
    assert (world.record(ASYNC).phase, world.record(ASYNC).history[-1].reason) == (Phase.AWAKE, "found up")
    assert world.places.states["echo/small", InferenceType.ASYNC] == (RoadState.AWAKE, 2)
    assert world.endpoints.orders == []


def test_a_place_whose_policy_was_taken_away_wakes_and_stays() -> None:
    """No policy means that it never sleeps, also if it does just now."""
    world = Sleepers()
    world.until_asleep()
    world.gateway.catalogues.catalogue = sleepy_catalogue(None)
    world.minutes(90)
    assert world.record().phase is Phase.AWAKE


def test_a_place_without_a_policy_is_left_alone() -> None:
    """No record, no order, no question."""
    world = Sleepers(catalogue=sleepy_catalogue(None))
    world.minutes(90)
    assert world.places.records == {}
    assert world.endpoints.orders == []


def test_one_place_in_trouble_keeps_no_other_from_being_looked_at() -> None:
    """The first place's refusals do not stop the second from going to sleep."""
    world = Sleepers()
    world.minutes(31)
    world.endpoints.refusals = [CapacityError("no")]
    world.minutes(4)
    assert {record.phase for record in world.places.records.values()} == {Phase.ASLEEP}


def test_waking_wants_at_least_the_policy_s_minimum() -> None:
    """Asleep from one instance, woken to the three of its warm hours."""
    world = Sleepers(catalogue=sleepy_catalogue(SleepPolicy(30, warm_minimum=3)))
    world.until_asleep()
    world.keeper.wake(REALTIME)
    world.minutes(5)
    assert world.endpoints.describe(REALTIME).current == 3


def test_an_unknown_place_is_ignored() -> None:
    """An event about an endpoint that left the catalogue changes nothing."""
    world = Sleepers()
    gone = Place.from_key("realtime_endpoint/gone")
    world.keeper.wake(gone)
    world.keeper.follow([gone])
    assert world.endpoints.orders == []
