"""`[[budgets]]`: what is accepted, what is refused and why, and that it is stored as it was read."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError

EXAMPLE = (Path(__file__).parents[3] / "models.toml").read_text("utf-8")
FULL = """
[[budgets]]
scope = "team:search"
period = "month"
limit_usd = "250.50"
thresholds = [{ at_percent = 80, action = "warn" }, { at_percent = 92.5, action = "defer" }]
raise_usd = 100
raise_until = 2026-12-01T00:00:00+02:00
webhook_url = "https://ops.example.com/budgets"

[[budgets]]
scope = "workflow:*"
period = "total"
max_calls = 50
max_depth = 4
shadow = true
"""


def _read(budgets: str) -> Catalogue:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    return read_catalogue(EXAMPLE + budgets, book, region="us-east-1", architecture="arm64", version=3)


def test_budgets_are_read_and_stored_exactly() -> None:
    """Through TOML and through JSON; times in UTC."""
    catalogue = _read(FULL)
    assert catalogue.budgets == (
        Budget(
            ScopeKind.TEAM,
            "search",
            BudgetPeriod.MONTH,
            Decimal("250.50"),
            (Threshold(Decimal(80), BudgetAction.WARN), Threshold(Decimal("92.5"), BudgetAction.DEFER)),
            raise_usd=Decimal(100),
            raise_until=datetime(2026, 11, 30, 22, tzinfo=UTC),
            webhook_url="https://ops.example.com/budgets",
        ),
        Budget(ScopeKind.WORKFLOW, "*", BudgetPeriod.TOTAL, None, shadow=True, max_calls=50, max_depth=4),
    )
    assert catalogue_from_document(json.loads(json.dumps(catalogue_document(catalogue)))) == catalogue


def test_a_version_from_before_budgets_has_none() -> None:
    """Stored versions are never changed."""
    document = catalogue_document(_read(""))
    del document["budgets"]
    assert catalogue_from_document(document).budgets == ()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = -1', "limit_usd"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = 0', "limit_usd"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = 1e12', "limit_usd"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = nan', "limit_usd"),
        ('scope = "gateway"\nperiod = "week"\nlimit_usd = 1', "period"),
        ('scope = "planet"\nperiod = "day"\nlimit_usd = 1', "scope"),
        ('scope = "gateway:x"\nperiod = "day"\nlimit_usd = 1', "scope"),
        ('scope = "workflow:run"\nperiod = "day"\nlimit_usd = 1', "scope"),
        ('scope = "model:nobody"\nperiod = "day"\nlimit_usd = 1', "not in the catalogue"),
        ('scope = "gateway"\nperiod = "day"', "needs limit_usd, max_calls or max_depth"),
        ('scope = "gateway"\nperiod = "day"\nmax_depth = 2', "workflow"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = 1\nraise_usd = 1', "belong together"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = 1\nraise_usd = 1\nraise_until = 2026-01-01', "raise_until"),
        (
            'scope = "gateway"\nperiod = "day"\nmax_calls = 1\nraise_usd = 1\nraise_until = 2026-01-01T00:00:00Z',
            "raise_usd needs",
        ),
        (
            'scope = "gateway"\nperiod = "day"\nmax_calls = 1\nthresholds = [{at_percent = 1, action = "warn"}]',
            "thresholds need",
        ),
        ('scope = "gateway"\nperiod = "request"\nmax_calls = 1', "nothing is counted"),
        ('scope = "gateway"\nperiod = "day"\nmax_calls = 1\nwebhook_url = "https://e.org/"', "webhook_url needs"),
        ('scope = "gateway"\nperiod = "day"\nlimit_usd = 1\nwebhook_url = "ftp://e.org/"', "webhook_url of the budget"),
        (
            'scope = "gateway"\nperiod = "day"\nlimit_usd = 1\nthresholds = [{at_percent = 101, action = "warn"}]',
            "at_percent",
        ),
        (
            'scope = "gateway"\nperiod = "day"\nlimit_usd = 1\nthresholds = ['
            + ", ".join(['{at_percent = 1, action = "warn"}'] * 2)
            + "]",
            "stands twice",
        ),
    ],
)
def test_mistakes_are_named(fields: str, said: str) -> None:
    """With the place, or the budget, and what to do."""
    with pytest.raises(CatalogueError, match=said):
        _read(f"\n[[budgets]]\n{fields}\n")


def test_two_for_the_same_scope_and_period_are_refused() -> None:
    """Which of them would hold?"""
    with pytest.raises(CatalogueError, match="two budgets for 'gateway'"):
        _read('\n[[budgets]]\nscope = "gateway"\nperiod = "day"\nlimit_usd = 1\n' * 2)


def test_there_are_not_too_many() -> None:
    """Every request looks through all of them."""
    many = "".join(f'\n[[budgets]]\nscope = "key:k{n}"\nperiod = "day"\nlimit_usd = 1\n' for n in range(201))
    with pytest.raises(CatalogueError, match="200 budgets"):
        _read(many)
