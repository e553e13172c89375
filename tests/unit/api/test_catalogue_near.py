"""The catalogue's section of near matches: read, refused, stored."""

import json
from decimal import Decimal
from importlib.resources import files

import pytest

from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError
from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness

_FILE = """
[models.m]
cache = {{ ttl_seconds = 60{near} }}
[models.m.deployments.d]
tier = "small"
dialect = "tgi"
instance_type = "ml.g5.xlarge"
timing = {{ base_seconds = 1 }}
realtime = {{ endpoint = "e" }}
"""


def _read(near: str) -> Catalogue:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    text = _FILE.format(near=near and f", near = {near}")
    return read_catalogue(text, book, region="us-east-1", architecture="arm64", version=1)


@pytest.mark.parametrize(
    ("near", "policy"),
    [
        ("", None),
        ("{ }", NearPolicy()),
        (
            '{ strictness = "loose", wrong_hits = 0.1, sample = 0.5, candidates = 2 }',
            NearPolicy(Strictness.LOOSE, 0.1, 0.5, 2),
        ),
        ('{ likeness = "sentences" }', NearPolicy(likeness=Likeness.SENTENCES)),
    ],
)
def test_a_policy_is_read_and_stored_unharmed(near: str, policy: NearPolicy | None) -> None:
    """From the file into the catalogue, through JSON and back; a cache without the section has exact matches only."""
    catalogue = _read(near)
    assert catalogue.models["m"].cache == CachePolicy(ttl_seconds=60, near=policy)
    stored = json.dumps(catalogue_document(catalogue))
    assert catalogue_from_document(json.loads(stored, parse_float=Decimal)) == catalogue


def test_a_catalogue_stored_before_there_were_near_matches_is_read() -> None:
    """Its cache has none."""
    document = catalogue_document(_read(""))
    del document["models"]["m"]["cache"]["near"]
    assert catalogue_from_document(json.loads(json.dumps(document), parse_float=Decimal)) == _read("")


def test_a_policy_stored_before_there_was_a_choice_compares_words() -> None:
    """Which is what it did."""
    document = catalogue_document(_read("{ }"))
    del document["models"]["m"]["cache"]["near"]["likeness"]
    assert catalogue_from_document(json.loads(json.dumps(document), parse_float=Decimal)) == _read("{ }")


@pytest.mark.parametrize(
    "near",
    [
        '{ strictness = "sloppy" }',
        '{ likeness = "pictures" }',
        "{ wrong_hits = 0 }",
        "{ wrong_hits = 0.9 }",
        "{ sample = 1.5 }",
        "{ candidates = 7 }",
        "{ threshold = 0.5 }",
    ],
)
def test_what_cannot_be_kept_is_refused(near: str) -> None:
    """A bound that no sample could show, more candidates than a lookup reads, and what is not known."""
    with pytest.raises(CatalogueError):
        _read(near)
