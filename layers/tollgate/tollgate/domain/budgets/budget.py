"""Budgets: who may spend how much in which period, and what happens on the way to the limit.

A budget counts in a counter whose name holds the scope and the start of the period, so that nothing is ever reset: a
new period is a new counter. Periods are those of the UTC calendar. There are no rolling periods: a counter that forgets
what is older than a day would need every single amount, which one conditional write cannot weigh.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

EACH = "*"
"""The subject of a budget that each key, team, model or workflow has for itself."""

FULL = Decimal(100)


class ScopeKind(StrEnum):
    """Whose spend is counted."""

    GATEWAY = "gateway"
    KEY = "key"
    TEAM = "team"
    WORKFLOW = "workflow"
    MODEL = "model"


class BudgetPeriod(StrEnum):
    """Over what time spend is counted; `request` limits each request by itself and counts nothing."""

    REQUEST = "request"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"

    @property
    def named_budget(self) -> str:
        """What a budget of this period is called in a sentence: ``daily budget``."""
        return _NAMED_BUDGETS[self]


_NAMED_BUDGETS = {
    BudgetPeriod.REQUEST: "per-request budget",
    BudgetPeriod.HOUR: "hourly budget",
    BudgetPeriod.DAY: "daily budget",
    BudgetPeriod.MONTH: "monthly budget",
    BudgetPeriod.TOTAL: "budget",
}


class BudgetAction(StrEnum):
    """What a threshold does."""

    WARN = "warn"
    DOWNGRADE = "downgrade"
    DEFER = "defer"
    BLOCK = "block"


class Threshold(NamedTuple):
    """What happens once `at_percent` of the limit is committed."""

    at_percent: Decimal
    action: BudgetAction


class Budget(NamedTuple):
    """A limit as the catalogue declares it.

    Attributes:
        subject: name of the key, team or model; ``*`` for each of them by itself; empty for the gateway.
        limit_usd: dollars in the period; None where only calls or depth are limited.
        shadow: whether to refuse nothing, and only tell what would have been refused.
        raise_usd: dollars added to the limit until `raise_until`.
        max_calls: requests in the period.
        max_depth: how deeply calls may be nested in calls; workflows only.
        webhook_url: called when a threshold is crossed; empty for none.
    """

    kind: ScopeKind
    subject: str
    period: BudgetPeriod
    limit_usd: Decimal | None
    thresholds: tuple[Threshold, ...] = ()
    shadow: bool = False
    raise_usd: Decimal = Decimal(0)
    raise_until: datetime | None = None
    max_calls: int | None = None
    max_depth: int | None = None
    webhook_url: str = ""

    @property
    def scope(self) -> str:
        """As it is written in the catalogue: ``team:search``, ``gateway``."""
        return self.kind.value if self.kind is ScopeKind.GATEWAY else f"{self.kind}:{self.subject}"

    def limit_at(self, now: datetime) -> Decimal | None:
        """The limit in dollars, with a raise that has not run out."""
        if self.limit_usd is None or self.raise_until is None or now >= self.raise_until:
            return self.limit_usd
        return self.limit_usd + self.raise_usd

    def ceiling_at(self, now: datetime) -> Decimal | None:
        """Dollars at which requests begin to be refused: the limit, or less if a threshold blocks earlier."""
        limit = self.limit_at(now)
        blocks = [t.at_percent for t in self.thresholds if t.action is BudgetAction.BLOCK]
        return limit if limit is None or not blocks else limit * min(FULL, *blocks) / FULL


class Spender(NamedTuple):
    """Everything about a request that a budget can count by. `workflow` is empty outside of one."""

    tenant: str
    key_id: str
    team: str
    model: str
    workflow: str = ""


class AppliedBudget(NamedTuple):
    """A budget that counts a certain request.

    Attributes:
        counter: where it is counted; empty for the period `request`.
        ends_at: when the period is over, None if never.
    """

    budget: Budget
    counter: str
    ends_at: datetime | None


def applied_budgets(budgets: Sequence[Budget], spender: Spender, now: datetime) -> tuple[AppliedBudget, ...]:
    """The budgets that a request has to pass, in the order of the catalogue.

    Of two for the same kind and period, the one that names its subject replaces the one for each (``*``).
    """
    chosen: dict[tuple[ScopeKind, BudgetPeriod], Budget] = {}
    for budget in budgets:
        if not _is_about(budget, spender):
            continue
        place = (budget.kind, budget.period)
        if place not in chosen or chosen[place].subject == EACH:
            chosen[place] = budget
    return tuple(
        AppliedBudget(budget, counter_of(budget, spender, now), period_end(budget.period, now))
        for budget in chosen.values()
    )


def _is_about(budget: Budget, spender: Spender) -> bool:
    match budget.kind:
        case ScopeKind.GATEWAY:
            return True
        case ScopeKind.MODEL:
            return budget.subject in {EACH, spender.model}
        case ScopeKind.KEY:
            return budget.subject in {EACH, spender.key_id}
        case ScopeKind.TEAM:
            return bool(spender.team) and budget.subject in {EACH, spender.team}
        case ScopeKind.WORKFLOW:
            return bool(spender.workflow)


def counter_of(budget: Budget, spender: Spender, now: datetime) -> str:
    """Name of the counter: scope, period and its start. Teams and workflows belong to their tenant."""
    if budget.period is BudgetPeriod.REQUEST:
        return ""
    subject = {
        ScopeKind.GATEWAY: "",
        ScopeKind.KEY: spender.key_id,
        ScopeKind.TEAM: f"{spender.tenant}/{spender.team}",
        ScopeKind.WORKFLOW: f"{spender.tenant}/{spender.workflow}",
        ScopeKind.MODEL: spender.model,
    }[budget.kind]
    scope = f"{budget.kind}:{subject}" if subject else budget.kind.value
    return f"{scope}#{budget.period}#{period_start(budget.period, now)}"


def period_start(period: BudgetPeriod, now: datetime) -> str:
    """The start of the period that `now` lies in, as the counter's name has it: ``2026-11-22T13``, ``2026-11``."""
    formats = {BudgetPeriod.HOUR: "%Y-%m-%dT%H", BudgetPeriod.DAY: "%Y-%m-%d", BudgetPeriod.MONTH: "%Y-%m"}
    return now.astimezone(UTC).strftime(formats.get(period, "")) or "always"


def period_end(period: BudgetPeriod, now: datetime) -> datetime | None:
    """The first moment after the period, UTC; None for `total` and `request`."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    match period:
        case BudgetPeriod.HOUR:
            return hour + timedelta(hours=1)
        case BudgetPeriod.DAY:
            return hour.replace(hour=0) + timedelta(days=1)
        case BudgetPeriod.MONTH:
            first = hour.replace(day=1, hour=0)
            return (first + timedelta(days=32)).replace(day=1)
        case BudgetPeriod.TOTAL | BudgetPeriod.REQUEST:
            return None
