"""The brakes at work: record before and after, endpoints down and up again as they were, crashes and races between."""

import random
from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.braked_stack import ASYNC, JOBS, LEVELS, POLICY, REALTIME, World, standings
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.brakes.plan import GATEWAY, EntryState
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.errors import BackendError, StorageError
from tollgate.domain.places.standing import (
    Standing,
)
from tollgate.services.brakes.work import LEASE_SECONDS


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_written_while_nothing_is_wrong(world: World) -> None:
    """A schedule that finds nothing to do costs a read."""
    for _ in range(100):
        world.watch.tick()
    assert world.store.writes == 0
    assert world.endpoints.orders == []


def test_a_stop_takes_everything_down_and_a_resume_puts_it_back(world: World) -> None:
    """Configuration, counts, weights, tags and scaling exactly as before; only transform jobs stay stopped."""
    before = dict(world.endpoints.standings)
    world.brake(BrakeLevel.STOP)
    assert world.level() is BrakeLevel.STOP
    assert set(world.states().values()) == {EntryState.DONE}
    assert all(world.endpoints.describe(place).current == 0 for place in before)
    assert world.holds.held == {REALTIME: "brakes", ASYNC: "brakes", JOBS: "brakes"}
    world.brakes.resume("me")
    world.brakes.settle()
    assert world.level() is BrakeLevel.NONE
    assert world.store.control.episode == ""
    assert {place: world.endpoints.describe(place) for place in (REALTIME, ASYNC)} == {
        place: before[place] for place in (REALTIME, ASYNC)
    }
    assert world.holds.held == {}


def test_steps_are_undone_in_reverse(world: World) -> None:
    """The last thing that was done is the first to be undone."""
    world.brake(BrakeLevel.STOP)
    done = [e.number for e in sorted(world.store.steps.values(), key=lambda e: e.number)]
    world.store.history.clear()
    world.brakes.resume("me")
    world.brakes.settle()
    first_touch = list(dict.fromkeys(entry.number for entry in world.store.history))
    assert first_touch == list(reversed(done))


def test_what_stood_there_is_stored_before_anything_is_touched(world: World) -> None:
    """Each place's standing is in the record when the first order is given."""
    seen: list[bool] = []
    real = world.endpoints.take_down

    def look(before: Standing, *, pinned: bool = True) -> object:
        stored = [e for e in world.store.steps.values() if e.target == before.place.key]
        seen.append(stored[0].before == before == standings()[before.place])
        return real(before, pinned=pinned)

    world.endpoints.take_down = look  # type: ignore[method-assign,assignment]  # looks over its shoulder
    world.brake(BrakeLevel.STOP)
    assert seen
    assert all(seen)


def test_each_step_says_what_it_changed_and_saves(world: World) -> None:
    """In the record, with dollars an hour from what really ran."""
    world.brake(BrakeLevel.STOP)
    entries = {e.target: e for e in world.store.steps.values()}
    assert entries[REALTIME.key].changes == (f"{REALTIME.key} deleted",)
    assert entries[REALTIME.key].usd_per_hour == Decimal("0.345")
    (notice,) = world.announcer.notices
    assert notice["event"] == "brake.raised"
    assert Decimal(notice["saves_usd_per_hour"]) == Decimal("0.69")


def test_levels_follow_one_another_and_each_is_told_once(world: World) -> None:
    """Warn, downgrade, defer, stop; endpoints go down at the last only."""
    for level in LEVELS:
        world.brake(level)
        world.brake(level)
        assert bool(world.endpoints.orders) == (level is BrakeLevel.STOP)
    assert [n["level"] for n in world.announcer.notices] == ["warn", "downgrade", "defer", "stop"]
    assert len(world.store.steps) == 7


def test_doubled_and_late_alarms_change_nothing(world: World) -> None:
    """No write, no order, no message."""
    signal = world.signal(BrakeLevel.STOP)
    world.brakes.hear(signal)
    world.brakes.settle()
    writes, orders = world.store.writes, list(world.endpoints.orders)
    for again in (signal, world.signal(BrakeLevel.WARN), replace(signal, until=signal.observed_at)):
        assert not world.brakes.hear(again)
        world.brakes.settle()
    assert (world.store.writes, world.endpoints.orders) == (writes, orders)
    assert len(world.announcer.notices) == 1


def test_the_next_period_resumes_by_itself(world: World) -> None:
    """The schedule undoes what the last period did."""
    before = world.endpoints.standings[ASYNC]
    world.brake(BrakeLevel.STOP)
    world.clock.advance(13 * 3600)
    world.watch.tick()
    assert world.level() is BrakeLevel.NONE
    assert world.endpoints.describe(ASYNC) == before
    assert [n["event"] for n in world.announcer.notices] == ["brake.raised", "brake.lowered"]


def test_critical_places_are_left_alone() -> None:
    """Not even looked at."""
    world = World(replace(POLICY, critical=frozenset({"echo"})))
    world.brake(BrakeLevel.STOP)
    assert world.endpoints.orders == []
    assert {e.target for e in world.store.steps.values()} == {GATEWAY}


def test_the_ledger_alone_is_enough(world: World) -> None:
    """Every notice may be lost; the schedule reads the counter, and a resume holds until there is more."""
    name = "gateway#day#2026-03-01"
    for spent, level in (("7", "none"), ("8", "warn"), ("9.2", "downgrade"), ("9.6", "defer"), ("10", "stop")):
        world.ledger.counters[name] = Counter(committed=Decimal(spent), spent=Decimal(spent))
        world.watch.tick()
        assert world.level().word == level
    world.brakes.resume("me")
    for _ in range(3):
        world.watch.tick()
    assert world.level() is BrakeLevel.NONE
    assert world.endpoints.describe(REALTIME).current == 3


def test_money_that_is_only_held_does_not_brake(world: World) -> None:
    """Most of it is given back, and a brake would stay on for the period; what went beyond a hold counts."""
    name = "gateway#day#2026-03-01"
    world.ledger.counters[name] = Counter(committed=Decimal(10), spent=Decimal(1))
    world.watch.tick()
    assert world.level() is BrakeLevel.NONE
    world.ledger.counters[name] = Counter(committed=Decimal("9.9"), spent=Decimal("9.9"), overrun=Decimal("0.1"))
    world.watch.tick()
    assert world.level() is BrakeLevel.STOP


def test_brakes_taken_out_of_the_catalogue_let_go(world: World) -> None:
    """Nobody is left stopped by something that is not there any more."""
    world.brake(BrakeLevel.STOP)
    world.catalogues.catalogue = replace(world.catalogues.catalogue, brakes=None)
    world.watch.tick()
    assert world.level() is BrakeLevel.NONE
    assert world.endpoints.describe(REALTIME).current == 3


def test_the_gateway_is_stopped_even_when_no_endpoint_obeys(world: World) -> None:
    """The level is in the record first; the steps are tried again every minute, and the problem is written down."""
    world.endpoints.refusals = [BackendError("AccessDenied")] * 200
    world.brake(BrakeLevel.STOP)
    assert world.level() is BrakeLevel.STOP
    problems = {e.problem for e in world.store.steps.values() if e.target != GATEWAY}
    assert problems == {"AccessDenied"}
    assert world.telemetry.counts["BrakeStepFailed"] > 0
    world.endpoints.refusals = []
    world.watch.tick()
    assert set(world.states().values()) == {EntryState.DONE}


def test_slow_endpoints_are_finished_by_the_schedule() -> None:
    """One call has little patience; the next goes on with the same standing."""
    world = World(patience=3.0, settles=False)
    before = dict(world.endpoints.standings)
    world.brake(BrakeLevel.STOP)
    assert world.states()[f"stop:{REALTIME.key}"] is EntryState.GOING_DOWN
    world.endpoints.settle()
    world.watch.tick()
    assert set(world.states().values()) == {EntryState.DONE}
    world.brakes.resume("me")
    world.brakes.settle()
    assert world.level() is BrakeLevel.NONE  # callers are accepted for later meanwhile
    assert world.states()[f"stop:{REALTIME.key}"] is EntryState.GOING_UP
    for _ in range(4):
        world.endpoints.settle()
        world.watch.tick()
    assert world.endpoints.describe(REALTIME) == before[REALTIME]
    assert world.store.control.episode == ""


def test_braking_again_in_the_middle_of_a_resume_keeps_what_stood_at_first() -> None:
    """What is on its way up goes down again, and comes back as it was at the very beginning."""
    world = World(patience=1.0, settles=False)
    before = dict(world.endpoints.standings)
    world.brake(BrakeLevel.STOP)
    world.endpoints.settle()
    world.watch.tick()
    world.brakes.resume("me")
    world.brakes.settle()
    world.brakes.hear(world.signal(BrakeLevel.STOP, cause="alarm:other"))
    world.brakes.settle()
    for _ in range(5):
        world.endpoints.settle()
        world.watch.tick()
    assert world.endpoints.describe(REALTIME).current == 0
    world.brakes.resume("me")
    for _ in range(6):
        world.endpoints.settle()
        world.watch.tick()
    assert {p: world.endpoints.describe(p) for p in (REALTIME, ASYNC)} == {p: before[p] for p in (REALTIME, ASYNC)}


def test_only_one_works_on_the_steps(world: World) -> None:
    """Another environment writes down what it hears and leaves the work to the holder of the lease."""
    heard: list[bool] = []
    real = world.endpoints.take_down

    def meanwhile(before: Standing, *, pinned: bool = True) -> object:
        if not heard:
            other = world.another()
            heard.append(other.hear(world.signal(BrakeLevel.STOP, cause="alarm:other")))
            orders = list(world.endpoints.orders)
            other.settle()
            assert world.endpoints.orders == orders
        return real(before, pinned=pinned)

    world.endpoints.take_down = meanwhile  # type: ignore[method-assign,assignment]  # others come meanwhile
    world.brake(BrakeLevel.STOP)
    assert heard == [True]
    assert world.store.control.lease_until is None
    assert set(world.store.control.causes) == {"budget:b", "alarm:other"}


def test_an_announcement_that_fails_is_made_later(world: World) -> None:
    """By the schedule; the brake itself does not wait for it."""
    world.announcer.fail = True
    world.brake(BrakeLevel.STOP)
    assert world.endpoints.describe(REALTIME).current == 0
    world.announcer.fail = False
    world.watch.tick()
    world.watch.tick()
    assert [n["level"] for n in world.announcer.notices] == ["stop"]


@pytest.mark.parametrize("writes", range(40))
def test_wherever_it_dies_the_next_call_finishes(writes: int) -> None:
    """After any number of writes the table fails for good; the next call, later, brings everything into line."""
    world = World()
    before = dict(world.endpoints.standings)
    world.store.fail_after = writes
    died = False
    try:
        world.brake(BrakeLevel.STOP)
        world.brakes.resume("me")
        world.brakes.settle()
    except StorageError:
        died = True
    world.store.fail_after = None
    if not died:
        return
    world.clock.advance(LEASE_SECONDS + 1)
    world.endpoints.settle()
    world.brakes.hear(world.signal(BrakeLevel.STOP))
    world.watch.tick()
    world.watch.tick()
    if world.store.control.wanted(world.clock.now()) is BrakeLevel.STOP:
        assert all(world.endpoints.describe(place).current == 0 for place in before)
        world.brakes.resume("me")
    for _ in range(3):
        world.endpoints.settle()
        world.watch.tick()
    assert {p: world.endpoints.describe(p) for p in (REALTIME, ASYNC)} == {p: before[p] for p in (REALTIME, ASYNC)}
    assert world.store.control.episode == ""
    assert world.holds.held == {}


@pytest.mark.parametrize("seed", range(30))
def test_a_storm_of_signals_ends_as_the_last_word_says(seed: int) -> None:
    """Signals, resumes, failures and slow endpoints in any order; then a resume, and all is as before."""
    chance = random.Random(seed)  # noqa: S311 -- a repeatable mixture
    world = World(patience=1.0, settles=False)
    before = dict(world.endpoints.standings)
    for _ in range(40):
        match chance.randrange(6):
            case 0 | 1:
                world.brakes.hear(world.signal(chance.choice(LEVELS), cause=chance.choice(["a", "b"])))
            case 2:
                world.brakes.resume("me")
            case 3:
                world.endpoints.settle()
            case 4:
                world.endpoints.refusals = [BackendError("no")] * chance.randrange(3)
            case _:
                world.another().settle()
        world.clock.advance(chance.randrange(90))
    world.endpoints.refusals = []
    world.brakes.resume("me")
    for _ in range(8):
        world.clock.advance(200)
        world.endpoints.settle()
        world.watch.tick()
    assert world.level() is BrakeLevel.NONE
    assert {p: world.endpoints.describe(p) for p in (REALTIME, ASYNC)} == {p: before[p] for p in (REALTIME, ASYNC)}
