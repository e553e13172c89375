"""An ended job is charged for what it cost beyond its bill: once, in every budget that held it."""

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_job
from tests.fakes.jobs import InMemoryJobStore
from tollgate.domain.budgets.ledger import Counter, Hold, Reservation, WorkflowCall
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.settlement import Settlement
from tollgate.domain.errors import LedgerRefusedError, StorageError
from tollgate.domain.jobs.job import Bill, Job, JobState, Payload, Usage
from tollgate.services.jobs.charge_late import charge_late

_ROAD, _TRIM = AvoidedReason.ROAD, AvoidedReason.TRIM
_CLOCK = ManualClock()
_CALL = WorkflowCall("acme", "run", "inf_1", "", 0, "echo", InferenceType.ASYNC, "queued", _CLOCK.now())
_HELD = Reservation("h1", Decimal(5), (Hold("gateway", Decimal(10)), Hold("team", Decimal(2))), call=_CALL)
_WHOLE = Settlement(
    Decimal(3), Decimal(8), {_ROAD: Decimal(7), _TRIM: Decimal(1)}, Decimal("2.5"), Decimal(40), Decimal(9)
)


def _expired(*, priced: bool = True, **changes: Any) -> Job:
    """Its dollar was for the gateway's own parts, unless nobody knew a price."""
    bill = Bill(_CLOCK.now(), Decimal(1), Decimal("0.5"), {_ROAD: Decimal(2)}, "blue")
    known = {"effective_cost": Decimal(1), "avoided_cost": Decimal(2), "held_seconds": Decimal(10)}
    values: dict[str, Any] = {
        "state": JobState.EXPIRED,
        "bill": bill if priced else Bill(_CLOCK.now(), Decimal(0)),
        "reservation": _HELD,
        "output": Payload(inline="x"),
        "parameters": {"a": 1},
        "metadata": {"b": "c"},
        "webhook_url": "https://a.example",
        "webhook_pending": True,
    }
    return make_job(**values | (known if priced else {}) | changes)


def _charged(job: Job, settlement: Settlement, jobs: InMemoryJobStore | None = None) -> tuple[Job, InMemoryJobStore]:
    store = jobs or InMemoryJobStore()
    assert charge_late(job, settlement, Usage(4, 5), jobs=store, clock=_CLOCK)
    (late,) = store.late.values()
    return late, store


def test_the_difference_is_a_record_of_its_own() -> None:
    """With nothing of the caller's on it, and nobody is called about it."""
    late, store = _charged(_expired(), _WHOLE)
    assert late == make_job(
        "inf_1#late",
        state=JobState.EXPIRED,
        input=Payload(),
        usage=Usage(4, 5),
        effective_cost=Decimal(2),
        avoided_cost=Decimal(6),
        held_seconds=Decimal(30),
        bill=Bill(_CLOCK.now(), Decimal(2), Decimal(2), {_TRIM: Decimal(1), _ROAD: Decimal(5)}, "blue"),
    )
    assert not charge_late(_expired(), _WHOLE, Usage(), jobs=store, clock=_CLOCK), "it was done before"
    assert charge_late(_expired(), _WHOLE, Usage(), run="b", jobs=store, clock=_CLOCK), "another invocation"
    assert set(store.late) == {"inf_1#late", "inf_1#late-b"}


def test_every_budget_that_held_the_job_is_charged() -> None:
    """As spend where it fits, otherwise as overrun; its place in the run has what it really cost."""
    jobs = InMemoryJobStore()
    jobs.ledger.counters = {name: Counter(committed=Decimal(1), spent=Decimal(1)) for name in ("gateway", "team")}
    _charged(_expired(), _WHOLE, jobs)
    assert jobs.ledger.counters == {
        "gateway": Counter(committed=Decimal(3), spent=Decimal(3)),
        "team": Counter(committed=Decimal(1), spent=Decimal(1), overrun=Decimal(2)),
    }
    (call,) = jobs.ledger.calls.values()
    assert call == _CALL._replace(status="expired", effective_cost=Decimal(3))


def test_what_nobody_can_price_is_charged_at_what_was_held() -> None:
    """Never at nothing; its cost stays unknown, in the run as well."""
    late, store = _charged(_expired(), Settlement(None, None))
    assert late.bill is not None
    assert (late.bill.charged, late.bill.instance, late.bill.avoided) == (Decimal(4), None, {})
    assert (late.effective_cost, late.avoided_cost, late.held_seconds) == (None, None, None)
    assert store.ledger.counters["gateway"].spent == 4
    assert store.ledger.calls == {}
    free, _ = _charged(_expired(reservation=None), Settlement(None, None))
    assert free.bill is not None
    assert free.bill.charged == 0


def test_a_job_that_had_no_price_before_is_charged_the_whole() -> None:
    """What was unknown counts as nothing paid."""
    late, store = _charged(_expired(priced=False), _WHOLE)
    assert late.bill == Bill(_CLOCK.now(), Decimal(3), Decimal("2.5"), {_TRIM: Decimal(1), _ROAD: Decimal(7)})
    assert (late.effective_cost, late.avoided_cost, late.held_seconds) == (Decimal(3), Decimal(8), Decimal(40))
    (call,) = store.ledger.calls.values()
    assert call.effective_cost == 3


def test_nothing_is_given_back() -> None:
    """Though it turns out to have cost less: then no counter is written."""
    late, store = _charged(_expired(reservation=_HELD._replace(call=None)), _WHOLE._replace(effective=Decimal("0.5")))
    assert late.bill is not None
    assert (late.bill.charged, late.effective_cost) == (Decimal(0), Decimal("-0.5"))
    assert store.ledger.writes == 0


def test_a_job_that_has_not_ended_is_not_charged() -> None:
    """Its end will say what it cost."""
    jobs = InMemoryJobStore()
    assert not charge_late(make_job(), _WHOLE, Usage(), jobs=jobs, clock=_CLOCK)
    assert jobs.late == {}


def test_counters_that_never_stand_still_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be tried again."""
    jobs = InMemoryJobStore()

    def refuse(_late: Job, _charges: object) -> bool:
        raise LedgerRefusedError({0: Counter()})

    monkeypatch.setattr(jobs, "add_late", refuse)
    with pytest.raises(StorageError, match="busy"):
        charge_late(_expired(), _WHOLE, Usage(), jobs=jobs, clock=_CLOCK)
