"""The ledger's promises, kept in memory and on DynamoDB, alone and together with a job."""

from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, LocalAws
from tests.fakes.examples import make_job
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.ledger import InMemoryLedger
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.domain.budgets.ledger import (
    SKEW,
    Counter,
    Ending,
    Hold,
    Reservation,
    WorkflowCall,
    own_slot,
    releases,
    reserve,
    settlement,
    shared_slot,
    slot_expiry,
    top_up,
)
from tollgate.domain.budgets.notices import OpenNotice
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ConflictError, LedgerRefusedError
from tollgate.domain.jobs.job import OPEN_STATES, JobState
from tollgate.ports.jobs import JobStore
from tollgate.ports.money import Ledger

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_DAY, _TEAM = "gateway#day#2026-03-01", "team:acme/search#month#2026-03"
_OWN = own_slot("inf_0123456789abcdef", _NOW + timedelta(minutes=2))


@pytest.fixture(params=["memory", "dynamodb"])
def stores(request: pytest.FixtureRequest) -> tuple[Ledger, JobStore]:
    if request.param == "memory":
        memory = InMemoryLedger()
        return memory, InMemoryJobStore(memory)
    local: LocalAws = request.getfixturevalue("aws")
    ledger = DynamoDBLedger(local.dynamodb, LEDGER_TABLE, sleep=lambda _: None)
    return ledger, DynamoDBJobStore(local.dynamodb, JOBS_TABLE, ledger)


@pytest.fixture
def ledger(stores: tuple[Ledger, JobStore]) -> Ledger:
    return stores[0]


def _reservation(amount: str, *, ceiling: str | None = "10", slot: str = _OWN, counters: int = 1) -> Reservation:
    limit = None if ceiling is None else Decimal(ceiling)
    holds = (Hold(_DAY, limit, ttl=99), Hold(_TEAM, limit))
    return Reservation(slot, Decimal(amount), holds[:counters])


def _reserve(ledger: Ledger, reservation: Reservation) -> None:
    ledger.write([reserve(reservation, hold) for hold in reservation.holds])


def _settle(ledger: Ledger, reservation: Reservation, actual: str, ending: Ending = Ending.SETTLE) -> None:
    ledger.write([settlement(reservation, hold, Decimal(actual), ending) for hold in reservation.holds])


def _counter(ledger: Ledger, name: str = _DAY) -> Counter:
    return ledger.read([name], consistent=True)[name]


@pytest.mark.parametrize("counters", [1, 2])
def test_a_hold_becomes_spend(ledger: Ledger, counters: int) -> None:
    """Held first, then spent, and what was held too much is free again."""
    reservation = _reservation("4", counters=counters)
    _reserve(ledger, reservation)
    held = _counter(ledger)
    assert [held.committed, held.spent, held.held, held.slots] == [4, 0, 4, {_OWN: Decimal(4)}]
    _settle(ledger, reservation, "1.5")
    for hold in reservation.holds:
        settled = _counter(ledger, hold.counter)
        assert (settled.committed, settled.spent, settled.slots, settled.calls) == (
            Decimal("1.5"),
            Decimal("1.5"),
            {},
            1,
        )


def test_what_does_not_fit_is_refused_with_the_counter(ledger: Ledger) -> None:
    """To the last cent it fits; one more does not, also not into an empty counter."""
    with pytest.raises(LedgerRefusedError) as first:
        _reserve(ledger, _reservation("10.01"))
    assert first.value.refused == {0: Counter()}
    _reserve(ledger, _reservation("10"))
    with pytest.raises(LedgerRefusedError) as refused:
        _reserve(ledger, _reservation("0.01", slot="h29384757_b"))
    assert refused.value.refused[0].committed == 10


def test_several_counters_take_all_or_nothing(ledger: Ledger) -> None:
    """The one that is full is named; the others are as before."""
    _reserve(ledger, _reservation("9"))
    with pytest.raises(LedgerRefusedError) as refused:
        _reserve(ledger, _reservation("2", slot="h29384757_b", counters=2))
    assert list(refused.value.refused) == [0]
    assert ledger.read([_TEAM]) == {}


def test_the_same_reservation_is_held_once(ledger: Ledger) -> None:
    """Asked again after a lost answer, the counter shows that it has it."""
    _reserve(ledger, _reservation("1"))
    with pytest.raises(LedgerRefusedError) as refused:
        _reserve(ledger, _reservation("1"))
    assert _OWN in refused.value.refused[0].slots
    assert _counter(ledger).committed == 1


def test_a_settlement_counts_once(ledger: Ledger) -> None:
    """The second finds nothing to settle."""
    reservation = _reservation("1")
    _reserve(ledger, reservation)
    _settle(ledger, reservation, "1")
    with pytest.raises(LedgerRefusedError) as refused:
        _settle(ledger, reservation, "1")
    assert refused.value.refused[0].slots == {}
    assert _counter(ledger).spent == 1


def test_calls_are_limited_too(ledger: Ledger) -> None:
    """Without any limit in dollars."""
    hold = Hold("workflow:acme/w#total#always", None, max_calls=1)
    ledger.write([reserve(Reservation("h29384757_a", Decimal(1), (hold,)), hold)])
    with pytest.raises(LedgerRefusedError):
        ledger.write([reserve(Reservation("h29384757_b", Decimal(1), (hold,)), hold)])


@pytest.mark.parametrize("slot", [_OWN, shared_slot(_NOW)])
def test_a_hold_that_ran_out_is_released_and_settled_late(ledger: Ledger, slot: str) -> None:
    """Once each, however often it is tried."""
    reservation = _reservation("4", slot=slot)
    _reserve(ledger, reservation)
    assert releases(_DAY, _counter(ledger), slot_expiry(slot)) == ()
    (release,) = releases(_DAY, _counter(ledger), slot_expiry(slot) + SKEW)
    ledger.write([release])
    with pytest.raises(LedgerRefusedError):
        ledger.write([release])
    released = _counter(ledger)
    assert [released.committed, released.released] == [0, 4]
    _settle(ledger, reservation, "3", Ending.LATE)
    settled = _counter(ledger)
    assert [settled.committed, settled.spent, settled.released] == [3, 3, 0]
    with pytest.raises(LedgerRefusedError):
        _settle(ledger, reservation, "3", Ending.LATE)


def test_more_than_was_held_is_spent_where_it_fits(ledger: Ledger) -> None:
    """And written beside it where it does not."""
    reservation = _reservation("4", ceiling="5")
    _reserve(ledger, reservation)
    with pytest.raises(LedgerRefusedError):
        _settle(ledger, reservation, "6")
    _settle(ledger, reservation, "6", Ending.OVER)
    counter = _counter(ledger)
    assert [counter.committed, counter.spent, counter.overrun] == [4, 4, 2]


def test_a_waived_refusal_is_noted(ledger: Ledger) -> None:
    """A budget in shadow mode counts on above its limit."""
    reservation = _reservation("4", ceiling="1")
    ledger.write([reserve(reservation, reservation.holds[0], waived=True)])
    counter = _counter(ledger)
    assert [counter.committed, counter.shadow_refusals] == [4, 1]


def test_a_threshold_is_told_once(ledger: Ledger) -> None:
    """By whoever comes first."""
    assert ledger.tell_once(_DAY, Decimal(80))
    assert not ledger.tell_once(_DAY, Decimal(80))
    assert ledger.tell_once(_DAY, Decimal("99.5"))
    assert _counter(ledger).told == {Decimal(80), Decimal("99.5")}


def test_a_notice_is_open_until_it_is_closed(ledger: Ledger) -> None:
    """Opened once, taken by one at a time, and gone when it was published; closing again does no harm."""
    notice = OpenNotice({"id": f"{_DAY}@80", "counter": _DAY, "at_percent": "80", "limit_usd": None}, _NOW)
    other = OpenNotice({"id": f"{_TEAM}@99.5", "counter": _TEAM, "at_percent": "99.5"}, _NOW)
    assert ledger.open_notices(limit=9) == []
    assert ledger.open_notice(notice)
    assert not ledger.open_notice(replace(notice, due=_NOW + timedelta(days=1)))
    assert ledger.open_notice(other)
    assert ledger.open_notices(limit=9) == [notice, other]
    assert ledger.open_notices(limit=1) == [notice]
    later = _NOW + timedelta(seconds=90, milliseconds=1)
    assert ledger.postpone_notice(notice, later)
    assert not ledger.postpone_notice(notice, later)
    assert ledger.open_notices(limit=1) == [replace(notice, due=later)]
    ledger.close_notice(notice.notice_id)
    ledger.close_notice(notice.notice_id)
    assert not ledger.postpone_notice(replace(notice, due=later), _NOW)
    assert ledger.open_notices(limit=9) == [other]


def test_calls_of_a_run_come_back(ledger: Ledger) -> None:
    """With and without a cost; another tenant's run of the same name is another run."""
    first = WorkflowCall(
        "acme", "w#1", "inf_1", "", 1, "echo", InferenceType.REALTIME, "completed", _NOW, Decimal("0.1")
    )
    second = first._replace(inference_id="inf_2", parent="inf_1", depth=2, effective_cost=None)
    ledger.write([second, first])
    ledger.write([first._replace(tenant="other")])
    assert list(ledger.calls_of("acme", "w#1", limit=9)) == [first, second]
    assert ledger.call("acme", "w#1", "inf_2") == second
    assert ledger.call("acme", "w#1", "inf_3") is None
    assert list(ledger.calls_of("acme", "w#1", limit=1)) == [first]


def test_a_job_and_its_hold_are_stored_together(stores: tuple[Ledger, JobStore]) -> None:
    """A refusal of either leaves neither, and both end in one write."""
    ledger, jobs = stores
    reservation = _reservation("6", slot=shared_slot(_NOW), counters=2)
    charges = [reserve(reservation, hold) for hold in reservation.holds]
    jobs.add(make_job(reservation=reservation), charges)
    with pytest.raises(ConflictError):
        jobs.add(make_job(reservation=reservation._replace(amount=Decimal(1))), charges[:1])
    with pytest.raises(LedgerRefusedError):
        jobs.add(make_job("inf_2", reservation=reservation), charges)
    assert jobs.get("inf_2") is None
    assert _counter(ledger).committed == 6

    ended = make_job(state=JobState.COMPLETED, reservation=reservation)
    settlements = [settlement(reservation, hold, Decimal(2), Ending.SETTLE) for hold in reservation.holds]
    assert jobs.change(ended, expected=OPEN_STATES, charges=settlements)
    assert not jobs.change(ended, expected=OPEN_STATES, charges=settlements)
    assert [_counter(ledger).spent, _counter(ledger, _TEAM).committed] == [2, 2]


def test_the_end_of_a_job_waits_for_its_settlement(stores: tuple[Ledger, JobStore]) -> None:
    """When the ledger refuses, the job is still open."""
    ledger, jobs = stores
    reservation = _reservation("6", slot=shared_slot(_NOW))
    jobs.add(make_job(reservation=reservation), [reserve(reservation, reservation.holds[0])])
    late = [settlement(reservation, reservation.holds[0], Decimal(2), Ending.LATE)]
    with pytest.raises(LedgerRefusedError):
        jobs.change(make_job(state=JobState.COMPLETED), expected=OPEN_STATES, charges=late)
    stored = jobs.get("inf_1")
    assert stored is not None
    assert stored.state is JobState.QUEUED
    assert _counter(ledger).held == 6


def test_more_is_held_for_a_job_that_is_handed_on(stores: tuple[Ledger, JobStore]) -> None:
    """Together with its record, within the limit, and only while its hold is there."""
    ledger, jobs = stores
    slot = shared_slot(_NOW)
    first = _reservation("2", ceiling="10", slot=slot)
    jobs.add(make_job(reservation=first), [reserve(first, first.holds[0])])
    topped = first._replace(amount=Decimal(5))
    moved = make_job(deployment="paid", reservation=topped)
    with pytest.raises(LedgerRefusedError):
        jobs.hand_on(moved, was="small", charges=[top_up(first, Hold(_DAY, Decimal(4)), Decimal(3))])
    assert _counter(ledger).committed == 2
    assert jobs.hand_on(moved, was="small", charges=[top_up(first, first.holds[0], Decimal(3))])
    assert _counter(ledger).committed == 5
    assert _counter(ledger).calls == 1
    assert dict(_counter(ledger).slots) == {slot: Decimal(5)}
    assert not jobs.hand_on(moved, was="small", charges=[top_up(first, first.holds[0], Decimal(3))])
    assert _counter(ledger).committed == 5
    done = moved._replace(state=JobState.COMPLETED, finished_at=_NOW)
    assert jobs.change(
        done, expected=OPEN_STATES, charges=[settlement(topped, topped.holds[0], Decimal("0.5"), Ending.SETTLE)]
    )
    assert (_counter(ledger).committed, _counter(ledger).spent) == (Decimal("0.5"), Decimal("0.5"))


def test_a_hold_that_is_gone_is_not_topped_up(stores: tuple[Ledger, JobStore]) -> None:
    """What ran out, or was settled, cannot be added to."""
    ledger, _ = stores
    reservation = _reservation("2", slot=shared_slot(_NOW))
    with pytest.raises(LedgerRefusedError):
        ledger.write([top_up(reservation, reservation.holds[0], Decimal(1))])
