"""The one admission point: nothing that costs money begins before every budget that counts it has set the money aside.

Without budgets, and outside of workflow runs, this costs nothing: no write, no read.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.budgets.budget import AppliedBudget, BudgetPeriod, ScopeKind, Spender, applied_budgets
from tollgate.domain.budgets.ledger import (
    Change,
    LedgerWrite,
    Reservation,
    Told,
    WorkflowCall,
    own_slot,
    shared_slot,
)
from tollgate.domain.budgets.pressure import NO_PRESSURE, Pressure, pressure_of, thresholds_crossed
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.catalogue import Catalogue, InferenceType, Model
from tollgate.domain.errors import (
    InvalidRequestError,
    StorageError,
)
from tollgate.domain.jobs.job import Owner
from tollgate.domain.money import usd_text
from tollgate.ports.money import BudgetNotices, Ledger
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.budgets.make_reservation import ReservationMaker
from tollgate.services.budgets.settle_reservation import settle_with
from tollgate.services.budgets.watch import BudgetWatch

if TYPE_CHECKING:
    from tollgate.domain.budgets.call_limits import CallLimit

REALTIME_LEASE = timedelta(minutes=2)
"""Longer than the gateway function may run, so that no settlement can come after the lease has ended."""

BILLED_LEASE = timedelta(days=3_650)
"""For a real-time call that a provider bills: what nobody settles stays held, since unknown outcomes are charged."""

JOB_LEASE = timedelta(days=8)
"""Longer than the sweeper lets any job live, so that a job always ends, and is settled, before it."""

_UNSETTLED_KEPT = 200
_OF_ANYBODY = frozenset({ScopeKind.GATEWAY, ScopeKind.MODEL})
_OF_ANY_CALL = frozenset({ScopeKind.GATEWAY, ScopeKind.KEY, ScopeKind.TEAM})


class Run(NamedTuple):
    """A workflow run that a request belongs to, and the call that it is made for."""

    workflow: str = ""
    parent: str = ""


NO_RUN = Run()


class Admitted(NamedTuple):
    """Where money has to be reserved for a request, before it is known how much.

    Attributes:
        budgets: that count the request.
        depth: of the call in its workflow run, from 1; 0 outside of one.
    """

    owner: Owner
    model: str
    budgets: tuple[AppliedBudget, ...]
    run: Run = NO_RUN
    depth: int = 0


class Admission:
    """Reserves money before a call, settles it afterwards, and tells when a threshold is crossed.

    Args:
        notices: where crossed thresholds are told; None tells nobody.
        gate: the brakes; None where there are none.
        lease: how long money stays held for a real-time call; longer than the function may run.
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
        self._maker = ReservationMaker(
            ledger=ledger, telemetry=telemetry, clock=clock, watch=self._watch, in_doubt=self._in_doubt
        )

    def admit(self, catalogue: Catalogue, owner: Owner, model: str, run: Run = NO_RUN) -> Admitted | None:
        """The budgets that a request has to pass; None if there is nothing to reserve or record.

        Raises:
            SpendStoppedError: the brakes refuse new work for this model.
            OverLimitError: the call is nested too deeply in its workflow run.
            InvalidRequestError: its parent is not a call of the run.
            UnknownModelError: the catalogue has no such model.
            StorageError: the ledger failed.
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
                deep = f"Calls of a workflow run may be {most} deep; this one is {depth}."
                self._maker.refuse(applied, deep, None, never_fits=True)
        return Admitted(owner, model, budgets, run, depth)

    def offered(self, catalogue: Catalogue, model: Model) -> tuple[Model, Pressure]:
        """What the brakes leave of a model, and what they ask of routing; see `BrakeGate.offered`."""
        return (model, NO_PRESSURE) if self._gate is None else self._gate.offered(catalogue, model)

    def admit_file(self, catalogue: Catalogue, model: str) -> Admitted | None:
        """The budgets that a file of requests has to pass, which belongs to no key; None if there are none.

        Limits on single requests do not apply to a file.
        """
        counted = [
            budget
            for budget in catalogue.budgets
            if budget.kind in _OF_ANYBODY and budget.period is not BudgetPeriod.REQUEST
        ]
        nobody = Owner(tenant="", key_id="")
        budgets = applied_budgets(counted, Spender("", "", "", model), self._clock.now())
        return Admitted(nobody, model, budgets) if budgets else None

    def admit_write(self, catalogue: Catalogue, owner: Owner) -> Admitted | None:
        """The budgets of a call that asks no model, only for room in a table; None when there is none."""
        counted = [budget for budget in catalogue.budgets if budget.kind in _OF_ANY_CALL]
        spender = Spender(owner.tenant, owner.key_id, owner.team, model="")
        budgets = applied_budgets(counted, spender, self._clock.now())
        return Admitted(owner, "", budgets) if budgets else None

    def pressure(self, admitted: Admitted | None) -> Pressure:
        """What crossed thresholds ask of routing, by counters that were read at most five seconds ago."""
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
            BudgetExceededError: some budget has too little left.
            StorageError: the ledger failed.
        """
        self.settle_delayed()
        lease = BILLED_LEASE if any(ask.billed for ask in asks) else self._lease
        slot = own_slot(inference_id, self._clock.now() + lease)
        held = Reservation(slot, Decimal(0), (), call=self._call(admitted, inference_id, InferenceType.REALTIME))

        def write(_: Reservation, writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
            return self._ledger.write(writes) if writes else {}

        return self._maker.make(admitted.budgets, asks, held, write)

    def reserve_job(
        self,
        admitted: Admitted,
        asks: Sequence[Ask],
        *,
        inference_id: str,
        inference_type: InferenceType,
        add: Callable[[Reservation, Sequence[LedgerWrite]], None],
    ) -> Reservation:
        """Hold money for a job; `add` stores the job in one write with what it is given.

        Raises:
            BudgetExceededError, StorageError: as `reserve`; there is no job.
        """
        call = self._call(admitted, inference_id, inference_type)
        held = Reservation(shared_slot(self._clock.now() + JOB_LEASE), Decimal(0), (), call=call)

        def write(reservation: Reservation, writes: Sequence[LedgerWrite]) -> Mapping[str, Told]:
            add(reservation, writes if call is None else (*writes, call))
            return {}

        return self._maker.make(admitted.budgets, asks, held, write)

    def settle(self, reservation: Reservation, actual: Decimal, status: str) -> None:
        """Turn a real-time hold into spend. Never raises: what cannot be written is tried again before the next hold.

        Args:
            reservation: the hold.
            actual: dollars that the call cost.
            status: how it ended, for the workflow run's tree: ``completed``, ``failed`` or ``cancelled``.
        """
        if not reservation.holds and reservation.call is None:
            return
        # Others cannot spend what stays held until it is settled or runs out, so a busy table is asked twice.
        if self._tried(reservation, actual, status) is not None:
            self._settle_or_delay(reservation, actual, status)

    def remaining(self, admitted: Admitted) -> Decimal | None:
        """Dollars left in the tightest budget, as far as this gateway knows; None without a limit."""
        now = self._clock.now()
        found = [
            ceiling - committed
            for b in admitted.budgets
            if not b.budget.shadow
            and (ceiling := b.budget.ceiling_at(now)) is not None
            and (committed := self._watch.committed(b.counter)) is not None
        ]
        return max(Decimal(0), min(found)) if found else None

    def call_limit(self, admitted: Admitted) -> "CallLimit | None":
        """The limit on the number of requests that is nearest, as far as this gateway knows; None without one."""
        if all(b.budget.max_calls is None for b in admitted.budgets):
            return None
        # Few budgets count calls, and the others must not pay for the import.
        from tollgate.domain.budgets.call_limits import tightest_call_limit  # noqa: PLC0415 -- see above

        return tightest_call_limit(admitted.budgets, self._watch.calls, self._clock.now())

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
        """Try again to settle what could not be settled; what fails again stays for the next time."""
        for _ in range(len(self._unsettled)):
            self._settle_or_delay(*self._unsettled.popleft())

    def _settle_or_delay(self, reservation: Reservation, actual: Decimal, status: str) -> None:
        error = self._tried(reservation, actual, status)
        if error is not None:
            self._unsettled.append((reservation, actual, status))
            self._telemetry.count("BudgetSettlementDelayed")
            self._telemetry.log(
                "WARNING", "budget settlement delayed", reason=error.message, effective_cost_usd=usd_text(actual)
            )

    def _tried(self, reservation: Reservation, actual: Decimal, status: str) -> StorageError | None:
        """Write a settlement. None if that worked, otherwise why it did not."""
        try:
            settle_with(reservation, actual, status, self._write)
        except StorageError as error:
            return error
        return None

    def _in_doubt(self, reservation: Reservation) -> None:
        if reservation.exclusive:
            # It may be held. Settling it at zero gives the money back, and does nothing if it is not.
            self._unsettled.append((reservation, Decimal(0), "failed"))

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
