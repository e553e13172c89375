"""What the gateway's own budgets say to the brakes, and who may see which budget."""

from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.backends import FixedCatalogue
from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.catalogue import Catalogue
from tollgate.services.budgets.queries import BudgetQueries
from tollgate.services.budgets.watch_spend import ledger_signals

_NOW = ManualClock().now()
_DAY = "gateway#day#2026-03-01"
_POLICY = BrakePolicy(steps=(BrakeStep(Decimal(50), BrakeLevel.WARN), BrakeStep(Decimal(100), BrakeLevel.STOP)))
_BUDGET = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(10))


def _catalogue(*budgets: Budget, brakes: BrakePolicy | None = _POLICY) -> Catalogue:
    return replace(make_catalogue(), budgets=budgets, brakes=brakes)


def _ledger(**counter: Decimal) -> InMemoryLedger:
    ledger = InMemoryLedger()
    ledger.counters = dict.fromkeys(
        (_DAY, "gateway#request#always", "gateway#total#always", "key:#day#2026-03-01", "", "model:#day#2026-03-01"),
        Counter(**counter),  # type: ignore[arg-type]  # only the dollars are given
    )
    return ledger


@pytest.mark.parametrize(
    ("used", "level"), [("4.99", None), ("5", BrakeLevel.WARN), ("9.99", BrakeLevel.WARN), ("10", BrakeLevel.STOP)]
)
def test_a_step_is_reached_by_what_is_used(used: str, level: BrakeLevel | None) -> None:
    """Not by what is held; overrun is used too. It lasts until the period ends."""
    half = Decimal(used) / 2
    ledger = _ledger(committed=Decimal(10), spent=half, overrun=half)
    signals = ledger_signals(_catalogue(_BUDGET), ledger, _NOW)
    assert [signal.level for signal in signals] == ([] if level is None else [level])
    for signal in signals:
        assert (signal.cause, signal.observed_at) == (f"ledger:{_DAY}", _NOW)
        assert signal.until == _NOW.replace(day=2, hour=0)
        assert signal.reason == f"{Decimal(used) * 10:.1f} % of the gateway's daily budget is used"


@pytest.mark.parametrize(
    "budget",
    [
        _BUDGET._replace(shadow=True),
        _BUDGET._replace(limit_usd=None, max_calls=1),
        _BUDGET._replace(limit_usd=Decimal(0)),
        _BUDGET._replace(period=BudgetPeriod.REQUEST),
        _BUDGET._replace(kind=ScopeKind.KEY, subject="*"),
        _BUDGET._replace(kind=ScopeKind.MODEL, subject="*"),
        _BUDGET._replace(period=BudgetPeriod.HOUR),
    ],
)
def test_only_enforced_limits_of_the_whole_gateway_brake(budget: Budget) -> None:
    """And only once something was spent."""
    assert ledger_signals(_catalogue(budget), _ledger(spent=Decimal(99)), _NOW) == []


def test_without_brakes_or_budgets_no_counter_is_read() -> None:
    """Nothing could follow from it."""
    ledger = _ledger(spent=Decimal(99))
    assert ledger_signals(_catalogue(_BUDGET, brakes=None), ledger, _NOW) == []
    assert ledger_signals(_catalogue(), ledger, _NOW) == []
    assert ledger.reads == 0


@pytest.mark.parametrize(
    ("team", "scopes", "seen"),
    [
        ("search", {"infer"}, {"key:*", "key:key_1", "team:*", "team:search"}),
        ("", {"infer"}, {"key:*", "key:key_1"}),
        ("search", {"admin"}, {"key:*", "key:key_1", "team:*", "team:search", "gateway", "model:*"}),
    ],
)
def test_a_caller_sees_the_budgets_of_its_own_key_and_team(team: str, scopes: set[str], seen: set[str]) -> None:
    """An admin those of the gateway and the models too; runs are asked for by name."""
    subjects = (
        (ScopeKind.KEY, ("*", "key_1", "key_2")),
        (ScopeKind.TEAM, ("*", "search", "other")),
        (ScopeKind.MODEL, ("*",)),
        (ScopeKind.WORKFLOW, ("*",)),
        (ScopeKind.GATEWAY, ("",)),
    )
    periods = (BudgetPeriod.HOUR, BudgetPeriod.DAY, BudgetPeriod.MONTH)
    budgets = [
        Budget(kind, subject, period, Decimal(1))
        for kind, names in subjects
        for subject, period in zip(names, periods, strict=False)
    ]
    queries = BudgetQueries(
        catalogues=FixedCatalogue(_catalogue(*budgets)), ledger=InMemoryLedger(), clock=ManualClock()
    )
    owner = OWNER._replace(team=team, scopes=frozenset(scopes))
    assert {status.applied.budget.scope for status in queries.budgets(owner)} == seen
