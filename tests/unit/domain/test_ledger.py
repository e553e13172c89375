"""The writes of the budgets' counters, one by one: what each adds, what it demands, and what is tried when it fails."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tollgate.domain.budgets.ledger import (
    FORGET,
    SKEW,
    Change,
    Counter,
    Ending,
    Hold,
    Reservation,
    WorkflowCall,
    apply,
    cost_of_tree,
    is_held,
    late_charge,
    next_ending,
    own_slot,
    releases,
    reserve,
    settlement,
    shared_slot,
    slot_expiry,
    top_up,
)
from tollgate.domain.catalogue import InferenceType

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_OWN, _SHARED = own_slot("inf_1234567890", _NOW), shared_slot(_NOW)
_AMOUNT, _LEAST = Decimal("0.3"), Decimal("1E-12")
_HOLD = Hold("gateway", Decimal(1), max_calls=3, ttl=77)
_FREE = Hold("gateway", None, ttl=77)


def _reservation(slot: str = _OWN) -> Reservation:
    return Reservation(slot, _AMOUNT, (_HOLD,))


def _released(slot: str) -> str:
    return f"x{slot[1:]}"


def _after(counter: Counter | None, change: Change) -> Counter:
    found = apply(counter, change)
    assert found is not None
    return found


@pytest.mark.parametrize("slot", [_OWN, _SHARED])
def test_a_request_is_held_up_to_the_last_cent_and_the_last_call(slot: str) -> None:
    """And refused beyond either, as is a hold of a single request that is there already."""
    change = reserve(_reservation(slot), _HOLD)
    full = Counter(committed=Decimal("0.7"), spent=Decimal("0.7"), calls=2)
    assert apply(full, change) == full._replace(committed=Decimal(1), calls=3, slots={slot: _AMOUNT})
    assert apply(full._replace(committed=Decimal("0.7") + _LEAST), change) is None
    assert apply(full._replace(calls=3), change) is None
    again = apply(_after(None, change), change)
    assert again == (None if slot == _OWN else Counter(committed=2 * _AMOUNT, calls=2, slots={slot: 2 * _AMOUNT}))
    assert change.ttl == 77


def test_without_limits_everything_fits() -> None:
    """It is counted all the same, and nothing is noted as refused."""
    counter = Counter(committed=Decimal(10**6), calls=10**6)
    expected = Counter(committed=10**6 + _AMOUNT, calls=10**6 + 1, slots={_OWN: _AMOUNT})
    assert apply(counter, reserve(_reservation(), _FREE)) == expected


def test_a_waived_refusal_is_counted_as_one() -> None:
    """A budget in shadow mode holds what does not fit, in dollars or in calls."""
    full = Counter(committed=Decimal(1), calls=3)
    expected = Counter(committed=Decimal("1.3"), calls=4, shadow_refusals=1, slots={_OWN: _AMOUNT})
    assert apply(full, reserve(_reservation(), _HOLD, waived=True)) == expected


def test_more_is_held_for_a_request_only_while_it_is_held() -> None:
    """And only as much as fits; no call is counted for it."""
    more = top_up(_reservation(), _HOLD, Decimal("0.5"))
    held = _after(None, reserve(_reservation(), _HOLD))
    assert apply(held, more) == Counter(committed=Decimal("0.8"), calls=1, slots={_OWN: Decimal("0.8")})
    assert apply(held._replace(committed=Decimal("0.5") + _LEAST), more) is None
    assert apply(held._replace(slots={}), more) is None
    assert apply(held._replace(committed=Decimal(9)), top_up(_reservation(), _FREE, Decimal("0.5"))) is not None
    assert more.ttl == 77


@pytest.mark.parametrize(
    ("ending", "actual", "adds"),
    [
        (Ending.SETTLE, "0.1", ("-0.2", "0.1", "0")),
        (Ending.SETTLE, "0.3", ("0", "0.3", "0")),
        (Ending.SETTLE, "0.5", ("0.2", "0.5", "0")),
        (Ending.OVER, "0.5", ("0", "0.3", "0.2")),
        (Ending.LATE, "0.5", ("0.5", "0.5", "0")),
        (Ending.LATE_OVER, "0.5", ("0", "0", "0.5")),
    ],
)
@pytest.mark.parametrize("slot", [_OWN, _SHARED])
def test_a_hold_becomes_spend(slot: str, ending: Ending, actual: str, adds: tuple[str, str, str]) -> None:
    """What was held is given back, what was released is counted anew, and what does not fit is overrun."""
    late = ending in {Ending.LATE, Ending.LATE_OVER}
    place = _released(slot) if late else slot
    change = settlement(_reservation(slot), _HOLD, Decimal(actual), ending)
    more, spent, overrun = map(Decimal, adds)
    assert (change.committed, change.spent, change.overrun) == (more, spent, overrun)
    assert change.most_committed == (1 - more if more > 0 else None)
    assert settlement(_reservation(slot), _FREE, Decimal(actual), ending).most_committed is None
    before = Counter(committed=Decimal("0.4"), slots={place: _AMOUNT})
    left = {} if slot == _OWN else {place: Decimal(0)}
    assert apply(before, change) == before._replace(
        committed=before.committed + more, spent=spent, overrun=overrun, slots=left
    )
    assert apply(before._replace(slots={place: _AMOUNT - _LEAST}), change) is None
    assert apply(before._replace(slots={}), change) is None


def test_spend_that_comes_after_the_settlement_needs_room() -> None:
    """Where there is none it is overrun."""
    change = late_charge(_HOLD, Decimal("0.2"), over=False)
    full = Counter(committed=Decimal("0.8"), spent=Decimal("0.8"))
    assert apply(full, change) == full._replace(committed=Decimal(1), spent=Decimal(1))
    assert apply(full._replace(committed=Decimal("0.8") + _LEAST), change) is None
    over = late_charge(_HOLD, Decimal("0.2"), over=True)
    assert apply(full._replace(committed=Decimal(1)), over) == full._replace(
        committed=Decimal(1), overrun=Decimal("0.2")
    )
    assert late_charge(_FREE, Decimal("0.2"), over=False).most_committed is None
    assert change.ttl == over.ttl == 77


@pytest.mark.parametrize(
    ("held", "released", "tried", "following"),
    [
        ("0.3", None, Ending.SETTLE, Ending.OVER),
        ("0.3", None, Ending.LATE, Ending.SETTLE),
        ("0.3", "0.3", Ending.SETTLE, Ending.OVER),
        (None, "0.3", Ending.SETTLE, Ending.LATE),
        (None, "0.3", Ending.OVER, Ending.LATE),
        (None, "0.3", Ending.LATE, Ending.LATE_OVER),
        ("0.2", "0.3", Ending.SETTLE, Ending.LATE),
        ("0.2", "0.2", Ending.SETTLE, Ending.DONE),
        (None, None, Ending.SETTLE, Ending.DONE),
    ],
)
def test_what_follows_a_refusal(held: str | None, released: str | None, tried: Ending, following: Ending) -> None:
    """First the hold that is there, then its released form; where neither is left, it was done before."""
    found = {_SHARED: held, _released(_SHARED): released}
    counter = Counter(slots={slot: Decimal(amount) for slot, amount in found.items() if amount is not None})
    assert next_ending(tried, _reservation(_SHARED), counter) is following


def test_only_a_hold_of_its_own_tells_that_it_was_made() -> None:
    """One that jobs share is there for any of them."""
    assert is_held(_reservation(), Counter(slots={_OWN: _AMOUNT}))
    assert not is_held(_reservation(), Counter())
    assert not is_held(_reservation(_SHARED), Counter(slots={_SHARED: _AMOUNT}))


@pytest.mark.parametrize("slot", [_OWN, _SHARED])
def test_a_hold_that_ran_out_is_released_once(slot: str) -> None:
    """A while after its time, as clocks differ; the write is refused if the hold has changed meanwhile."""
    counter = Counter(committed=Decimal("0.4"), spent=Decimal("0.1"), slots={slot: _AMOUNT})
    due = slot_expiry(slot) + SKEW
    assert timedelta(minutes=2) == SKEW
    assert releases("gateway", counter, due - timedelta(seconds=1)) == ()
    (change,) = releases("gateway", counter, due)
    after = _after(counter, change)
    assert after == counter._replace(committed=Decimal("0.1"), slots={_released(slot): _AMOUNT})
    assert (after.held, after.released) == (Decimal(0), _AMOUNT)
    assert apply(after, change) is None
    assert apply(counter._replace(slots={slot: _AMOUNT * 2}), change) is None


def test_a_shared_hold_that_is_used_up_leaves_no_trace() -> None:
    """There is nothing to wait for."""
    counter = Counter(slots={_SHARED: Decimal(0)})
    (change,) = releases("gateway", counter, slot_expiry(_SHARED) + SKEW)
    assert apply(counter, change) == Counter()


def test_the_trace_of_a_single_request_is_forgotten_after_two_days() -> None:
    """Its function has ended long since; a job that shares a hold may end whenever it likes."""
    own, shared = _released(_OWN), _released(_SHARED)
    counter = Counter(slots={own: _AMOUNT, shared: _AMOUNT, _SHARED: Decimal(1)})
    at = slot_expiry(_OWN) + SKEW + FORGET
    assert timedelta(days=2) == FORGET
    before = releases("gateway", counter._replace(slots={own: _AMOUNT}), at - timedelta(seconds=1))
    assert before == ()
    changes = releases("gateway", counter._replace(slots={own: _AMOUNT, shared: _AMOUNT}), at + 99 * FORGET)
    assert changes == (Change("gateway", dropped=frozenset({own}), exactly={own: _AMOUNT}),)
    assert releases("gateway", counter._replace(slots={own: _AMOUNT}), at) == changes
    assert counter.released == 2 * _AMOUNT


def test_used_is_what_was_spent_and_what_went_beyond() -> None:
    """Held is what is neither."""
    counter = Counter(committed=Decimal(5), spent=Decimal(3), overrun=Decimal("0.5"))
    assert (counter.used, counter.held) == (Decimal("3.5"), Decimal(2))


def test_a_tree_costs_what_is_known_of_its_calls() -> None:
    """Those under way cost nothing yet."""
    call = WorkflowCall("acme", "run", "inf_1", "", 0, "echo", InferenceType.REALTIME, "completed", _NOW)
    costs = (Decimal(1), None, Decimal("0.5"))
    assert cost_of_tree([call._replace(effective_cost=cost) for cost in costs]) == Decimal("1.5")
