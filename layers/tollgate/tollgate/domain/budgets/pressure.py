"""What thresholds do before a limit is reached: they send requests to smaller models and down slower, cheaper roads."""

from collections.abc import Iterable, Sequence
from copy import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from tollgate.domain.budgets.budget import FULL, Budget, BudgetAction, Threshold
from tollgate.domain.catalogue import TIER_ORDER, Model, Priority
from tollgate.domain.errors import CapacityError


class Pressure(NamedTuple):
    """What thresholds, or a brake, ask of routing. `brake` is the brake's level, empty for thresholds."""

    downgrade: bool = False
    defer: bool = False
    brake: str = ""

    @property
    def reason(self) -> str:
        """What to add to the route's reason."""
        if self.brake:
            return f";brake={self.brake}"
        return (";budget=downgrade" if self.downgrade else "") + (";budget=defer" if self.defer else "")


NO_PRESSURE = Pressure()


def thresholds_crossed(budget: Budget, committed: Decimal, now: datetime) -> tuple[Threshold, ...]:
    """The thresholds that `committed` dollars have reached, lowest first."""
    limit = budget.limit_at(now)
    if not limit:
        return ()
    percent = committed * FULL / limit
    return tuple(sorted((t for t in budget.thresholds if percent >= t.at_percent), key=lambda t: t.at_percent))


def pressure_of(crossed: Iterable[tuple[Budget, Sequence[Threshold]]]) -> Pressure:
    """What the crossed thresholds of all budgets ask of routing together; shadow budgets ask nothing."""
    actions = {t.action for budget, thresholds in crossed if not budget.shadow for t in thresholds}
    return Pressure(downgrade=BudgetAction.DOWNGRADE in actions, defer=BudgetAction.DEFER in actions)


def downgraded(model: Model) -> Model:
    """The model with only the smallest size of those deployments that get traffic.

    Raises:
        CapacityError: every deployment has weight 0.
    """
    serving = [d for d in model.deployments if d.weight > 0]
    if not serving:
        raise CapacityError("Every deployment of this model has weight 0.", retry_after=60)
    lowest = min(TIER_ORDER[d.tier] for d in serving)
    return replace(model, deployments=tuple(d for d in serving if TIER_ORDER[d.tier] == lowest))


_ONE_ROAD_DOWN = {Priority.HIGH: Priority.MEDIUM, Priority.MEDIUM: Priority.LOW, Priority.LOW: Priority.LOW}


def deferred(priority: Priority) -> Priority:
    """The priority of the next slower and cheaper road: real-time, then async, then batch."""
    return _ONE_ROAD_DOWN[priority]
