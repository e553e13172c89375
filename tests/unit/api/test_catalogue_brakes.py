"""`[brakes]`: read, checked, stored and read back, and what it adds to the gateway's budgets."""

import json
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError

from tests.fakes.examples import make_catalogue
from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_brakes import BrakesEntry, read_brakes
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.budgets.budget import BudgetAction
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError

MODEL = """
region = "us-east-1"
[models.chat.deployments.main]
tier = "small"
dialect = "messages"
instance_type = "ml.m5.large"
timing = { base_seconds = 0.1 }
realtime = { endpoint = "a", usd_per_hour = "0.1" }
[[budgets]]
scope = "gateway"
period = "month"
limit_usd = "100"
thresholds = [{ at_percent = 90, action = "downgrade" }]
[[budgets]]
scope = "team:search"
period = "month"
limit_usd = "10"
"""
BRAKES = """
[brakes]
steps = [{ at_percent = 90, action = "warn" }, { at_percent = 99.5, action = "stop" }]
alarms = { "billing-*" = "stop", "*" = "warn" }
critical = ["chat/main"]
forecasts = "none"
"""


def _read(text: str) -> Catalogue:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    return read_catalogue(text, book, region="us-east-1", architecture="arm64", version=1)


def test_a_catalogue_without_brakes_stays_as_it_was() -> None:
    """In the stored form too, so that earlier versions do not change."""
    catalogue = _read(MODEL)
    assert catalogue.brakes is None
    assert "brakes" not in catalogue_document(catalogue)


def test_a_section_becomes_a_policy_and_survives_storage() -> None:
    """With the order of the alarms' patterns, which decides."""
    catalogue = _read(MODEL + BRAKES)
    assert catalogue.brakes is not None
    assert catalogue.brakes.alarms == (("billing-*", BrakeLevel.STOP), ("*", BrakeLevel.WARN))
    assert catalogue.brakes.level_at(Decimal("99.5")) is BrakeLevel.STOP
    assert catalogue_from_document(json.loads(json.dumps(catalogue_document(catalogue)))) == catalogue


def test_an_empty_section_has_the_usual_steps() -> None:
    """Warn at 80, downgrade at 90, defer at 95, stop at 100 percent."""
    brakes = _read(MODEL + "[brakes]\n").brakes
    assert brakes is not None
    assert [(str(s.at_percent), s.level.word) for s in brakes.steps] == [
        ("80", "warn"),
        ("90", "downgrade"),
        ("95", "defer"),
        ("100", "stop"),
    ]


def test_the_gateways_budget_announces_the_steps() -> None:
    """Where it has no threshold of its own at the same percentage; other budgets are not the brakes' business."""
    gateway, team = _read(MODEL + BRAKES).budgets
    assert [(str(t.at_percent), t.action) for t in gateway.thresholds] == [
        ("90", BudgetAction.DOWNGRADE),
        ("99.5", BudgetAction.WARN),
    ]
    assert team.thresholds == ()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"steps": [{"at_percent": 90, "action": "stop"}, {"at_percent": 95, "action": "warn"}]}, "must rise"),
        ({"steps": [{"at_percent": 90, "action": "warn"}, {"at_percent": 90, "action": "stop"}]}, "must rise"),
        ({"critical": ["nobody"]}, "nobody"),
        ({"webhook_url": "ftp://example.com/x"}, "webhook_url"),
    ],
)
def test_mistakes_are_named(entry: dict[str, Any], said: str) -> None:
    """When the catalogue is applied, not in the middle of an overspend."""
    with pytest.raises(CatalogueError, match=said):
        read_brakes(BrakesEntry.model_validate(entry), make_catalogue().models)


@pytest.mark.parametrize("entry", [{"steps": []}, {"forecasts": "panic"}, {"alarms": {"x": "none"}}, {"colour": "red"}])
def test_what_has_no_meaning_is_refused(entry: dict[str, Any]) -> None:
    """As everywhere in the catalogue."""
    with pytest.raises(ValidationError):
        BrakesEntry.model_validate(entry)
