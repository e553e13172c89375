"""Usage is held against the bill of AWS, and exported day by day."""

import csv
import gzip
import io
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_job
from tests.fakes.usage import DIMENSIONS, NOON, make_record
from tests.fakes.usage_world import MIDNIGHT, REALTIME, World
from tollgate.adapters.metering.focus_file import FocusBucket
from tollgate.domain.costs.focus import FocusAccount
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import Bill, Job, JobState
from tollgate.domain.spans import DAY
from tollgate.ports.usage import Span
from tollgate.services.usage.compare_bill import DRIFT_ALARM_PERCENT, BillComparison
from tollgate.services.usage.export_focus import FocusExport
from tollgate.services.usage.roll_up import LATE

FILE = "exports/focus/date=2026-03-01/part.csv.gz"


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
