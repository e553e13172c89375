"""The guide to the catalogue says what the reader of the file does."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
from pydantic import BaseModel

from tests.unit.template_document import ROOT
from tollgate.api.catalogue_file import AsyncEntry, BatchEntry, ModelEntry, RoadEntry, read_catalogue
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.price_book import PriceBook

GUIDE = (ROOT / "docs" / "catalogue.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {"batch": BatchEntry, "async": AsyncEntry}
# What a table says of a value that is found elsewhere, or may be missing.
FOUND_ELSEWHERE = {"none", "the deployment's", "the price book's"}


def _defaults() -> Iterator[tuple[str, str]]:
    """Keys and their defaults in the guide's tables."""
    for keys, defaults in re.findall(r"^\| (`.*?) \| (.*?) \| .* \|$", GUIDE, re.MULTILINE):
        names, said = re.findall(r"`([\w.]+)`", keys), defaults.replace("`", "").split(", ")
        yield from zip(names, said * len(names) if len(said) == 1 else said, strict=True)


def test_the_example_is_a_whole_catalogue() -> None:
    """It is accepted as it stands, with a road and its price."""
    found = re.search(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    catalogue = read_catalogue(found[1], book, region="us-east-1", architecture="arm64", version=1)
    assert catalogue.models["chat"].deployments[0].roads[InferenceType.REALTIME].usd_per_hour is not None


@pytest.mark.parametrize(("key", "said"), list(_defaults()))
def test_the_defaults_are_those_of_the_code(key: str, said: str) -> None:
    """Every one that the guide names."""
    section, _, name = key.rpartition(".")
    entry = SECTIONS.get(section) or (RoadEntry if name in RoadEntry.model_fields else ModelEntry)
    default = entry.model_fields[name].default
    assert (default is None) if said in FOUND_ELSEWHERE else str(default).lower() in {said, f"{said}.0"}
