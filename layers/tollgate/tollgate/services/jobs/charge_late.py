"""Charges a job for work that became known after its end: it had expired, or two invocations were made for it.

The job's state stays what its caller was told. The difference is a record of its own, written once, together with the
spend in every budget that had counted the job; a budget with nothing left becomes overrun.
"""

from collections.abc import Sequence
from decimal import Decimal

from tollgate.domain.budgets.ledger import LedgerWrite, charge_of, late_charge
from tollgate.domain.costs.avoided import add_reasons
from tollgate.domain.costs.settlement import Settlement
from tollgate.domain.errors import LedgerRefusedError, StorageError
from tollgate.domain.jobs.job import Bill, Job, Payload, Usage
from tollgate.domain.money import ZERO
from tollgate.ports.jobs import JobStore
from tollgate.ports.system import Clock

_ROUNDS = 8


def charge_late(job: Job, settlement: Settlement, usage: Usage, *, run: str = "", jobs: JobStore, clock: Clock) -> bool:
    """Charge an ended job for the amount by which `settlement` exceeds its bill.

    Args:
        job: that has ended.
        settlement: of all work for it that is known now.
        usage: tokens that its record does not have.
        run: name of the invocation, where it is not the one on the job's record: each is charged once.
        jobs: where the charge is recorded.
        clock: the time.

    Returns:
        Whether this call did it; False if it was done before, or there is nothing to charge.

    Raises:
        StorageError: try again.
    """
    if job.bill is None:
        return False
    more = max(ZERO, charge_of(settlement.effective, job.reservation) - job.bill.charged)
    before = {reason: -amount for reason, amount in job.bill.avoided.items()}
    late = job._replace(
        job_id=f"{job.job_id}#late{run and '-'}{run}",
        input=Payload(),
        output=Payload(),
        parameters={},
        metadata={},
        webhook_url=None,
        webhook_pending=False,
        reservation=None,
        usage=usage,
        effective_cost=None if settlement.effective is None else settlement.effective - (job.effective_cost or ZERO),
        avoided_cost=None if settlement.avoided is None else settlement.avoided - (job.avoided_cost or ZERO),
        held_seconds=None if settlement.held_seconds is None else settlement.held_seconds - (job.held_seconds or ZERO),
        bill=Bill(
            settled_at=clock.now(),
            charged=more,
            instance=None if settlement.instance is None else settlement.instance - (job.bill.instance or ZERO),
            avoided=add_reasons(settlement.reasons, before) if settlement.reasons else {},
            variant=job.bill.variant,
        ),
    )
    return _add(job, late, more, jobs)


def _add(job: Job, late: Job, more: Decimal, jobs: JobStore) -> bool:
    holds = () if job.reservation is None or not more else job.reservation.holds
    calls = _calls(job, late)
    over: set[int] = set()
    for _ in range(_ROUNDS):
        charges = [late_charge(hold, more, over=number in over) for number, hold in enumerate(holds)]
        try:
            return jobs.add_late(late, (*charges, *calls))
        except LedgerRefusedError as error:
            over |= error.refused.keys()
    raise StorageError("The ledger is busy. Try again.", retry_after=2)


def _calls(job: Job, late: Job) -> Sequence[LedgerWrite]:
    """The job's place in its workflow run, with what it really cost."""
    call = None if job.reservation is None else job.reservation.call
    if call is None or late.effective_cost is None:
        return ()
    whole = (job.effective_cost or ZERO) + late.effective_cost
    return (call._replace(status=job.state.value, effective_cost=whole),)
