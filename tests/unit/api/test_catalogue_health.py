"""`[models.<name>.health]`: read, checked, stored and read back."""

import json
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError

from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.api.catalogue_health import HealthEntry, read_health
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError
from tollgate.domain.roads.health import DEFAULT_HEALTH, HealthPolicy

SECTION = """
[models.chat.health]
fallback = ["spare"]
error_percent = 30
slow_seconds = 4
"""
MODEL = """
region = "us-east-1"
[models.chat.deployments.main]
tier = "small"
dialect = "messages"
instance_type = "ml.m5.large"
timing = { base_seconds = 0.1 }
realtime = { endpoint = "a", usd_per_hour = "0.1" }
[models.chat.deployments.spare]
tier = "small"
dialect = "messages"
instance_type = "ml.m5.large"
weight = 0
timing = { base_seconds = 0.1 }
realtime = { endpoint = "b", usd_per_hour = "0.1" }
"""


@pytest.mark.parametrize(
    ("section", "policy"),
    [("", DEFAULT_HEALTH), (SECTION, HealthPolicy(fallback=("spare",), error_percent=30.0, slow_seconds=4.0))],
)
def test_a_section_becomes_a_policy_and_survives_storage(section: str, policy: HealthPolicy) -> None:
    """Through TOML and JSON; without a section the defaults hold."""
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    catalogue = read_catalogue(MODEL + section, book, region="us-east-1", architecture="arm64", version=1)
    assert catalogue.models["chat"].health == policy
    stored = json.loads(json.dumps(catalogue_document(catalogue)))
    assert catalogue_from_document(stored) == catalogue
    del stored["models"]["chat"]["health"]
    assert catalogue_from_document(stored).models["chat"].health == DEFAULT_HEALTH


@pytest.mark.parametrize(
    ("chain", "said"), [(("gone",), "does not have"), (("spare", "spare"), "twice")], ids=["unknown", "twice"]
)
def test_a_chain_names_deployments_of_the_model_once(chain: tuple[str, ...], said: str) -> None:
    """The mistake is named when the catalogue is applied, not when something fails."""
    with pytest.raises(CatalogueError, match=said):
        read_health("chat", HealthEntry(fallback=chain), {"main", "spare"})


@pytest.mark.parametrize("entry", [{"error_percent": 0}, {"least_calls": 1}, {"open_seconds": 500}, {"sprout": 1}])
def test_limits_that_make_no_sense_are_refused(entry: dict[str, Any]) -> None:
    """A breaker that opens at nothing, or for ever, is a mistake."""
    with pytest.raises(ValidationError):
        HealthEntry.model_validate(entry)
