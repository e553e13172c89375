"""Usage is computed until nothing can come late, exported, and held against the bill."""

import csv
import gzip
import io
from copy import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue, make_job
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.usage import DIMENSIONS, NOON, FixedInstanceHours, InMemoryRecords, InMemoryUsage, make_record
from tollgate.adapters.metering.focus_file import FocusBucket
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.focus import FocusAccount
from tollgate.domain.costs.loaded_cost import Endpoint, endpoints_of
from tollgate.domain.costs.usage import UsageRecord, sum_of
from tollgate.domain.errors import CatalogueError, NoCatalogueError, StorageError
from tollgate.domain.jobs.job import Bill, Job, JobState
from tollgate.domain.spans import DAY, HOUR
from tollgate.ports.usage import Span
from tollgate.services.budgets.tell_budgets import BudgetGauge
from tollgate.services.usage.compare_bill import DRIFT_ALARM_PERCENT, BillComparison
from tollgate.services.usage.export_focus import FocusExport
from tollgate.services.usage.load_hours import COUNT_SECONDS, HourLoader
from tollgate.services.usage.roll_up import LATE, UsageRollUp

MIDNIGHT = NOON.replace(hour=0)
FILE = "exports/focus/date=2026-03-01/part.csv.gz"
REALTIME = "tollgate-echo-realtime"


class Catalogues:
    """A `CatalogueSource` that may have none, or one that cannot be read."""

    def __init__(self) -> None:
        self.failure: CatalogueError | None = None
        self.budgets: tuple[Budget, ...] = ()

    def current(self) -> Catalogue:
        if self.failure is not None:
            raise self.failure
        return replace(make_catalogue(), budgets=self.budgets)

    def newest(self) -> Catalogue:
        return self.current()

    def seen_by(self, job: Job) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()

    def knowing(self, resource: str, inference_type: InferenceType) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()

    def of_version(self, version: int) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()


class World:
    """The services around one store."""

    def __init__(self, *records: UsageRecord, hours: dict[str, Decimal | None] | None = None) -> None:
        self.records = InMemoryRecords(records)
        self.store = InMemoryUsage()
        self.clock = ManualClock(NOON)
        self.telemetry = RecordingTelemetry()
        self.ledger = InMemoryLedger()
        self.hours = FixedInstanceHours(hours)
        self.catalogues = Catalogues()
        self.roll_up = UsageRollUp(
            sources=[self.records],
            store=self.store,
            loader=HourLoader(
                catalogues=self.catalogues, instances=self.hours, telemetry=self.telemetry, clock=self.clock
            ),
            gauge=BudgetGauge(
                catalogues=self.catalogues, ledger=self.ledger, telemetry=self.telemetry, clock=self.clock
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def turn(self, at: datetime) -> None:
        self.clock.advance((at - self.clock.now()).total_seconds())
        self.roll_up.run()


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


class FixedBill:
    """The `Bill` of tests."""

    def __init__(self, amount: str | None) -> None:
        self._amount = None if amount is None else Decimal(amount)

    def of_day(self, day: date) -> Decimal | None:
        assert day == MIDNIGHT.date()
        return self._amount


def drift_of(world: World, bill: str | None, days: int = 3) -> Decimal | None:
    clock = ManualClock(NOON + days * DAY)
    return BillComparison(store=world.store, bill=FixedBill(bill), telemetry=world.telemetry, clock=clock).run()


@pytest.fixture
def day() -> World:
    """A whole day with one endpoint that was up all the time, and one request."""
    world = World(make_record("1"), hours={REALTIME: Decimal(1)})
    world.turn(MIDNIGHT + timedelta(minutes=1))
    world.turn(MIDNIGHT + DAY + LATE)
    return world


@pytest.mark.parametrize(
    ("bill", "drift"),
    [("2.760002", "0.00"), ("3.45", "-20.00"), ("2.30", "20.00"), ("0", "100"), ("1", "176.00")],
)
def test_the_ledger_is_held_against_the_bill(day: World, bill: str, drift: str) -> None:
    """24 instance hours at 11.5 cents and a gateway's part; both directions count as drift."""
    assert drift_of(day, bill) == Decimal(drift)
    assert day.telemetry.counts["LedgerDriftPercent"] == abs(float(drift))
    (fields,) = [fields for _, message, fields in day.telemetry.lines if message == "ledger compared with the bill"]
    assert (fields["ledger_usd"], fields["drift_percent"]) == ("2.760002", drift)
    assert DRIFT_ALARM_PERCENT == 20


def test_a_day_that_the_ledger_does_not_know_is_not_compared(day: World) -> None:
    """Neither an open one nor one whose loaded cost is unknown is taken for nothing."""
    day.store.closed[Span.DAY] = MIDNIGHT
    assert drift_of(day, "1") is None
    unknown = World(make_record("1"), hours={REALTIME: None})
    unknown.turn(MIDNIGHT + timedelta(minutes=1))
    unknown.turn(MIDNIGHT + DAY + LATE)
    assert drift_of(unknown, "1") is None
    assert unknown.telemetry.counts == {"LedgerUncompared": 1}


def test_an_account_without_a_bill_is_not_compared(day: World) -> None:
    """It is said each day, and is no error: nothing is to be tried again."""
    assert drift_of(day, None) is None
    assert day.telemetry.counts["LedgerUncompared"] == 1
    assert "LedgerDriftPercent" not in day.telemetry.counts


class CountedBill:
    """A `Bill` that counts its questions, of a cent each."""

    def __init__(self, amount: str) -> None:
        self._amount = Decimal(amount)
        self.days: list[date] = []

    def of_day(self, day: date) -> Decimal:
        self.days.append(day)
        return self._amount


@pytest.mark.parametrize(("bill", "drift"), [("0.21", "0"), ("55.2", "-100.00")])
def test_an_idle_gateway_asks_once_a_week(bill: str, drift: str) -> None:
    """Mondays only: its own standing cost is no difference, an endpoint that nobody knows of is one."""
    world = World()
    world.store.closed[Span.DAY] = MIDNIGHT + 40 * DAY
    asked = CountedBill(bill)
    found = [
        BillComparison(
            store=world.store, bill=asked, telemetry=world.telemetry, clock=ManualClock(NOON + days * DAY)
        ).run()
        for days in range(3, 31)
    ]
    assert [day.weekday() for day in asked.days] == [0] * 4
    assert [each for each in found if each is not None] == [Decimal(drift)] * 4
    assert world.telemetry.counts == {"LedgerDriftPercent": 4 * abs(float(drift))}


class Objects:
    """The little of a bucket that an export needs."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def put(self, key: str, body: bytes, *, content_type: str = "") -> None:
        assert content_type == "application/gzip"
        self.stored[key] = body

    def stored_at(self, key: str) -> datetime | None:
        return NOON if key in self.stored else None


class SettledList:
    """The `SettledJobSource` of tests."""

    def __init__(self, *jobs: Job) -> None:
        self._jobs = jobs

    def jobs_between(self, start: datetime, end: datetime) -> list[Job]:
        return [job for job in self._jobs if job.bill is not None and start <= job.bill.settled_at < end]


def exporter(world: World, objects: Objects, *jobs: Job) -> FocusExport:
    """Of the same store, the day after."""
    return FocusExport(
        store=world.store,
        jobs=SettledList(*jobs),
        files=FocusBucket(objects),
        account=FocusAccount("123456789012", "us-east-1", "tollgate"),
        telemetry=world.telemetry,
        clock=world.clock,
    )


def test_a_day_is_exported_once_with_all_that_it_cost(day: World) -> None:
    """Real-time requests by the hour and each job; the sum is that of the records."""
    bill = Bill(NOON, Decimal("0.25"))
    done = make_job("inf_1", state=JobState.COMPLETED, effective_cost=Decimal("0.25"), bill=bill)
    unknown = make_job("inf_2", state=JobState.FAILED, bill=bill)
    objects = Objects()
    export = exporter(day, objects, done, unknown)
    export.run()
    body = objects.stored[FILE]
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(body).decode())))
    assert sum(Decimal(row["EffectiveCost"]) for row in rows) == Decimal("0.250012")
    assert [row["x_RequestId"] for row in rows] == ["", "inf_1"]
    assert day.telemetry.counts["FocusRowsMissing"] == 1
    objects.stored[FILE] = b"kept"
    export.run()
    assert objects.stored[FILE] == b"kept"
    export.export(MIDNIGHT)
    assert objects.stored[FILE] == body


def test_days_that_were_missed_are_made_up_for(day: World) -> None:
    """For a week, empty days too; a day that is not closed has no file."""
    objects = Objects()
    day.clock.advance(86_400 * 5)
    exporter(day, objects).run()
    assert (len(objects.stored), max(objects.stored)) == (2, FILE)
    with pytest.raises(StorageError, match="not complete"):
        exporter(day, objects).export(MIDNIGHT + DAY)


def test_dropped_files_are_in_the_export() -> None:
    """They belong to no key; their row says how many requests they were."""
    record = make_record("file", dimensions=DIMENSIONS._replace(tenant="", key_id="", inference_type="batch"))
    world = World(record)
    world.turn(MIDNIGHT + timedelta(minutes=1))
    world.turn(MIDNIGHT + DAY + LATE)
    objects = Objects()
    exporter(world, objects).run()
    (row,) = csv.DictReader(io.StringIO(gzip.decompress(objects.stored[FILE]).decode()))
    assert (row["x_InferenceType"], row["ResourceType"]) == ("batch", "SageMaker transform job")
