"""Usage is computed until nothing can come late, and what it says of budgets and idle time is told."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.usage import DIMENSIONS, NOON, make_record
from tests.fakes.usage_world import MIDNIGHT, REALTIME, World
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.costs.loaded_cost import Endpoint, endpoints_of
from tollgate.domain.costs.usage import sum_of
from tollgate.domain.errors import CatalogueError, NoCatalogueError
from tollgate.domain.spans import DAY, HOUR
from tollgate.ports.usage import Span
from tollgate.services.usage.load_hours import COUNT_SECONDS
from tollgate.services.usage.roll_up import LATE


def test_the_present_hour_is_known_in_slices() -> None:
    """Five minutes after the request at the latest, and again until it is too old to change."""
    world = World(make_record("1"), make_record("2", ended_at=NOON + timedelta(minutes=6)))
    world.turn(NOON + timedelta(minutes=10))
    assert sum_of(world.store.read(Span.SLICE, NOON)).requests == 2
    world.records.records.append(make_record("late", ended_at=NOON + timedelta(minutes=3)))
    world.turn(NOON + timedelta(minutes=15))
    assert sum_of(world.store.read(Span.SLICE, NOON)).requests == 3
    assert world.store.read(Span.HOUR, MIDNIGHT) == []


def test_an_hour_is_closed_with_everything_that_came_late() -> None:
    """Half an hour after its end: computed anew as a whole, also where no turn has looked at the time."""
    world = World(make_record("1"))
    world.turn(NOON + timedelta(minutes=2))
    world.records.records.append(make_record("late", ended_at=NOON + timedelta(minutes=59)))
    world.turn(NOON + HOUR + LATE)
    rows = world.store.read(Span.HOUR, MIDNIGHT)
    assert sum_of(rows).requests == 2
    assert world.store.closed_until(Span.HOUR) == NOON + HOUR
    lines = [fields["requests"] for _, message, fields in world.telemetry.lines if message == "usage hour closed"]
    assert lines == [0, 2]  # the hour before the first turn, and this one


def test_turns_that_failed_are_made_up_for() -> None:
    """Every hour since the last closed one, and the days that they fill."""
    world = World(*(make_record(str(hour), ended_at=NOON + hour * HOUR) for hour in range(40)))
    world.turn(NOON + timedelta(minutes=1))
    world.turn(NOON + 40 * HOUR + LATE)
    assert sum_of(world.store.read(Span.DAY, MIDNIGHT)).requests == 12 + 24
    assert world.store.closed_until(Span.DAY) == MIDNIGHT + 2 * DAY
    assert world.store.closed_until(Span.HOUR) == NOON + 40 * HOUR


def test_the_same_turn_twice_changes_nothing() -> None:
    """Schedules call twice now and then; nothing is counted up."""
    world = World(make_record("1"), hours={REALTIME: Decimal(1)})
    world.turn(NOON + timedelta(minutes=1))
    world.turn(NOON + HOUR + LATE)
    before = dict(world.store.rows)
    world.store.closed.clear()
    world.turn(NOON + HOUR + LATE)
    assert world.store.rows == before


def test_idle_time_is_spread_and_told() -> None:
    """An instance hour of 11.5 cents of which one request used a thousandth of a cent."""
    world = World(make_record("1"), hours={REALTIME: Decimal(1)})
    world.turn(NOON + timedelta(minutes=1))
    world.turn(NOON + HOUR + LATE)
    (row,) = [row for row in world.store.read(Span.HOUR, MIDNIGHT) if row.totals.requests]
    assert row.totals.loaded == Decimal("0.115") + Decimal("0.000002")
    values, dimensions = world.telemetry.measured[-2]
    assert dimensions == {"InferenceType": "realtime", "Model": "echo", "Deployment": "small"}
    assert values == {"IdleCostUSD": pytest.approx(0.11499), "UtilisationPercent": pytest.approx(0.008)}


def test_unknown_instance_hours_are_said() -> None:
    """And leave the loaded cost unknown."""
    world = World(make_record("1"), hours={REALTIME: None})
    world.turn(NOON + timedelta(minutes=1))
    world.turn(NOON + HOUR + LATE)
    assert sum_of(world.store.read(Span.HOUR, MIDNIGHT)).loaded is None
    assert any(message == "instance hours unknown" for _, message, _ in world.telemetry.lines)


def test_without_a_catalogue_nothing_was_up() -> None:
    """A stack just made has hours too."""
    world = World()
    world.catalogues.failure = NoCatalogueError("No catalogue was applied yet.")
    world.turn(NOON + HOUR)
    world.turn(NOON + 2 * HOUR + LATE)
    assert world.store.closed_until(Span.HOUR) == NOON + 2 * HOUR


def test_an_hour_of_more_endpoints_than_a_turn_has_time_for_is_closed_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The function would be stopped each time, and no hour be closed any more. None is asked for twice."""
    world = World(make_record("1"))
    asked: list[Endpoint] = []

    def slow(endpoint: Endpoint, hour: datetime) -> Decimal:
        assert hour == NOON
        asked.append(endpoint)
        world.clock.advance(COUNT_SECONDS)
        return Decimal(1)

    monkeypatch.setattr(world.hours, "of", slow)
    world.store.close(Span.HOUR, NOON)
    world.turn(NOON + HOUR + LATE)
    assert world.store.closed_until(Span.HOUR) == NOON
    assert len(asked) == 1
    endpoints = endpoints_of(make_catalogue())
    for _ in endpoints[1:]:
        world.roll_up.run()
    assert world.store.closed_until(Span.HOUR) == NOON + HOUR
    assert asked == list(endpoints)


def test_an_hour_is_not_closed_while_the_catalogue_cannot_be_read() -> None:
    """Closed, it would have no idle time for good; nor are budgets passed over."""
    world = World(make_record("1"), hours={REALTIME: Decimal(1)})
    world.turn(NOON + timedelta(minutes=1))
    world.catalogues.failure = CatalogueError("Catalogue version 2 is missing from the registry.")
    with pytest.raises(CatalogueError):
        world.roll_up.run()  # the present hour is known all the same, its budgets are not
    with pytest.raises(CatalogueError):
        world.turn(NOON + HOUR + LATE)
    assert world.store.closed_until(Span.HOUR) == NOON - HOUR
    world.catalogues.failure = None
    world.roll_up.run()
    assert sum_of(world.store.read(Span.HOUR, MIDNIGHT)).loaded


def test_named_budgets_are_told_as_a_metric() -> None:
    """What is spent and held, of the limit in force; those for each key are too many metrics."""
    world = World()
    day, percent = BudgetPeriod.DAY, "BudgetUsedPercent"
    world.catalogues.budgets = (
        Budget(ScopeKind.GATEWAY, "", day, Decimal(10)),
        Budget(ScopeKind.MODEL, "echo", day, Decimal(4)),
        Budget(ScopeKind.KEY, "*", day, Decimal(1)),
        Budget(ScopeKind.GATEWAY, "", BudgetPeriod.HOUR, None, max_calls=3),
    )
    world.ledger.counters["gateway#day#2026-03-01"] = Counter(committed=Decimal("2.5"), spent=Decimal(1))
    world.turn(NOON + timedelta(minutes=1))
    told = [
        (dimensions["Budget"], values[percent])
        for values, dimensions in world.telemetry.measured
        if "Budget" in dimensions
    ]
    assert told == [("gateway day", 25.0), ("model:echo day", 0.0)]


def _with_a_warning(world: World, *, spent: str = "0.9") -> str:
    """A budget for each team whose jobs have spent so much of a dollar; the counter's name."""
    warn = (Threshold(Decimal(80), BudgetAction.WARN),)
    world.catalogues.budgets = (Budget(ScopeKind.TEAM, "*", BudgetPeriod.DAY, Decimal(1), warn),)
    counter = "team:acme/search#day#2026-03-01"
    world.ledger.counters[counter] = Counter(committed=Decimal(spent), spent=Decimal(spent))
    return counter


def test_what_jobs_have_spent_is_announced_without_another_request() -> None:
    """Once: the notice waits for the schedule that publishes, and the mark keeps later turns from it."""
    world = World(make_record("job", ended_at=NOON, dimensions=DIMENSIONS._replace(inference_type="batch")))
    counter = _with_a_warning(world)
    world.turn(NOON + timedelta(minutes=4))
    (notice,) = world.ledger.open_notices(limit=9)
    assert (notice.document["id"], notice.document["action"]) == (f"{counter}@80", "warn")
    assert world.ledger.counters[counter].told == {Decimal(80)}
    world.ledger.close_notice(notice.notice_id)
    world.turn(NOON + timedelta(minutes=9))
    assert world.ledger.open_notices(limit=9) == []


def test_a_threshold_of_a_period_that_has_just_ended_is_announced() -> None:
    """A job that ended at five to twelve counts in the old day, and is looked at in the new one."""
    midnight = NOON + timedelta(hours=12)
    world = World(make_record("job", ended_at=midnight - timedelta(minutes=5)))
    counter = _with_a_warning(world)
    world.turn(midnight + timedelta(minutes=2))
    assert [notice.document["counter"] for notice in world.ledger.open_notices(limit=9)] == [counter]


@pytest.mark.parametrize(("spent", "team"), [("0.79", "search"), ("0.9", "other"), ("0.9", "")])
def test_what_is_not_crossed_or_not_used_is_not_announced(spent: str, team: str) -> None:
    """Only counters of those who have requests lately are read."""
    world = World(make_record("job", ended_at=NOON, dimensions=DIMENSIONS._replace(team=team)))
    _with_a_warning(world, spent=spent)
    world.turn(NOON + timedelta(minutes=4))
    assert world.ledger.open_notices(limit=9) == []


def test_each_endpoint_stands_once() -> None:
    """However many roads lead to it; roads of unknown price and transform jobs have no hours."""
    catalogue = make_catalogue(target="shared", usd_per_hour=None)
    assert [endpoint.target for endpoint in endpoints_of(catalogue)] == [REALTIME]
    shared = make_catalogue(target=REALTIME)
    (endpoint,) = endpoints_of(shared)
    assert endpoint.roads == (("echo", "small", "realtime"), ("echo", "small", "async"))
