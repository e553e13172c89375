"""How much of the instance floor to commit to for a year or three, and what that costs if traffic falls.

A commitment (SageMaker Savings Plans, in dollars an hour) is paid in every hour, used or not, at a discount; what is
used beyond it costs the list price. Its last instance pays if it would run in more than 1 - discount of the hours.
https://docs.aws.amazon.com/savingsplans/latest/userguide/what-is-savings-plans.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_STEPS_PER_INSTANCE = 10


@dataclass(frozen=True, slots=True)
class CommitmentAdvice:
    """What to commit, and what that does.

    Attributes:
        instances: worth of list price to commit to in every hour.
        uncommitted: dollars of the period without a commitment.
        committed: dollars with it.
        break_even: share of the hours that an instance must run to be worth committing.
        regret: dollars that the commitment costs more than none if traffic falls by half.
    """

    instances: Decimal
    uncommitted: Decimal
    committed: Decimal
    break_even: Decimal
    regret: Decimal

    @property
    def saved(self) -> Decimal:
        """Dollars of the period by the commitment."""
        return self.uncommitted - self.committed


def advise(instance_hours: Sequence[float], usd_per_hour: Decimal, discount: Decimal) -> CommitmentAdvice:
    """The cheapest commitment for these hours.

    Args:
        instance_hours: used in each hour of the period, not empty.
        usd_per_hour: list price of an instance.
        discount: of the commitment, 0 to 1.

    Raises:
        ValueError: the discount is not between 0 and 1.
    """
    if not 0 <= discount < 1:
        raise ValueError("A discount is a share from 0 to below 1.")
    used = [Decimal(repr(hours)) for hours in instance_hours]
    steps = int(max(used) * _STEPS_PER_INSTANCE) + 1
    levels = [Decimal(step) / _STEPS_PER_INSTANCE for step in range(steps + 1)]
    best = min(levels, key=lambda level: (_cost(used, level, usd_per_hour, discount), level))
    half = [hours / 2 for hours in used]
    free = Decimal(0)
    return CommitmentAdvice(
        instances=best,
        uncommitted=_cost(used, free, usd_per_hour, discount),
        committed=_cost(used, best, usd_per_hour, discount),
        break_even=1 - discount,
        regret=max(free, _cost(half, best, usd_per_hour, discount) - _cost(half, free, usd_per_hour, discount)),
    )


def _cost(used: Sequence[Decimal], level: Decimal, usd_per_hour: Decimal, discount: Decimal) -> Decimal:
    beyond = sum((max(Decimal(0), hours - level) for hours in used), Decimal(0))
    return usd_per_hour * (level * (1 - discount) * len(used) + beyond)
