"""The `[brakes]` of a catalogue file: their schema, and the checked policy that they become."""

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep
from tollgate.domain.budgets.budget import Budget, BudgetAction, ScopeKind, Threshold
from tollgate.domain.catalogue import Model
from tollgate.domain.errors import CatalogueError, InvalidRequestError
from tollgate.domain.jobs.webhooks import ANYWHERE, check_webhook_url, parse_networks

Action = Literal["warn", "downgrade", "defer", "stop"]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]


class BrakeStepEntry(BaseModel):
    """A level and the share of a budget from which on it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_percent: Annotated[Decimal, Field(gt=0, le=1000, max_digits=6, decimal_places=2)]
    action: Action


_USUAL_STEPS = (
    BrakeStepEntry(at_percent=Decimal(80), action="warn"),
    BrakeStepEntry(at_percent=Decimal(90), action="downgrade"),
    BrakeStepEntry(at_percent=Decimal(95), action="defer"),
    BrakeStepEntry(at_percent=Decimal(100), action="stop"),
)


class BrakesEntry(BaseModel):
    """What happens when money runs out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[tuple[BrakeStepEntry, ...], Field(min_length=1, max_length=10)] = _USUAL_STEPS
    budgets: Annotated[tuple[Pattern, ...], Field(max_length=50)] = ("*",)
    forecasts: Literal["none", "warn", "downgrade", "defer", "stop"] = "warn"
    alarms: Annotated[dict[Pattern, Action], Field(max_length=50)] = Field(default_factory=dict)
    critical: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    webhook_url: Annotated[str, Field(max_length=2048)] = ""


def read_brakes(entry: BrakesEntry | None, models: Mapping[str, Model]) -> BrakePolicy | None:
    """The checked policy.

    Raises:
        CatalogueError: steps that do not grow, a critical name that is not in the catalogue, or a bad URL.
    """
    if entry is None:
        return None
    steps = tuple(BrakeStep(s.at_percent, BrakeLevel.of(s.action)) for s in entry.steps)
    for one, other in itertools.pairwise(steps):
        if other.at_percent <= one.at_percent or other.level <= one.level:
            raise CatalogueError("The steps of the brakes must rise, in percent and in level.")
    known = set(models) | {d.resource for model in models.values() for d in model.deployments}
    unknown = sorted(set(entry.critical) - known)
    if unknown:
        raise CatalogueError(
            f"'critical' of the brakes names entries that are not in the catalogue: {', '.join(unknown)}."
        )
    if entry.webhook_url:
        try:
            check_webhook_url(entry.webhook_url, parse_networks(ANYWHERE))
        except InvalidRequestError as error:
            raise CatalogueError(f"webhook_url of the brakes: {error.message}") from error
    return BrakePolicy(
        steps=steps,
        budgets=entry.budgets,
        forecasts=BrakeLevel.of(entry.forecasts),
        alarms=tuple((pattern, BrakeLevel.of(action)) for pattern, action in entry.alarms.items()),
        critical=frozenset(entry.critical),
        webhook_url=entry.webhook_url,
    )


def with_brake_steps(budgets: Sequence[Budget], policy: BrakePolicy | None) -> tuple[Budget, ...]:
    """The budgets, where those of the whole gateway also announce the steps of the brakes."""
    if policy is None:
        return tuple(budgets)
    return tuple(_announcing(budget, policy) for budget in budgets)


def _announcing(budget: Budget, policy: BrakePolicy) -> Budget:
    if budget.kind is not ScopeKind.GATEWAY or budget.limit_usd is None or budget.shadow:
        return budget
    present = {threshold.at_percent for threshold in budget.thresholds}
    added = tuple(
        Threshold(step.at_percent, BudgetAction.WARN) for step in policy.steps if step.at_percent not in present
    )
    return budget._replace(thresholds=budget.thresholds + added)
