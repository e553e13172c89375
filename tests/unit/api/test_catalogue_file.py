"""models.toml: read, checked, priced, stored and read back."""

import json
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError

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


ROUTE = ('dialect = "messages"', 'dialect = "sagemaker-openai"')


def test_only_the_real_time_road_takes_sagemakers_openai_route() -> None:
    """It is stored where it is used, so that older gateways can read all other catalogues."""
    assert ROUTE[0] in EXAMPLE
    catalogue = _read(EXAMPLE.replace(*ROUTE))
    (deployment,) = catalogue.models["smollm2"].deployments
    assert {road.inference_type for road in deployment.roads.values() if road.openai_route} == {InferenceType.REALTIME}
    stored = json.loads(json.dumps(catalogue_document(catalogue)))
    assert catalogue_from_document(stored) == catalogue
    assert "openai_route" not in json.dumps(catalogue_document(_read(EXAMPLE)))


def test_the_openai_route_knows_no_variants() -> None:
    """Said when the catalogue is applied, not when a request fails."""
    overlay = '[models.smollm2.deployments.main]\nrealtime = { target_variant = "blue" }'
    with pytest.raises(CatalogueError, match="target_variant"):
        _read(EXAMPLE.replace(*ROUTE), overlay)


CHOICE = """
choice = { medium_from = 0.2, quality = 0.9, cascade = {}, explore = { share = 0.05, usd_per_day = 1 } }
trimming = { input_tokens = 4096, documents_top_k = 5 }
"""


def _chosen(change: tuple[str, str] = ("", "")) -> Catalogue:
    text = EXAMPLE.replace('description = "SmolLM2', CHOICE + 'description = "SmolLM2')
    text += '[[input_budgets]]\nkey = "key_1"\nmodel = "smollm2"\ninput_tokens = 2000\n'
    assert change[0] in text
    return _read(text.replace(*change) if change[0] else text)


def test_choosing_and_trimming_are_read_and_stored() -> None:
    """With the defaults for what is not said."""
    catalogue = _chosen()
    model = catalogue.models["smollm2"]
    assert model.choice is not None
    assert (model.choice.thresholds.medium, model.choice.quality, model.choice.sticky) == (0.2, 0.9, True)
    assert model.choice.cascade is not None
    assert model.trimming is not None
    assert (model.trimming.input_tokens, model.trimming.keep_last) == (4096, 2)
    assert catalogue.input_budgets[0].input_tokens == 2000
    assert catalogue_from_document(json.loads(json.dumps(catalogue_document(catalogue)))) == catalogue


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("medium_from = 0.2", "medium_from = 0.9"), "medium_from may not be above large_from"),
        (("quality = 0.9", "quality = 9"), "quality"),
        (("cascade = {}", 'cascade = { checks = ["rule"], min_mean_logprob = -1 }'), "read by the check 'logprob'"),
        (("share = 0.05", "share = 0.9"), "share"),
        (("explore = {", "shadow = {"), "belong together"),
        (('model = "smollm2"', 'model = "nope"'), "not in the catalogue"),
        (
            ('tier = "small"\ndialect = "messages"', 'tier = "small"\nresembles = "nope"\ndialect = "messages"'),
            "not known",
        ),
        (
            ('tier = "small"\ndialect = "messages"', 'tier = "small"\nrole = "shadow"\ndialect = "messages"'),
            "needs weight 0",
        ),
    ],
)
def test_mistakes_about_choosing_are_named(change: tuple[str, str], said: str) -> None:
    """Before anything is stored."""
    with pytest.raises(CatalogueError, match=said):
        _chosen(change)


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
