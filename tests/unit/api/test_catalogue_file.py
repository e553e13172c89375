"""models.toml: read, checked, priced, stored and read back."""

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from tollgate.adapters.catalogue_document import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CatalogueError
from tollgate.domain.price_book import PriceBook

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "models.toml").read_text("utf-8")
OVERLAY = (ROOT / "local" / "models.local.toml").read_text("utf-8")


def _book() -> PriceBook:
    return PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))


def _read(text: str, overlay: str | None = None) -> Catalogue:
    return read_catalogue(text, _book(), region="us-east-1", architecture="arm64", version=3, overlay=overlay)


def test_the_example_has_every_model_on_every_road() -> None:
    """Each with a known price."""
    catalogue = _read(EXAMPLE)
    for model in catalogue.models.values():
        roads = model.deployments[0].roads
        assert set(roads) == set(InferenceType)
        assert all(road.usd_per_hour is not None for road in roads.values())


def test_a_stored_catalogue_reads_back_the_same() -> None:
    """Through JSON, with exact amounts."""
    catalogue = _read(EXAMPLE, OVERLAY)
    assert catalogue_from_document(json.loads(json.dumps(catalogue_document(catalogue)))) == catalogue


def test_an_overlay_changes_single_values_only() -> None:
    """Everything else stays as in the file."""
    plain, changed = _read(EXAMPLE).models["smollm2"], _read(EXAMPLE, OVERLAY).models["smollm2"]
    assert changed.batch.max_age_seconds == 2
    assert changed.batch.max_records == plain.batch.max_records


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tier = ", 'teir = "small"\ntier = '), "teir"),
        (('dialect = "messages"', 'dialect = "smoke-signals"'), "dialect"),
        (("base_seconds = 0.1", "base_seconds = -1"), "base_seconds"),
        (('"ml.g5.xlarge"', '"ml.z9.huge"'), "No price is known for ml.z9.huge"),
        (('utilisation = "0.27"', 'utilisation = "0"'), "utilisation"),
        (('transform_model = "tollgate-smollm2"', 'endpoint = "tollgate-smollm2"'), "needs 'transform_model'"),
        (("region = ", "region == "), "not valid TOML"),
        (('region = "us-east-1"', 'region = "mars-north-1"'), "No price is known"),
    ],
)
def test_mistakes_are_named(change: tuple[str, str], said: str) -> None:
    """With the place in the file."""
    with pytest.raises(CatalogueError, match=said):
        _read(EXAMPLE.replace(change[0], change[1], 1))


def test_a_price_of_ones_own_wins() -> None:
    """For discounts and new instance types."""
    own = EXAMPLE.replace('"ml.g5.xlarge"', '"ml.z9.huge"', 1).replace(
        'transform_model = "tollgate-smollm2"', 'usd_per_hour = "2.5", transform_model = "tollgate-smollm2"', 1
    )
    own = own.replace('"tollgate-smollm2-async",', '"tollgate-smollm2-async", ceiling_usd = "0.01",', 1)
    own = own.replace('"tollgate-smollm2-realtime",', '"tollgate-smollm2-realtime", usd_per_hour = "2",', 1)
    roads = _read(own).models["smollm2"].deployments[0].roads
    assert roads[InferenceType.BATCH].usd_per_hour == Decimal("2.5")
    assert roads[InferenceType.ASYNC].usd_per_hour is None
    assert roads[InferenceType.ASYNC].ceiling_usd == Decimal("0.01")
