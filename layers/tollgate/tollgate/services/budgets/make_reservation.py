"""Holds money in every budget that counts a request, or in none: how much to ask for, what gives way, who refuses."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from tollgate.domain.budgets.budget import AppliedBudget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import (
    Change,
    Counter,
    Hold,
    LedgerWrite,
    Reservation,
    Told,
    is_held,
    releases,
    reserve,
)
from tollgate.domain.budgets.reserving import FULL_CEILING, FULL_SHARE, Ask
from tollgate.domain.errors import (
    BudgetExceededError,
    LedgerRefusedError,
    OutcomeUnknownError,
    OverLimitError,
    StorageError,
)
from tollgate.domain.money import usd_text
from tollgate.ports.money import Ledger
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.budgets.watch import BudgetWatch

_KEPT = timedelta(days=40)
_ROUNDS = 8
_NO_END_SECONDS = 86_400
_IN_FLIGHT_SECONDS = 2
_NEARLY_ALL = Decimal("0.95")
"""Share of a limit that must be spent for a refusal to mean that the limit is reached."""


class _Attempts:
    """What is left to try: amounts, largest first; counters whose old holds were given back; counters to overdraw."""

    def __init__(self, asks: list[Ask]) -> None:
        self.asks = asks
        self.released: set[str] = set()
        self.waived: set[str] = set()


class ReservationMaker:
    """Finds the largest amount that every budget lets a request hold.

    Args:
        in_doubt: told of a reservation whose write may or may not have happened.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        telemetry: Telemetry,
        clock: Clock,
        watch: BudgetWatch,
        in_doubt: Callable[[Reservation], None],
    ) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._clock = clock
        self._watch = watch
        self._in_doubt = in_doubt

    def make(
        self,
        applied_budgets: Sequence[AppliedBudget],
        asks: Sequence[Ask],
        held: Reservation,
        write: Callable[[Reservation, Sequence[LedgerWrite]], Mapping[str, Told]],
    ) -> Reservation:
        """Try the largest ask that the limits allow, then the smaller ones, then without budgets in shadow mode.

        Args:
            applied_budgets: that count the request.
            asks: dearest first.
            held: the reservation without its amount and holds.
            write: does the writes, and returns what they told of the counters.

        Returns:
            What is held.

        Raises:
            BudgetExceededError: some budget has nothing left for it.
            StorageError: the ledger failed.
        """
        now = self._clock.now()
        budgets = [b for b in applied_budgets if b.counter]
        plan = _Attempts([ask for ask in asks if not ask.full or _affordable(ask, applied_budgets, now)])
        self._request_limits(applied_budgets, plan, now)
        for _ in range(_ROUNDS):
            ask = plan.asks[0]
            holds = tuple(_hold(applied, now) for applied in budgets)
            reservation = held._replace(amount=ask.amount, seconds=ask.seconds, holds=holds)
            writes = [
                _reserving(reservation, hold, applied, ask, least=plan.asks[-1].amount, waived=plan.waived)
                for hold, applied in zip(holds, budgets, strict=True)
            ]
            try:
                told = write(reservation, writes)
            except OutcomeUnknownError:
                self._in_doubt(reservation)
                raise
            except LedgerRefusedError as error:
                refused = {budgets[number].counter: counter for number, counter in error.refused.items()}
                told = {name: Told(counter.committed, counter.calls) for name, counter in refused.items()}
                if not all(is_held(reservation, counter) for counter in refused.values()):
                    self._watch.see(told)
                    self._give_way(plan, budgets, refused, now)
                    continue
            self._watch.see(told)
            if len(budgets) > 1 or not reservation.exclusive:
                self._watch.add((b.counter for b in budgets), ask.amount, calls=1)
            self._watch.tell(budgets, now)
            return reservation
        raise StorageError("The ledger is busy. Try again.", retry_after=2)

    def _give_way(
        self, plan: _Attempts, budgets: Sequence[AppliedBudget], refused: Mapping[str, Counter], now: datetime
    ) -> None:
        """Change the plan so that the next attempt may fit.

        Raises:
            BudgetExceededError: nothing is left to try.
        """
        if self._release({name: counter for name, counter in refused.items() if name not in plan.released}, now):
            plan.released |= set(refused)
        elif len(plan.asks) > 1 and any(not b.budget.shadow for b in budgets if b.counter in refused):
            plan.asks.pop(0)
        else:
            plan.waived |= self._only_watching(budgets, refused, plan.asks[-1], now)

    def _request_limits(self, budgets: Sequence[AppliedBudget], plan: _Attempts, now: datetime) -> None:
        """Take out the asks that are more than a single request may cost.

        Raises:
            BudgetExceededError: nothing is left.
        """
        for applied in budgets:
            limit = applied.budget.ceiling_at(now)
            if applied.budget.period is not BudgetPeriod.REQUEST or limit is None:
                continue
            if plan.asks[-1].amount > limit:
                reason = f"A request may cost ${usd_text(limit)}; this one may cost ${usd_text(plan.asks[-1].amount)}."
                if not applied.budget.shadow:
                    self.refuse(applied, f"{reason} It never fits.", None, never_fits=True)
                self._shadow(applied)
            if not applied.budget.shadow:
                plan.asks = [ask for ask in plan.asks if ask.amount <= limit]

    def _only_watching(
        self, budgets: Sequence[AppliedBudget], refused: Mapping[str, Counter], ask: Ask, now: datetime
    ) -> set[str]:
        """The counters that may be overdrawn because their budgets are in shadow mode.

        Raises:
            BudgetExceededError: a budget that is not in shadow mode refused.
        """
        for applied in budgets:
            counter = refused.get(applied.counter)
            if counter is not None and not applied.budget.shadow:
                if _used_up(applied, counter, ask, now):
                    self._watch.tell_refused(applied, now)
                never = _never_fits(applied, ask, now)
                wait = None if never else _wait(applied, counter, ask, now)
                self.refuse(applied, _reason(applied, counter, ask, now), wait, never_fits=never)
        for applied in budgets:
            if applied.counter in refused:
                self._shadow(applied)
        return set(refused)

    def refuse(self, applied: AppliedBudget, reason: str, wait: int | None, *, never_fits: bool = False) -> None:
        """Count the refusal and raise it.

        Raises:
            BudgetExceededError: to be tried again after `wait` seconds; None if no end is in sight.
            OverLimitError: instead, if it `never_fits`.
        """
        self._telemetry.count("BudgetRefused")
        message = f"The {applied.budget.period.named_budget} '{applied.budget.scope}' refuses this request. {reason}"
        if never_fits:
            raise OverLimitError(message)
        raise BudgetExceededError(message, retry_after=_NO_END_SECONDS if wait is None else wait)

    def _shadow(self, applied: AppliedBudget) -> None:
        self._telemetry.count("BudgetShadowRefused")
        self._telemetry.log(
            "INFO", "budget would have refused", budget=applied.budget.scope, period=applied.budget.period.value
        )

    def _release(self, counters: Mapping[str, Counter], now: datetime) -> bool:
        """Give back holds that have run out; True if there were any."""
        found = False
        for name, counter in counters.items():
            for change in releases(name, counter, now):
                try:
                    self._ledger.write([change])
                except LedgerRefusedError:
                    pass  # Somebody else did it.
                else:
                    self._telemetry.count("BudgetHoldReleased")
                    if change.committed:
                        # Its call died, or ends late: until then, what it cost is on no account.
                        freed = usd_text(-change.committed)
                        self._telemetry.log("WARNING", "budget hold released", counter=name, released_usd=freed)
                found = True
        return found


def _affordable(ask: Ask, budgets: Sequence[AppliedBudget], now: datetime) -> bool:
    ceilings = [b.budget.ceiling_at(now) for b in budgets if b.counter and not b.budget.shadow]
    return all(ceiling is None or ask.amount <= ceiling * FULL_SHARE for ceiling in ceilings)


def _hold(applied: AppliedBudget, now: datetime) -> Hold:
    ends = applied.ends_at
    if ends is None and applied.budget.kind is ScopeKind.WORKFLOW:
        ends = now
    return Hold(
        counter=applied.counter,
        ceiling=applied.budget.ceiling_at(now),
        max_calls=applied.budget.max_calls,
        ttl=None if ends is None else int((ends + _KEPT).timestamp()),
    )


def _reserving(
    reservation: Reservation, hold: Hold, applied: AppliedBudget, ask: Ask, *, least: Decimal, waived: set[str]
) -> Change:
    change = reserve(reservation, hold, waived=hold.counter in waived)
    if change.most_committed is None or hold.ceiling is None:
        return change
    if applied.budget.shadow:
        # A request would only have been refused if its smallest ask had been.
        return change._replace(most_committed=hold.ceiling - least)
    share = FULL_CEILING if ask.full else Decimal(1)
    return change._replace(most_committed=hold.ceiling * share - ask.amount)


def _never_fits(applied: AppliedBudget, ask: Ask, now: datetime) -> bool:
    """Whether even the whole limit is too little, rather than only what is left of it."""
    ceiling = applied.budget.ceiling_at(now)
    return ceiling is not None and ask.amount > ceiling


def _reason(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> str:
    limit = applied.budget.ceiling_at(now) or Decimal(0)
    if _never_fits(applied, ask, now):
        return f"Its limit is ${usd_text(limit)}, and this one may cost ${usd_text(ask.amount)}: it never fits."
    most = applied.budget.max_calls
    if most is not None and counter.calls >= most:
        return f"It allows {most} calls."
    again = "" if applied.ends_at is None else f" It starts anew at {applied.ends_at:%Y-%m-%dT%H:%MZ}."
    return (
        f"Its limit is ${usd_text(limit)}; ${usd_text(counter.spent)} are spent and "
        f"${usd_text(counter.held)} held for requests under way. This one may cost ${usd_text(ask.amount)}.{again}"
    )


def _wait(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> int | None:
    """Seconds until it may fit: few if only requests under way stand in its way; otherwise until the next period."""
    if _fits_soon(applied, counter, ask, now):
        return _IN_FLIGHT_SECONDS
    return None if applied.ends_at is None else max(1, -int((now - applied.ends_at).total_seconds() // 1))


def _used_up(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> bool:
    """Whether a refusal says something about the budget, rather than only that one request asks for a lot.

    Announcing the limit may stop the whole gateway until the period ends, which one large request must not do.
    """
    ceiling = applied.budget.ceiling_at(now)
    most = applied.budget.max_calls
    if most is not None and counter.calls >= most:
        return True
    nearly = ceiling is not None and counter.used >= ceiling * _NEARLY_ALL
    return nearly and not _fits_soon(applied, counter, ask, now)


def _fits_soon(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> bool:
    """Whether only money held for requests under way stands in its way."""
    ceiling = applied.budget.ceiling_at(now)
    most = applied.budget.max_calls
    calls_left = most is None or counter.calls < most
    return calls_left and ceiling is not None and counter.spent + ask.amount <= ceiling
