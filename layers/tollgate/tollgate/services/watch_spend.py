"""What the ledger's counters say to the brakes. Its notices say the same sooner, but a notice can be lost."""

from collections.abc import Sequence
from datetime import datetime

from tollgate.domain.brakes import BrakeLevel, Signal
from tollgate.domain.budgets import FULL, Budget, BudgetPeriod, ScopeKind, Spender, counter_of, period_end
from tollgate.domain.catalogue import Catalogue
from tollgate.ports.money import Ledger

_NOBODY = Spender(tenant="", key_id="", team="", model="")


def ledger_signals(catalogue: Catalogue, ledger: Ledger, now: datetime) -> Sequence[Signal]:
    """A signal for every budget of the whole gateway that has reached a step.

    Raises:
        StorageError: the counters cannot be read.
    """
    policy = catalogue.brakes
    counted = {counter_of(b, _NOBODY, now): b for b in catalogue.budgets if _counts(b)}
    if policy is None or not counted:
        return []
    counters = ledger.read(list(counted), consistent=True)
    found: list[Signal] = []
    for name, budget in counted.items():
        limit = budget.limit_at(now)
        if name not in counters or not limit:
            continue
        percent = counters[name].committed * FULL / limit
        level = policy.level_at(percent)
        if level is not BrakeLevel.NONE:
            reason = f"{percent:.1f} % of the gateway's budget for each {budget.period} is used"
            found.append(Signal(f"ledger:{name}", level, now, period_end(budget.period, now), reason))
    return found


def _counts(budget: Budget) -> bool:
    return (
        budget.kind is ScopeKind.GATEWAY
        and budget.limit_usd is not None
        and not budget.shadow
        and budget.period is not BudgetPeriod.REQUEST
    )
