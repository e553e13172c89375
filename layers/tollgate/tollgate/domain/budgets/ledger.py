"""One counter per scope and period, and the conditional writes that keep it true.

``committed`` is what was spent plus what is held for requests under way, so a single comparison with the limit decides
whether one more request fits. Every hold stands in the counter under a name of its own (a *slot*) that begins with the
minute in which it runs out:

* ``h29384756_k3j9x0q2vt``: one real-time request. Whether the slot is there tells whether the reservation was settled,
  so both writes can be repeated after a lost answer without counting twice.
* ``h29390400``: all jobs whose holds run out at the same midnight, as a sum. They can be many and last for days; the
  job's own record, written in the same transaction, sees to it that each is counted once.

A hold that ran out is released: the slot ``h...`` becomes ``x...`` and leaves ``committed``. A late end finds it there
and is counted after all. So the holds are exact at every moment: ``committed == spent + sum of all h-slots``, and the
writes below keep ``committed <= limit`` and therefore ``spent <= limit``.

What was spent beyond a hold is added when it fits below the limit. Where it does not, it is not hidden in a rounding:
it is written as ``overrun``, so ``spent + overrun`` is to the cent what requests have cost.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.money import ZERO

SKEW = timedelta(minutes=2)
"""A hold is released this long after it ran out: clocks of two functions may differ."""

FORGET = timedelta(days=2)
"""After this time the trace of a released real-time hold is dropped; its function has ended after 30 s."""

_MINUTE = 60


class Counter(NamedTuple):
    """A counter as it is stored.

    Attributes:
        committed: dollars spent and held.
        spent: dollars of settled requests, never more than the limit.
        overrun: dollars that requests cost beyond their holds when nothing was left.
        calls: requests reserved.
        shadow_refusals: requests that would have been refused if the budget were not in shadow mode.
        slots: holds by name: ``h...`` under way, ``x...`` released before their end was known.
        told: thresholds that were announced, in percent.
    """

    committed: Decimal = ZERO
    spent: Decimal = ZERO
    overrun: Decimal = ZERO
    calls: int = 0
    shadow_refusals: int = 0
    slots: Mapping[str, Decimal] = MappingProxyType({})
    told: frozenset[Decimal] = frozenset()

    @property
    def held(self) -> Decimal:
        """Dollars of requests under way."""
        return self.committed - self.spent

    @property
    def used(self) -> Decimal:
        """Dollars that requests have cost, what went beyond the limit among them. Within a period it only grows."""
        return self.spent + self.overrun

    @property
    def released(self) -> Decimal:
        """Dollars of holds that ran out and whose end nobody has told yet."""
        return sum((amount for slot, amount in self.slots.items() if slot[0] == "x"), ZERO)


class Told(NamedTuple):
    """What a write said of its counter: dollars committed, and requests reserved where that changed."""

    committed: Decimal
    calls: int | None = None


class Change(NamedTuple):
    """One conditional write on one counter: what is added, and what must hold before.

    Attributes:
        slots: added to slots.
        dropped: slots that are removed.
        most_committed: `committed` may not be more than this before.
        most_calls: as `most_committed`.
        absent: this slot may not be there.
        least: slots that must be there with at least this much.
        exactly: slots that must hold exactly this much.
        ttl: epoch seconds after which the counter may be deleted; None leaves it as it is.
    """

    counter: str
    committed: Decimal = ZERO
    spent: Decimal = ZERO
    overrun: Decimal = ZERO
    calls: int = 0
    shadow_refusals: int = 0
    slots: Mapping[str, Decimal] = MappingProxyType({})
    dropped: frozenset[str] = frozenset()
    most_committed: Decimal | None = None
    most_calls: int | None = None
    absent: str = ""
    least: Mapping[str, Decimal] = MappingProxyType({})
    exactly: Mapping[str, Decimal] = MappingProxyType({})
    ttl: int | None = None


class WorkflowCall(NamedTuple):
    """One call of a workflow run, as its cost tree shows it. `effective_cost` is None until it is known."""

    tenant: str
    workflow: str
    inference_id: str
    parent: str
    depth: int
    model: str
    inference_type: InferenceType
    status: str
    created_at: datetime
    effective_cost: Decimal | None = None


type LedgerWrite = Change | WorkflowCall


class Hold(NamedTuple):
    """The part of a reservation in one counter; `ceiling` is what it was admitted under, None without a limit."""

    counter: str
    ceiling: Decimal | None
    max_calls: int | None = None
    ttl: int | None = None


class Reservation(NamedTuple):
    """Dollars held for one request in every counter that it counts in.

    Attributes:
        slot: name of the hold.
        seconds: instance time that the amount pays for; the call is cut there. None where nothing can cut it.
        call: place in a workflow run.
    """

    slot: str
    amount: Decimal
    holds: tuple[Hold, ...]
    seconds: float | None = None
    call: WorkflowCall | None = None

    @property
    def exclusive(self) -> bool:
        """Whether the slot belongs to this reservation alone."""
        return "_" in self.slot


def charge_of(effective: Decimal | None, reservation: Reservation | None) -> Decimal:
    """Dollars that are charged for work: its cost; where that is unknown all that was held for it, never nothing."""
    if effective is not None:
        return effective
    return ZERO if reservation is None else reservation.amount


class Ending(Enum):
    """How a reservation ends in one counter."""

    SETTLE = "settle"
    OVER = "over"
    LATE = "late"
    LATE_OVER = "late_over"
    DONE = "done"


def own_slot(reservation_id: str, expires_at: datetime) -> str:
    """Slot of one real-time request."""
    return f"h{_minute(expires_at)}_{reservation_id[-10:]}"


def shared_slot(expires_at: datetime) -> str:
    """Slot of all jobs whose holds run out in the same night."""
    midnight = expires_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return f"h{_minute(midnight)}"


def _minute(moment: datetime) -> int:
    return -int(-moment.timestamp() // _MINUTE)


def slot_expiry(slot: str) -> datetime:
    """When the hold of a slot runs out."""
    return datetime.fromtimestamp(int(slot[1:].partition("_")[0]) * _MINUTE, UTC)


def reserve(reservation: Reservation, hold: Hold, *, waived: bool = False) -> Change:
    """The write that holds the amount, refused when it does not fit.

    Args:
        reservation: with its slot and amount.
        hold: the counter.
        waived: count although it does not fit, and note that: a budget in shadow mode.
    """
    return Change(
        counter=hold.counter,
        committed=reservation.amount,
        calls=1,
        shadow_refusals=1 if waived else 0,
        slots={reservation.slot: reservation.amount},
        most_committed=None if waived or hold.ceiling is None else hold.ceiling - reservation.amount,
        most_calls=None if waived or hold.max_calls is None else hold.max_calls - 1,
        absent=reservation.slot if reservation.exclusive else "",
        ttl=hold.ttl,
    )


def top_up(reservation: Reservation, hold: Hold, more: Decimal) -> Change:
    """The write that holds so many dollars more for the same request, refused when they do not fit.

    Args:
        reservation: as it was made; it must still be held.
        hold: the counter, with the ceiling that is to hold now.
        more: dollars.
    """
    return Change(
        counter=hold.counter,
        committed=more,
        slots={reservation.slot: more},
        most_committed=None if hold.ceiling is None else hold.ceiling - more,
        least={reservation.slot: reservation.amount},
        ttl=hold.ttl,
    )


def settlement(reservation: Reservation, hold: Hold, actual: Decimal, ending: Ending) -> Change:
    """The write that turns the hold into spend, or into what is left of it.

    Args:
        reservation: as it was made.
        hold: the counter.
        actual: dollars that the request cost.
        ending: SETTLE first; what follows a refusal is said by `next_ending`.
    """
    held = reservation.amount
    late = ending in {Ending.LATE, Ending.LATE_OVER}
    slot = _released(reservation.slot) if late else reservation.slot
    taken = ZERO if late else held
    spent = {Ending.OVER: held, Ending.LATE_OVER: ZERO}.get(ending, actual)
    more = spent - taken
    return Change(
        counter=hold.counter,
        committed=more,
        spent=spent,
        overrun=actual - spent,
        slots={} if reservation.exclusive else {slot: -held},
        dropped=frozenset({slot}) if reservation.exclusive else frozenset(),
        least={slot: held},
        most_committed=hold.ceiling - more if hold.ceiling is not None and more > ZERO else None,
        ttl=hold.ttl,
    )


def late_charge(hold: Hold, amount: Decimal, *, over: bool) -> Change:
    """The write for what a request cost after its reservation was settled.

    Args:
        hold: that was settled.
        amount: dollars.
        over: as overrun, because the counter refused it as spend.
    """
    if over:
        return Change(counter=hold.counter, overrun=amount, ttl=hold.ttl)
    most = None if hold.ceiling is None else hold.ceiling - amount
    return Change(counter=hold.counter, committed=amount, spent=amount, most_committed=most, ttl=hold.ttl)


def next_ending(ending: Ending, reservation: Reservation, counter: Counter) -> Ending:
    """What to try after a refusal, as the counter stood when it refused.

    DONE when neither the hold nor its released form is there: an earlier attempt went through although its answer was
    lost.
    """
    slot, released = reservation.slot, _released(reservation.slot)
    if slot in counter.slots and counter.slots[slot] >= reservation.amount:
        return Ending.OVER if ending is Ending.SETTLE else Ending.SETTLE
    if released in counter.slots and counter.slots[released] >= reservation.amount:
        return Ending.LATE_OVER if ending is Ending.LATE else Ending.LATE
    return Ending.DONE


def is_held(reservation: Reservation, counter: Counter) -> bool:
    """Whether the counter holds exactly this reservation: an earlier attempt went through, its answer was lost."""
    return reservation.exclusive and reservation.slot in counter.slots


def releases(name: str, counter: Counter, now: datetime) -> tuple[Change, ...]:
    """The writes that release holds which ran out, and drop traces that nobody will ask for; each can be repeated."""
    found = []
    for slot, amount in counter.slots.items():
        ran_out = slot_expiry(slot) + SKEW
        if slot[0] == "h" and now >= ran_out:
            kept = {_released(slot): amount} if amount else {}
            found.append(
                Change(
                    counter=name,
                    committed=-amount,
                    slots=kept,
                    dropped=frozenset({slot}),
                    exactly={slot: amount},
                )
            )
        elif slot[0] == "x" and "_" in slot and now >= ran_out + FORGET:
            found.append(Change(counter=name, dropped=frozenset({slot}), exactly={slot: amount}))
    return tuple(found)


def _released(slot: str) -> str:
    return f"x{slot[1:]}"


def apply(counter: Counter | None, change: Change) -> Counter | None:
    """The counter after a write, None if the write is refused. What DynamoDB does with the same expressions."""
    before = counter or Counter()
    slots = dict(before.slots)
    refused = (
        (change.most_committed is not None and before.committed > change.most_committed)
        or (change.most_calls is not None and before.calls > change.most_calls)
        or change.absent in slots
        or any(slot not in slots or slots[slot] < amount for slot, amount in change.least.items())
        or any(slots.get(slot) != amount for slot, amount in change.exactly.items())
    )
    if refused:
        return None
    for slot, amount in change.slots.items():
        slots[slot] = slots.get(slot, ZERO) + amount
    for slot in change.dropped:
        slots.pop(slot, None)
    return before._replace(
        committed=before.committed + change.committed,
        spent=before.spent + change.spent,
        overrun=before.overrun + change.overrun,
        calls=before.calls + change.calls,
        shadow_refusals=before.shadow_refusals + change.shadow_refusals,
        slots=slots,
    )


def cost_of_tree(calls: Iterable[WorkflowCall]) -> Decimal:
    """Dollars of all calls whose cost is known."""
    return sum((call.effective_cost for call in calls if call.effective_cost is not None), ZERO)
