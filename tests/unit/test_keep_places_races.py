"""Messages in any order, interrupted looks and two keepers at once: an endpoint sleeps and wakes once all the same."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import replace

import pytest

from tests.fakes.examples import make_job
from tests.fakes.places import FakePlaces
from tests.fakes.sleepers import REALTIME, Sleepers
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import CapacityError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase, retry_seconds
from tollgate.domain.places.standing import Standing, Step
from tollgate.domain.roads.capacity import RoadState

_ROAD = ("echo/small", InferenceType.REALTIME)


def test_a_storm_of_500_requests_wakes_once() -> None:
    """500 wake requests from 20 threads and 5 environments: one creation, one transition."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.orders.clear()
    keepers = [world.new_keeper() for _ in range(5)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: keepers[number % 5].wake(REALTIME), range(500)))
    assert world.places.asked == 500
    assert world.endpoints.orders == [f"{REALTIME.key} made"]
    assert [line.phase for line in world.record().history].count(Phase.WAKING) == 1


@pytest.mark.parametrize("order", [["wake", "tick"], ["tick", "wake"], ["wake", "wake", "look", "tick"]])
def test_messages_in_any_order_do_the_same(order: list[str]) -> None:
    """A tick, a doubled wake request, a late look: one creation whatever comes first."""
    world = Sleepers()
    world.until_asleep()
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    world.endpoints.orders.clear()
    deeds: dict[str, Callable[[], object]] = {
        "wake": lambda: world.keeper.wake(REALTIME),
        "look": lambda: world.keeper.follow([REALTIME]),
        "tick": world.keeper.tick,
    }
    for name in order:
        deeds[name]()
    world.minutes(3)
    assert world.endpoints.orders[0] == f"{REALTIME.key} made"
    assert world.endpoints.orders.count(f"{REALTIME.key} made") == 1
    assert world.record().phase is Phase.AWAKE


def test_a_lost_wake_request_costs_a_minute() -> None:
    """The next look counts the job that waits."""
    world = Sleepers()
    world.until_asleep()
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    world.keeper.tick()
    assert world.record().phase is Phase.WAKING
    assert world.record().history[-1].reason == "1 waiting"


def test_a_request_that_comes_while_it_falls_asleep_turns_it_round() -> None:
    """Nothing was taken down yet: it is awake again with the next step, and never stopped serving."""
    world = Sleepers()
    world.minutes(31)
    assert world.record().phase is Phase.FALLING_ASLEEP
    world.keeper.wake(REALTIME)
    assert world.record().phase is Phase.AWAKE
    assert world.endpoints.orders == []
    assert world.places.states[_ROAD] == (RoadState.AWAKE, 1)


def test_a_storm_is_counted_and_wakes_once() -> None:
    """Of 500 requests to wake, one does; the others, and the jobs that wait, are there to be seen."""
    world = Sleepers()
    world.until_asleep()
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    world.endpoints.orders.clear()
    moved = [place for _ in range(500) for place in world.keeper.wake(REALTIME)]
    assert moved == [REALTIME]
    assert world.endpoints.orders == [f"{REALTIME.key} made"]
    counts = world.telemetry.counts
    assert (counts["WakeRequested"], counts["WakeSuppressed"], counts["WaitingForWake"]) == (1, 499, 1)


class _Interrupted(FakePlaces):
    """Records where somebody else always writes first."""

    def write(self, record: PlaceRecord) -> bool:
        stored = self.records.get(record.place)
        if stored is not None:
            self.records[record.place] = replace(stored, revision=stored.revision + 1)
        return super().write(record)


def test_who_lost_the_race_for_the_record_takes_no_step() -> None:
    """When every write is overtaken, no endpoint is touched."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.orders.clear()
    racing = _Interrupted(dict(world.places.records), world.places.states)
    world.places = racing
    keeper = world.new_keeper()
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    for _ in range(5):
        keeper.tick()
    assert world.endpoints.orders == []


def test_who_lost_the_race_takes_no_follow_up_step_either() -> None:
    """The same for a place that is waking already, and was found absent."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.refusals = [CapacityError("no")]
    world.keeper.wake(REALTIME)
    assert world.record().phase is Phase.WAKING
    world.places = _Interrupted(dict(world.places.records), world.places.states)
    keeper = world.new_keeper()
    world.endpoints.orders.clear()
    world.clock.advance(600)
    keeper.tick()
    assert world.endpoints.orders == []


def test_two_keepers_wait_for_a_failed_endpoint_s_next_try() -> None:
    """One looks while the other clears the failed endpoint away: neither makes it again before the back-off is over."""
    world = Sleepers()
    world.until_asleep()
    world.endpoints.failing = ["no capacity"]
    world.keeper.wake(REALTIME)
    world.endpoints.settle()
    world.clock.advance(60)
    world.endpoints.orders.clear()
    other, clear_away = world.new_keeper(), world.endpoints.bring_up

    def bring_up(before: Standing) -> Step:
        world.endpoints.bring_up = clear_away  # type: ignore[method-assign]  # once
        step = clear_away(before)
        world.endpoints.settle()
        other.tick()
        return step

    world.endpoints.bring_up = bring_up  # type: ignore[method-assign]  # the other keeper's look falls into this call
    world.keeper.tick()
    world.clock.advance(0.9)
    other.tick()
    assert world.endpoints.orders == [f"{REALTIME.key} deleted after it failed"]
    world.clock.advance(retry_seconds(1))
    other.tick()
    assert world.endpoints.orders[1:] == [f"{REALTIME.key} made"]
