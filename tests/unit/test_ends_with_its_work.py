"""With `idle_minutes = 0` a place that gathers sleeps as soon as it has answered, and loses nothing by it."""

from collections.abc import Callable
from copy import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.gatherers import ENDS_WITH_ITS_WORK, Gatherers
from tests.fakes.sleepers import ASYNC, REALTIME, Sleepers, sleepy_catalogue, standing
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import CapacityError
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import CLOSE_LOOK_SECONDS, Phase
from tollgate.domain.places.standing import ScalingTarget, StandStatus


@pytest.fixture
def world() -> Gatherers:
    return Gatherers().sleeping()


def test_it_sleeps_seconds_after_its_last_answer(world: Gatherers) -> None:
    """No minute without an invocation, no question to CloudWatch: the open jobs say that it is done."""
    world.working(3)
    for _ in range(5):
        assert world.look()
    assert world.phase in {Phase.AWAKE, Phase.FALLING_ASLEEP}
    assert world.endpoints.describe(ASYNC).current == 1
    world.answer()
    done, asked = world.clock.now(), world.activity.asked
    world.until(Phase.ASLEEP)
    assert (world.clock.now() - done).total_seconds() <= 4 * CLOSE_LOOK_SECONDS
    assert world.activity.asked == asked


def test_it_is_looked_at_again_as_soon_as_it_is_up(world: Gatherers) -> None:
    """The look that finds it up asks for another in seconds: its work may be done long before the minute is over."""
    world.come()
    again = False
    while world.phase is not Phase.AWAKE:
        again = world.look()
    assert again


def test_what_is_in_flight_is_never_put_to_sleep(world: Gatherers) -> None:
    """It takes no more work, but nothing is taken down for as long as one answer is missing."""
    first, second = world.working(2)
    world.look()
    assert world.phase is Phase.FALLING_ASLEEP
    world.answer(first)
    for _ in range(20):
        world.look()
    assert world.endpoints.describe(ASYNC).current == 1
    world.answer(second)
    world.look()
    world.look()
    assert world.endpoints.describe(ASYNC).current == 0


def test_who_comes_while_it_falls_asleep_waits_for_the_next_start(world: Gatherers) -> None:
    """It is gathered, not lost: handed over after the next wake, in time."""
    world.working()
    world.look()
    late = world.come(30)
    assert world.gateway.jobs.jobs[late].state is JobState.QUEUED
    world.answer()
    world.until(Phase.ASLEEP)
    world.until(Phase.AWAKE)
    world.hand_over()
    assert world.submitted == [late]


def test_who_cannot_wait_turns_it_round(world: Gatherers) -> None:
    """While it finishes its work nothing is taken down yet, so that it takes work again without a start."""
    world.working()
    world.look()
    world.endpoints.orders.clear()
    pressing = world.come(3)
    world.look()
    assert world.phase is Phase.AWAKE
    world.hand_over()
    assert pressing in world.submitted
    assert not [order for order in world.endpoints.orders if "->" in order]


def test_work_without_a_deadline_keeps_it_open(world: Gatherers) -> None:
    """Who would come next could not wait either, so that the place would only be turned round again and again."""
    world.working()
    world.come(None)
    for _ in range(5):
        assert world.look()
    assert world.phase is Phase.AWAKE


def test_a_job_that_is_on_its_way_keeps_it_up(world: Gatherers) -> None:
    """Released, but its message has not been read yet: it must not find the place closed, again and again."""
    world.come()
    world.until(Phase.AWAKE)
    for _ in range(10):
        assert world.look()
    assert world.phase is Phase.AWAKE


def test_a_lost_close_look_costs_a_minute(world: Gatherers) -> None:
    """The call that looked closely died: the schedule's next call goes on where it was."""
    world.working()
    world.answer()
    world.minutes(1)
    assert world.phase is Phase.FALLING_ASLEEP
    world.minutes(2)
    assert world.record(ASYNC).phase is Phase.ASLEEP


def test_what_somebody_else_started_is_left_to_the_metrics(world: Gatherers) -> None:
    """Found up without a wake: its work is not the gateway's, so that open jobs say nothing about it."""
    world.endpoints.put(standing(ASYNC, 1, bounds=(0, 4)))
    world.activity.last[ASYNC] = world.clock.now() + timedelta(hours=1)
    world.minutes(5)
    assert world.phase is Phase.AWAKE
    assert world.endpoints.describe(ASYNC).current == 1


def test_its_policies_do_not_scale_it_meanwhile(world: Gatherers) -> None:
    """Suspended while it is up: a crowd that is handed over starts nothing. The record has them as they were."""
    before = world.record(ASYNC).before
    assert before is not None
    world.working()
    [up] = world.endpoints.describe(ASYNC).scaling
    assert (up.minimum, up.maximum, up.suspended) == (0, 4, (True, True, False))
    world.answer()
    world.until(Phase.ASLEEP)
    again = world.record(ASYNC).before
    assert again is not None
    assert again.scaling == before.scaling
    assert again.scaling[0].suspended == (False, False, False)


def test_a_queue_that_grows_gets_more_instances_and_gives_them_back(world: Gatherers) -> None:
    """Ordered once, within the bounds; the order is repeated if it got lost; the next wake begins with one again."""
    world.working()
    world.capacity.measured = 60.0
    for _ in range(300):
        world.come(15)
    world.endpoints.refusals = [CapacityError("no capacity")]
    world.look()
    assert world.endpoints.describe(ASYNC).desired == 1
    for _ in range(30):
        world.look()
    world.minutes(2)
    assert world.endpoints.describe(ASYNC).current == 4
    assert world.phase is Phase.AWAKE
    assert [order for order in world.endpoints.orders if order.endswith("-> 4")] != []
    world.answer()
    world.until(Phase.ASLEEP)
    world.working()
    assert world.endpoints.describe(ASYNC).current == 1


def test_who_is_pressed_behind_a_crowd_that_can_wait_gets_instances(world: Gatherers) -> None:
    """A few hundred that are due in a day came first: those behind them are due sooner than one instance is done."""
    woken_for = world.working()
    world.capacity.measured = 60.0
    for minutes, count in ((1440, 150), (15, 30)):
        for _ in range(count):
            world.come(minutes)
        world.clock.advance(1)
    world.answer(*woken_for)
    world.look()
    assert world.endpoints.describe(ASYNC).desired > 1


def test_turning_round_takes_no_instance_away(world: Gatherers) -> None:
    """Two instances, one of them at work: a request that cannot wait finds both, and the work is not cut off."""
    world.working()
    world.capacity.measured = 60.0
    last = [world.come(15) for _ in range(200)][-1]
    for _ in range(30):
        world.look()
    several = world.endpoints.describe(ASYNC).current
    assert several > 1
    world.answer(*(name for name in world.submitted if name != last))
    world.look()
    assert world.phase is Phase.FALLING_ASLEEP
    world.clock.advance(1)
    world.come(None)
    world.look()
    assert world.record(ASYNC).phase is Phase.AWAKE
    assert world.endpoints.describe(ASYNC).desired == several


def test_a_start_that_took_longer_is_expected_to_again(world: Gatherers) -> None:
    """The slowest of the record's starts counts where it is slower than what the catalogue says."""
    world.endpoints.settle, settle = (lambda: None), world.endpoints.settle  # type: ignore[method-assign]  # slow
    world.come(60)
    world.until(Phase.WAKING)
    world.clock.advance(900)
    world.endpoints.settle = settle  # type: ignore[method-assign]  # it comes up at last
    world.until(Phase.AWAKE)
    assert world.record(ASYNC).slowest_start >= timedelta(seconds=900)
    world.hand_over()
    world.answer()
    world.until(Phase.ASLEEP)
    last = world.gateway.jobs.jobs[world.come(60)]
    world.until(Phase.WAKING)
    assert last.deadline_at is not None
    assert (last.deadline_at - world.clock.now()).total_seconds() > 900


def test_only_asynchronous_endpoints_end_with_their_work() -> None:
    """Real-time calls are no jobs: there metrics say what is idle, by the minute."""
    world = Sleepers(catalogue=sleepy_catalogue(ENDS_WITH_ITS_WORK, InferenceType.REALTIME))
    world.until_asleep()
    world.keeper.wake(REALTIME)
    world.minutes(1)
    assert world.record().phase is Phase.AWAKE
    world.activity.last[REALTIME] = world.clock.now() + timedelta(minutes=5)
    world.minutes(5)
    assert world.record().phase is Phase.AWAKE


_STEPS = st.lists(st.sampled_from(["come", "urgent", "answer", "answer all", "hand over", "look", "tick", "minute"]))


@settings(max_examples=150, deadline=None)
@given(steps=_STEPS)
def test_whatever_happens_no_answer_is_cut_off_and_no_request_lost(steps: list[str]) -> None:
    """Requests, answers, messages and looks in any order: instances go only when nothing is in flight; all end."""
    world = Gatherers().sleeping()
    deeds: dict[str, Callable[[], object]] = {
        "come": world.come,
        "urgent": lambda: world.come(None),
        "answer": lambda: world.answer(*world.submitted[:1]) if _serves(world) else None,
        "answer all": lambda: world.answer() if _serves(world) else None,
        "hand over": world.hand_over,
        "look": world.look,
        "tick": world.keeper.tick,
        "minute": lambda: world.minutes(1),
    }
    for step in steps:
        up, flying = world.endpoints.describe(ASYNC).desired, set(world.submitted)
        deeds[step]()
        if up and not world.endpoints.describe(ASYNC).desired:
            assert not flying, world.record(ASYNC)
    for _ in range(60):
        world.minutes(1)
        world.hand_over()
        if _serves(world):
            world.answer()
    states = {job.state for job in world.gateway.jobs.jobs.values()}
    assert states <= {JobState.COMPLETED}, world.record(ASYNC)
    assert world.phase is Phase.ASLEEP


def _serves(world: Gatherers) -> bool:
    found = world.endpoints.describe(ASYNC)
    return found.status is StandStatus.UP and found.current > 0


def test_scaling_targets_that_a_person_suspended_stay_so() -> None:
    """What was suspended before is suspended when it sleeps, whatever happened while it was up."""
    suspended = ScalingTarget("r", "d", 0, 4, suspended=(False, True, True))
    before = replace(standing(ASYNC), scaling=(suspended,))
    assert before.steered().scaling[0].suspended == (True, True, True)
    assert before.steered().suspended_as(before) == before
