"""A crossed threshold is told at least once: whoever fails or dies, the schedule finishes it, without storms."""

from copy import replace
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.ledger import InMemoryLedger, RecordingNotices
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.budgets.notices import RETRY
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.errors import StorageError
from tollgate.services.budgets.finish_notices import NoticeFinisher
from tollgate.services.requests.admission import Admission

_BUDGET = Budget(
    ScopeKind.TEAM, OWNER.team, BudgetPeriod.DAY, Decimal(1), thresholds=(Threshold(Decimal(50), BudgetAction.WARN),)
)
_CATALOGUE = replace(make_catalogue(), budgets=(_BUDGET,))
_ID = f"team:{OWNER.tenant}/{OWNER.team}#day#2026-03-01@50"
_EFFECTS = ("open_notice", "tell_once", "send", "close_notice")


@dataclass
class World:
    """Execution environments that share a ledger and a topic."""

    clock: ManualClock = field(default_factory=ManualClock)
    ledger: InMemoryLedger = field(default_factory=InMemoryLedger)
    topic: RecordingNotices = field(default_factory=RecordingNotices)
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    requests: int = 0

    def environment(self, point: CrashPoint | None = None, *, notices: bool = True) -> Admission:
        """A new one, which dies where `point` says."""
        point = point or CrashPoint(0)
        return Admission(
            ledger=point.watch(self.ledger, *_EFFECTS),
            telemetry=self.telemetry,
            clock=self.clock,
            notices=point.watch(self.topic, "send") if notices else None,
        )

    def spend(self, admission: Admission, amount: str = "0.1") -> None:
        """One request, after its environment has looked at the counter anew."""
        self.clock.advance(6)
        self.requests += 1
        admitted = admission.admit(_CATALOGUE, OWNER, "echo")
        assert admitted is not None
        admission.pressure(admitted)
        held = admission.reserve(admitted, [Ask(Decimal(amount))], inference_id=f"inf_{self.requests:012d}")
        admission.settle(held, Decimal(amount), "completed")

    def schedule(self, minutes: int = 1, point: CrashPoint | None = None) -> None:
        """The schedule's turns, one a minute."""
        point = point or CrashPoint(0)
        finisher = NoticeFinisher(
            ledger=point.watch(self.ledger, *_EFFECTS, "postpone_notice"),
            notices=point.watch(self.topic, "send"),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        for _ in range(minutes):
            self.clock.advance(60)
            finisher.finish()

    @property
    def told(self) -> list[str]:
        """Ids of what the topic has published."""
        return [notice["id"] for notice in self.topic.sent]


@pytest.fixture
def world() -> World:
    return World()


def test_a_notice_is_open_until_it_is_published(world: World) -> None:
    """Nothing is left for the schedule when all goes well."""
    world.spend(world.environment(), "0.6")
    assert world.told == [_ID]
    assert world.ledger.notices == {}
    world.schedule(3)
    assert world.told == [_ID]


@pytest.mark.parametrize("fault", ["fail", "lose_answers"])
def test_a_publish_that_fails_is_made_up_for(world: World, fault: str) -> None:
    """Within two minutes; what may have been published before comes again under the same id, never more."""
    setattr(world.topic, fault, 1)
    admission = world.environment()
    world.spend(admission, "0.6")
    world.spend(admission)
    assert world.telemetry.counts["BudgetNoticeDelayed"] == 1
    world.schedule(2)
    assert world.told == [_ID] * (1 if fault == "fail" else 2)
    world.schedule(5)
    world.spend(world.environment())
    assert world.topic.tries == 2
    assert world.ledger.notices == {}


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("effect", range(1, 5))
def test_a_function_that_dies_anywhere_has_its_notice_told(world: World, effect: int, *, before: bool) -> None:
    """By the schedule, or by the next request where nothing was written down yet; at most twice."""
    with pytest.raises(CrashError):
        world.spend(world.environment(CrashPoint(effect, before=before)), "0.6")
    world.schedule(2)
    world.spend(world.environment())
    world.schedule(2)
    assert 1 <= len(world.told) <= 2
    assert set(world.told) == {_ID}
    assert world.ledger.notices == {}
    tries = world.topic.tries
    world.spend(world.environment())
    world.schedule(5)
    assert world.topic.tries == tries


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("effect", range(1, 5))
def test_a_schedule_that_dies_anywhere_goes_on_with_its_next_turn(world: World, effect: int, *, before: bool) -> None:
    """After the lease that it took."""
    world.topic.fail = 1
    world.spend(world.environment(), "0.6")
    world.clock.advance(RETRY.total_seconds())
    with pytest.raises(CrashError):
        world.schedule(point=CrashPoint(effect, before=before))
    world.schedule(2)
    assert 1 <= len(world.told) <= 2
    assert set(world.told) == {_ID}
    assert world.ledger.notices == {}


def test_a_topic_that_is_down_is_not_stormed(world: World) -> None:
    """Twenty environments and an hour of outage: one try when it happened, one a minute; then all hear of it once."""
    world.topic.fail = 1_000
    environments = [world.environment() for _ in range(20)]
    world.spend(environments[0], "0.6")
    for admission in environments:
        world.spend(admission, "0.01")
    assert world.topic.tries == 1
    world.schedule(60)
    assert world.topic.tries <= 61
    world.topic.fail = 0
    world.schedule(2)
    assert world.told == [_ID]


def test_a_topic_that_is_down_is_asked_once_for_many_notices(world: World) -> None:
    """A turn ends at the first failure."""
    teams = [OWNER._replace(tenant=f"tenant-{number}") for number in range(10)]
    world.topic.fail = 1_000
    admission = world.environment()
    for owner in teams:
        admitted = admission.admit(_CATALOGUE, owner, "echo")
        assert admitted is not None
        admission.pressure(admitted)
        admission.settle(
            admission.reserve(admitted, [Ask(Decimal("0.6"))], inference_id=f"inf_{owner.tenant}"), Decimal("0.6"), "ok"
        )
    assert world.topic.tries == len(world.ledger.notices) == 10
    world.schedule()
    assert world.topic.tries == 11
    world.topic.fail = 0
    world.schedule(2)
    assert len(set(world.told)) == len(world.told) == 10


def test_a_function_without_the_topic_leaves_it_to_the_schedule(world: World) -> None:
    """It must not mark as told what it cannot tell."""
    world.spend(world.environment(notices=False), "0.6")
    assert world.told == []
    world.schedule(2)
    assert world.told == [_ID]


def test_two_turns_at_once_publish_once(world: World) -> None:
    """Whoever takes the notice first sends it; the other finds its time changed."""
    world.topic.fail = 1
    world.spend(world.environment(), "0.6")
    world.clock.advance(RETRY.total_seconds())
    (seen,) = world.ledger.open_notices(limit=9)
    world.schedule()
    assert not world.ledger.postpone_notice(seen, world.clock.now())
    assert world.told == [_ID]


def test_environments_that_read_the_mark_write_nothing(world: World) -> None:
    """Which thresholds were announced stands in the counter, which each reads anyway."""
    world.spend(world.environment(), "0.6")
    point = CrashPoint(0)
    for _ in range(3):
        world.spend(world.environment(point), "0.01")
    assert point.effects == 0


def test_a_failing_table_refuses_no_schedule(world: World) -> None:
    """The brakes come after it and must have their turn."""
    world.topic.fail = 1
    world.spend(world.environment(), "0.6")

    def down(*, limit: int) -> list[object]:
        raise StorageError(f"no table for {limit}")

    world.ledger.open_notices = down  # type: ignore[assignment,method-assign]  # the table is down
    world.schedule()
    assert world.telemetry.counts["BudgetNoticeDelayed"] == 2
