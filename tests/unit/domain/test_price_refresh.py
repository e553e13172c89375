"""What a freshly read price does to the one in force."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import ManualClock
from tests.fakes.prices import FixedPriceList, InMemoryPrices
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.domain.costs.price_book import ListPrice, PriceBook
from tollgate.domain.costs.price_refresh import (
    JUMP_PERCENT,
    FoundPrice,
    PendingPrice,
    PriceFinding,
    PriceRecord,
    PriceVerdict,
    accept,
    largest_jump,
    review,
)
from tollgate.domain.errors import CatalogueError, ConflictError, StorageError
from tollgate.services.usage.refresh_prices import PriceRefresh

REGION = "us-east-1"
KIND = "ml.g5.xlarge"
DAY = "2026-11-22"


def _price(usd: str, date: str = "2026-01-01") -> ListPrice:
    return ListPrice(Decimal(usd), date, "somewhere")


def _one(
    found: str | None, *, known: PriceRecord | None = None, snapshot: ListPrice | None = None
) -> PriceFinding | None:
    findings = review(
        {} if known is None else {KIND: known},
        {} if snapshot is None else {KIND: snapshot},
        {} if found is None else {KIND: FoundPrice(Decimal(found), "SKU A")},
        date=DAY,
    )
    return findings[0] if findings else None


@pytest.mark.parametrize(
    ("found", "verdict"),
    [("1.00", PriceVerdict.SAME), ("1.20", PriceVerdict.CHANGED), ("0.80", PriceVerdict.CHANGED)],
)
def test_up_to_a_fifth_is_taken(found: str, verdict: PriceVerdict) -> None:
    """With the day it was read, so that the price is known to be as fresh as that."""
    finding = _one(found, snapshot=_price("1.00"))
    assert finding is not None
    assert finding.verdict is verdict
    assert finding.record == PriceRecord(ListPrice(Decimal(found), DAY, "SKU A"))


@pytest.mark.parametrize("found", ["1.2000001", "0.7999999", "12", "0.0001"])
def test_more_waits_and_the_old_price_stays(found: str) -> None:
    """In both directions."""
    finding = _one(found, snapshot=_price("1.00"))
    assert finding is not None
    assert finding.verdict is PriceVerdict.JUMPED
    assert finding.jump_percent > JUMP_PERCENT
    assert finding.record == PriceRecord(_price("1.00"), PendingPrice(Decimal(found), DAY, "SKU A"))


def test_a_price_that_nobody_knew_is_taken() -> None:
    """There is nothing to compare it with."""
    finding = _one("3")
    assert finding is not None
    assert (finding.verdict, finding.before) == (PriceVerdict.NEW, None)
    assert finding.record == PriceRecord(ListPrice(Decimal(3), DAY, "SKU A"), revision=0)


def test_a_price_that_was_given_up_comes_back_as_a_new_one() -> None:
    """With the next revision of its record, even where the snapshot still knew it."""
    gone = PriceRecord(None, revision=5)
    finding = _one("3", known=gone, snapshot=_price("1"))
    assert finding is not None
    assert (finding.verdict, finding.before) == (PriceVerdict.NEW, None)
    assert finding.record == PriceRecord(ListPrice(Decimal(3), DAY, "SKU A"), revision=5)
    assert _one(None, known=gone) is None


def test_a_vanished_price_waits_and_stays() -> None:
    """It counts as a jump, so that the alarm is raised."""
    record = PriceRecord(_price("1.00"), revision=3)
    finding = _one(None, known=record)
    assert finding is not None
    assert finding.verdict is PriceVerdict.VANISHED
    assert finding.record is not None
    assert finding.record.price == record.price
    assert finding.record.pending == PendingPrice(None, DAY, "no longer in the price list")
    assert largest_jump([finding]) == 100


def test_what_only_the_snapshot_has_cannot_vanish() -> None:
    """It was never found in the list."""
    assert _one(None, snapshot=_price("1.00")) is None


@given(st.one_of(st.decimals(max_value=0), st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-0")])))
def test_no_free_price_ever_comes_in(usd: Decimal) -> None:
    """Zero, negative or not a number: nothing is stored, pending or in force."""
    findings = review({}, {KIND: _price("1")}, {KIND: FoundPrice(usd, "SKU A")}, date=DAY)
    assert [(finding.verdict, finding.record) for finding in findings] == [(PriceVerdict.REFUSED, None)]


@given(
    st.decimals(min_value="0.000001", max_value=1000, places=6),
    st.decimals(min_value="0.000001", max_value=1000, places=6),
)
def test_the_price_in_force_never_moves_by_more_than_a_fifth_at_once(before: Decimal, found: Decimal) -> None:
    """Whatever is found, and it is always positive."""
    (finding,) = review(
        {KIND: PriceRecord(ListPrice(before, DAY, ""), revision=1)}, {}, {KIND: FoundPrice(found, "")}, date=DAY
    )
    assert finding.record is not None
    assert finding.record.price is not None
    assert abs(finding.record.price.usd - before) <= before / 5
    assert (finding.record.pending is None) == (finding.record.price.usd == found)


def test_a_newer_snapshot_is_the_price_to_compare_with() -> None:
    """A version that came with newer prices is not held to an old reading."""
    known = PriceRecord(_price("1", "2026-01-01"), revision=1)
    finding = _one("2", known=known, snapshot=_price("2", "2026-06"))
    assert finding is not None
    assert finding.verdict is PriceVerdict.SAME
    same_day = _one("1", known=known, snapshot=_price("2", "2026-01-01"))
    assert same_day is not None
    assert same_day.verdict is PriceVerdict.SAME


def test_accepting_puts_the_pending_price_in_force() -> None:
    """And a vanished price leaves none."""
    record = PriceRecord(_price("1"), PendingPrice(Decimal(2), DAY, "SKU A"), 4)
    assert accept(KIND, record) == PriceRecord(ListPrice(Decimal(2), DAY, "SKU A"), None, 4)
    assert accept(KIND, PriceRecord(_price("1"), PendingPrice(None, DAY, ""), 4)).price is None
    with pytest.raises(ConflictError, match="Nothing is pending"):
        accept(KIND, PriceRecord(_price("1")))


def test_the_book_takes_what_is_newer() -> None:
    """Older registry prices lose to the snapshot, and a price that is gone is unknown."""
    book = PriceBook({(REGION, KIND): _price("1", "2026-06"), (REGION, "ml.m5.large"): _price("3")}, {})
    assert book.updated(REGION, {KIND: _price("2", "2026-05-30")}).instance_hour(REGION, KIND) == _price("1", "2026-06")
    assert book.updated(REGION, {KIND: _price("2", DAY)}).instance_hour(REGION, KIND) == _price("2", DAY)
    assert book.updated(REGION, {KIND: _price("2", "2026-06")}).instance_hour(REGION, KIND) == _price("2", "2026-06")
    abroad = book.updated("eu-west-1", {KIND: _price("2", DAY)})
    assert abroad.instance_hour(REGION, KIND) == _price("1", "2026-06")
    assert abroad.of_region("eu-west-1") == {KIND: _price("2", DAY)}
    without = book.updated(REGION, {KIND: None, "log_gb": _price("0.5")})
    assert without.instance_hour(REGION, KIND) is None
    assert set(without.of_region(REGION)) == {"ml.m5.large", "log_gb"}
    assert without.instance_hour(REGION, "log_gb") is None
    with pytest.raises(CatalogueError, match="api_request"):
        without.gateway_prices(REGION, architecture="arm64")


class _Desk:
    """The service over fakes."""

    def __init__(self, **found: str) -> None:
        self.list = FixedPriceList({name: FoundPrice(Decimal(usd), "SKU A") for name, usd in found.items()})
        self.store = InMemoryPrices()
        self.telemetry = RecordingTelemetry()
        self.service = PriceRefresh(
            prices=self.list,
            store=self.store,
            snapshot=PriceBook({(REGION, KIND): _price("1")}, {}),
            telemetry=self.telemetry,
            clock=ManualClock(),
        )


def test_a_change_leaves_a_line_and_the_metric() -> None:
    """What was, what is, and by how much."""
    desk = _Desk(**{KIND: "1.1", "ml.m5.large": "0.1"})
    desk.service.refresh(REGION)
    assert [(level, fields["name"], fields["verdict"]) for level, _, fields in desk.telemetry.lines] == [
        ("INFO", KIND, "changed"),
        ("INFO", "ml.m5.large", "new"),
    ]
    assert (
        desk.telemetry.lines[0][2] | {"before_usd": "1", "after_usd": "1.1", "jump_percent": 10.0}
        == (desk.telemetry.lines[0][2])
    )
    assert desk.telemetry.counts == {"PriceJumpPercent": 10.0}


def test_a_jump_waits_every_day_until_it_is_accepted() -> None:
    """The alarm stays up for as long; afterwards the price is in force and quiet."""
    desk = _Desk(**{KIND: "2"})
    for _ in range(2):
        desk.service.refresh(REGION)
        record = desk.store.records(REGION)[KIND]
        assert record.price == _price("1")
    assert desk.telemetry.counts["PriceJumpPercent"] == 200
    assert desk.service.accept(REGION, []) == [KIND]
    desk.telemetry.counts.clear()
    desk.service.refresh(REGION)
    assert desk.telemetry.counts["PriceJumpPercent"] == 0
    price = desk.store.records(REGION)[KIND].price
    assert price is not None
    assert price.usd == 2


def test_an_empty_list_is_a_broken_reading() -> None:
    """Not the end of all prices: nothing is stored."""
    desk = _Desk(api_request="0.0000035")
    with pytest.raises(StorageError, match="nothing was changed"):
        desk.service.refresh(REGION)
    assert desk.store.records(REGION) == {}


def test_only_what_is_pending_can_be_accepted() -> None:
    """And nothing is accepted when one of the names is wrong."""
    desk = _Desk(**{KIND: "2"})
    desk.service.refresh(REGION)
    with pytest.raises(ConflictError, match=r"ml\.m5\.large"):
        desk.service.accept(REGION, [KIND, "ml.m5.large"])
    assert desk.store.records(REGION)[KIND].pending is not None


def test_a_price_accepted_during_a_reading_is_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading loses, says so, and tries again the next day."""
    desk = _Desk(**{KIND: "2"})
    desk.service.refresh(REGION)
    stale = desk.store.records(REGION)
    desk.service.accept(REGION, [KIND])
    monkeypatch.setattr(desk.store, "records", lambda _region: stale)
    desk.service.refresh(REGION)
    monkeypatch.undo()
    assert desk.store.records(REGION)[KIND].pending is None
    assert desk.telemetry.lines[-1][1] == "price changed meanwhile"
