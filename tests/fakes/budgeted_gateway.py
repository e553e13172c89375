"""A gateway with budgets, and what its ledger says."""

from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tollgate.domain.budgets.budget import EACH, Budget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import Counter

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
LATER = HELLO | {"priority": "medium"}
DAY = "gateway#day#2026-03-01"


def make_budget(
    limit: str | None, kind: ScopeKind = ScopeKind.GATEWAY, period: BudgetPeriod = BudgetPeriod.DAY, **changes: Any
) -> Budget:
    """A budget of so many dollars, for each key, team or workflow where it is not the gateway's."""
    subject = "" if kind is ScopeKind.GATEWAY else EACH
    values: dict[str, Any] = {"subject": subject, "limit_usd": None if limit is None else Decimal(limit)}
    return Budget(kind=kind, period=period, **values | changes)


def budgeted(*budgets: Budget) -> FakeGateway:
    """A gateway with these budgets."""
    return FakeGateway(catalogue=replace(make_catalogue(), budgets=budgets))


def declare(gateway: FakeGateway, *budgets: Budget) -> None:
    """Put these budgets in the place of the catalogue's."""
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, budgets=budgets)


def counter_of(gateway: FakeGateway, name: str = DAY) -> Counter:
    """What the ledger says of a budget."""
    return gateway.ledger.counters[name]


def counts(gateway: FakeGateway, metric: str) -> int:
    """How many lines of metrics name this one."""
    return sum(1 for line in gateway.metrics if metric in line)
