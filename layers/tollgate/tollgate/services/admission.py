"""The one admission point: nothing that costs money begins before every budget that counts it holds the money.

A gateway without budgets, and a request outside of any workflow run, pays nothing for this: no write, no read.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from tollgate.domain.budget_pressure import NO_PRESSURE, Pressure, pressure_of, thresholds_crossed
from tollgate.domain.budgets import AppliedBudget, BudgetPeriod, ScopeKind, Spender, applied_budgets
from tollgate.domain.catalogue import Catalogue, InferenceType, Model
from tollgate.domain.errors import (
    BudgetExceededError,
    InvalidRequestError,
    LedgerRefusedError,
    OutcomeUnknownError,
    StorageError,
)
from tollgate.domain.jobs import Owner
from tollgate.domain.ledger import (
    Change,
    Counter,
    Hold,
    LedgerWrite,
    Reservation,
    WorkflowCall,
    is_held,
    own_slot,
    releases,
    reserve,
    shared_slot,
)
from tollgate.domain.money import usd_text
from tollgate.domain.reserving import FULL_CEILING, FULL_SHARE, Ask
from tollgate.ports.money import BudgetNotices, Ledger
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.budget_watch import BudgetWatch
from tollgate.services.settle_reservation import settle_with

REALTIME_LEASE = timedelta(minutes=2)
"""Longer than the gateway function may run, so that no settlement can come after it."""

JOB_LEASE = timedelta(days=8)
"""Longer than the sweeper lets any job live: its end always comes first, and settles."""

_KEPT = timedelta(days=40)
_UNSETTLED_KEPT = 200
_ROUNDS = 8
_NO_END_SECONDS = 86_400
_IN_FLIGHT_SECONDS = 2
_OF_ANYBODY = frozenset({ScopeKind.GATEWAY, ScopeKind.MODEL})


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run that a request belongs to, and the call that it is made for."""

    workflow: str = ""
    parent: str = ""


NO_RUN = Run()


@dataclass(frozen=True, slots=True)
class Admitted:
    """What has to be reserved for a request, before it is known how much.

    Attributes:
        budgets: that count it.
        depth: in its workflow run, from 1; 0 outside of one.
    """

    owner: Owner
    model: str
    budgets: tuple[AppliedBudget, ...]
    run: Run = NO_RUN
    depth: int = 0


@dataclass(slots=True)
class _Attempts:
    """What is left to try: amounts, most first; counters whose old holds were given back; counters to overdraw."""

    asks: list[Ask]
    released: set[str] = field(default_factory=set)
    waived: set[str] = field(default_factory=set)


class Admission:
    """Reserves before, settles after, and tells when a threshold is crossed.

    Args:
        lease: of what is held for a real-time call; longer than the function may run.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        telemetry: Telemetry,
        clock: Clock,
        notices: BudgetNotices | None = None,
        gate: BrakeGate | None = None,
        lease: timedelta = REALTIME_LEASE,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._gate = gate
        self._telemetry = telemetry
        self._clock = clock
        self._watch = BudgetWatch(ledger=ledger, telemetry=telemetry, clock=clock, notices=notices)
        self._unsettled: deque[tuple[Reservation, Decimal, str]] = deque(maxlen=_UNSETTLED_KEPT)

    def admit(self, catalogue: Catalogue, owner: Owner, model: str, run: Run = NO_RUN) -> Admitted | None:
        """The budgets that a request has to pass; None when there is nothing to reserve or to record.

        Raises:
            SpendStoppedError: the brakes refuse new work for this model.
            BudgetExceededError: the call is too deep in its workflow run.
            InvalidRequestError: its parent is not a call of the run.
            StorageError
        """
        if catalogue.brakes is not None:
            self.offered(catalogue, catalogue.model(model))
        if not catalogue.budgets and not run.workflow:
            return None
        spender = Spender(owner.tenant, owner.key_id, owner.team, model, run.workflow)
        budgets = applied_budgets(catalogue.budgets, spender, self._clock.now())
        if not budgets and not run.workflow:
            return None
        depth = self._depth(owner, run) if run.workflow else 0
        for applied in budgets:
            most = applied.budget.max_depth
            if applied.budget.kind is ScopeKind.WORKFLOW and most is not None and depth > most:
                self._refuse(applied, f"Calls of a workflow run may be {most} deep; this one is {depth}.", None)
        return Admitted(owner, model, budgets, run, depth)

    def offered(self, catalogue: Catalogue, model: Model) -> tuple[Model, Pressure]:
        """See `BrakeGate`."""
        return (model, NO_PRESSURE) if self._gate is None else self._gate.offered(catalogue, model)

    def admit_file(self, catalogue: Catalogue, model: str) -> Admitted | None:
        """The budgets that a file of requests has to pass, which belongs to no key; None when there is none.

        Limits of single requests are not for it.
        """
        counted = [
            budget
            for budget in catalogue.budgets
            if budget.kind in _OF_ANYBODY and budget.period is not BudgetPeriod.REQUEST
        ]
        nobody = Owner(tenant="", key_id="")
        budgets = applied_budgets(counted, Spender("", "", "", model), self._clock.now())
        return Admitted(nobody, model, budgets) if budgets else None

    def pressure(self, admitted: Admitted | None) -> Pressure:
        """What thresholds ask of routing; known from looks that are at most five seconds old."""
        if admitted is None:
            return NO_PRESSURE
        counted = [b for b in admitted.budgets if b.counter]
        if len(counted) > 1 or any(b.budget.thresholds for b in counted):
            self._watch.look([b.counter for b in counted])
        now = self._clock.now()
        return pressure_of(
            (b.budget, thresholds_crossed(b.budget, committed, now))
            for b in counted
            if (committed := self._watch.committed(b.counter)) is not None
        )

    def reserve(self, admitted: Admitted, asks: Sequence[Ask], *, inference_id: str) -> Reservation:
        """Hold money for a real-time call.

        Raises:
            BudgetExceededError: some budget has nothing left for it.
            StorageError: the ledger failed.
        """
        self.settle_delayed()
        slot = own_slot(inference_id, self._clock.now() + self._lease)
        held = Reservation(slot, Decimal(0), (), call=self._call(admitted, inference_id, InferenceType.REALTIME))

        def write(_: Reservation, writes: Sequence[LedgerWrite]) -> Mapping[str, Decimal]:
            return self._ledger.write(writes) if writes else {}

        return self._attempt(admitted, asks, held, write)

    def reserve_job(
        self,
        admitted: Admitted,
        asks: Sequence[Ask],
        *,
        inference_id: str,
        inference_type: InferenceType,
        add: Callable[[Reservation, Sequence[LedgerWrite]], None],
    ) -> Reservation:
        """Hold money for a job; `add` stores the job together with the writes.

        Raises:
            BudgetExceededError, StorageError: as `reserve`; there is no job.
        """
        call = self._call(admitted, inference_id, inference_type)
        held = Reservation(shared_slot(self._clock.now() + JOB_LEASE), Decimal(0), (), call=call)

        def write(reservation: Reservation, writes: Sequence[LedgerWrite]) -> Mapping[str, Decimal]:
            add(reservation, writes if call is None else (*writes, call))
            return {}

        return self._attempt(admitted, asks, held, write)

    def settle(self, reservation: Reservation, actual: Decimal, status: str) -> None:
        """Turn a real-time hold into spend. Never raises: what cannot be written now is tried before the next hold."""
        if not reservation.holds and reservation.call is None:
            return
        try:
            settle_with(reservation, actual, status, self._write)
        except StorageError as error:
            self._unsettled.append((reservation, actual, status))
            self._telemetry.count("BudgetSettlementDelayed")
            self._telemetry.log(
                "WARNING", "budget settlement delayed", reason=error.message, effective_cost_usd=usd_text(actual)
            )

    def remaining(self, admitted: Admitted) -> Decimal | None:
        """Dollars that the tightest budget still has, as far as it is known; None without a limit."""
        now = self._clock.now()
        found = [
            ceiling - committed
            for b in admitted.budgets
            if not b.budget.shadow
            and (ceiling := b.budget.ceiling_at(now)) is not None
            and (committed := self._watch.committed(b.counter)) is not None
        ]
        return max(Decimal(0), min(found)) if found else None

    def _write(self, writes: Sequence[LedgerWrite]) -> bool:
        if writes:
            told = self._ledger.write(writes)
            self._watch.see(told)
            for change in writes:
                if isinstance(change, Change):
                    self._watch.spend(change)
                    if change.counter not in told:
                        self._watch.add((change.counter,), change.committed)
        return True

    def settle_delayed(self) -> None:
        """Try again what could not be settled; what fails once more stays for the next time."""
        for _ in range(len(self._unsettled)):
            reservation, actual, status = self._unsettled.popleft()
            self.settle(reservation, actual, status)

    def _depth(self, owner: Owner, run: Run) -> int:
        if not run.parent:
            return 1
        parent = self._ledger.call(owner.tenant, run.workflow, run.parent)
        if parent is None:
            raise InvalidRequestError(
                f"'{run.parent[:100]}' is not a call of this workflow run.", param="x-tollgate-parent"
            )
        return parent.depth + 1

    def _call(self, admitted: Admitted, inference_id: str, inference_type: InferenceType) -> WorkflowCall | None:
        if not admitted.run.workflow:
            return None
        return WorkflowCall(
            tenant=admitted.owner.tenant,
            workflow=admitted.run.workflow,
            inference_id=inference_id,
            parent=admitted.run.parent,
            depth=admitted.depth,
            model=admitted.model,
            inference_type=inference_type,
            status="queued",
            created_at=self._clock.now(),
        )

    def _attempt(
        self,
        admitted: Admitted,
        asks: Sequence[Ask],
        held: Reservation,
        write: Callable[[Reservation, Sequence[LedgerWrite]], Mapping[str, Decimal]],
    ) -> Reservation:
        """Try the largest ask that may be made, then the smaller, then without the budgets that only watch."""
        now = self._clock.now()
        budgets = [b for b in admitted.budgets if b.counter]
        plan = _Attempts([ask for ask in asks if not ask.full or _affordable(ask, admitted.budgets, now)])
        self._request_limits(admitted.budgets, plan, now)
        for _ in range(_ROUNDS):
            ask = plan.asks[0]
            holds = tuple(_hold(applied, now) for applied in budgets)
            reservation = replace(held, amount=ask.amount, seconds=ask.seconds, holds=holds)
            writes = [
                _reserving(reservation, hold, applied, ask, least=plan.asks[-1].amount, waived=plan.waived)
                for hold, applied in zip(holds, budgets, strict=True)
            ]
            try:
                committed = write(reservation, writes)
            except OutcomeUnknownError:
                if reservation.exclusive:
                    # It may be held; settling it as nothing gives that back, and changes nothing otherwise.
                    self._unsettled.append((reservation, Decimal(0), "failed"))
                raise
            except LedgerRefusedError as error:
                refused = {budgets[number].counter: counter for number, counter in error.refused.items()}
                committed = {name: counter.committed for name, counter in refused.items()}
                if not all(is_held(reservation, counter) for counter in refused.values()):
                    self._watch.see(committed)
                    self._give_way(plan, budgets, refused, now)
                    continue
            self._watch.see(committed)
            if len(budgets) > 1 or not reservation.exclusive:
                self._watch.add((b.counter for b in budgets), ask.amount)
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
        """Take out what a single request may not cost.

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
                    self._refuse(applied, reason, None)
                self._shadow(applied)
            if not applied.budget.shadow:
                plan.asks = [ask for ask in plan.asks if ask.amount <= limit]

    def _only_watching(
        self, budgets: Sequence[AppliedBudget], refused: Mapping[str, Counter], ask: Ask, now: datetime
    ) -> set[str]:
        """The counters that may be overdrawn because their budgets are in shadow mode.

        Raises:
            BudgetExceededError: a budget that is meant refused.
        """
        for applied in budgets:
            counter = refused.get(applied.counter)
            if counter is not None and not applied.budget.shadow:
                if not _fits_soon(applied, counter, ask, now):
                    self._watch.tell_refused(applied, now)
                self._refuse(applied, _reason(applied, counter, ask, now), _wait(applied, counter, ask, now))
        for applied in budgets:
            if applied.counter in refused:
                self._shadow(applied)
        return set(refused)

    def _refuse(self, applied: AppliedBudget, reason: str, wait: int | None) -> None:
        self._telemetry.count("BudgetRefused")
        period = "" if applied.budget.period is BudgetPeriod.TOTAL else f" for each {applied.budget.period}"
        raise BudgetExceededError(
            f"The budget '{applied.budget.scope}'{period} refuses this request. {reason}",
            retry_after=_NO_END_SECONDS if wait is None else wait,
        )

    def _shadow(self, applied: AppliedBudget) -> None:
        self._telemetry.count("BudgetShadowRefused")
        self._telemetry.log(
            "INFO", "budget would have refused", budget=applied.budget.scope, period=applied.budget.period.value
        )

    def _release(self, counters: Mapping[str, Counter], now: datetime) -> bool:
        """Give back holds that ran out; True if there were any."""
        found = False
        for name, counter in counters.items():
            for change in releases(name, counter, now):
                try:
                    self._ledger.write([change])
                except LedgerRefusedError:
                    pass  # Somebody else did it.
                else:
                    self._telemetry.count("BudgetHoldReleased")
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
        # What would have been refused is what the smallest ask would have been refused for.
        return replace(change, most_committed=hold.ceiling - least)
    share = FULL_CEILING if ask.full else Decimal(1)
    return replace(change, most_committed=hold.ceiling * share - ask.amount)


def _reason(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> str:
    most = applied.budget.max_calls
    if most is not None and counter.calls >= most:
        return f"It allows {most} calls."
    limit = applied.budget.ceiling_at(now)
    again = "" if applied.ends_at is None else f" It starts anew at {applied.ends_at:%Y-%m-%dT%H:%MZ}."
    return (
        f"Its limit is ${usd_text(limit or Decimal(0))}; ${usd_text(counter.spent)} are spent and "
        f"${usd_text(counter.held)} held for requests under way. This one may cost ${usd_text(ask.amount)}.{again}"
    )


def _wait(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> int | None:
    """Seconds until it may fit: soon, when only requests under way are in the way; otherwise the next period."""
    if _fits_soon(applied, counter, ask, now):
        return _IN_FLIGHT_SECONDS
    return None if applied.ends_at is None else max(1, -int((now - applied.ends_at).total_seconds() // 1))


def _fits_soon(applied: AppliedBudget, counter: Counter, ask: Ask, now: datetime) -> bool:
    """Whether only money that is held for requests under way is in the way."""
    ceiling = applied.budget.ceiling_at(now)
    most = applied.budget.max_calls
    calls_left = most is None or counter.calls < most
    return calls_left and ceiling is not None and counter.spent + ask.amount <= ceiling
