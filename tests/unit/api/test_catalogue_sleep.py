"""The catalogue's sleep section: read, refused, stored."""

import json
from decimal import Decimal
from importlib.resources import files

import pytest

from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.adapters.documents.sleep import sleep_document, sleep_from
from tollgate.api.catalogue_file import read_catalogue
from tollgate.api.catalogue_sleep import read_warm_hours
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError
from tollgate.domain.places.sleeping import SleepPolicy, WarmHours

_FILE = """
[models.m.deployments.d]
tier = "small"
dialect = "tgi"
instance_type = "ml.g5.xlarge"
timing = { base_seconds = 1 }
realtime = { endpoint = "e" }
"""
_SLEEP = """
[models.m.deployments.d.sleep]
idle_minutes = 30
warm_hours = ["mon-fri 07:30-19:00 +01:00"]
warm_minimum = 2
"""


def _read(text: str) -> Catalogue:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    return read_catalogue(text, book, region="us-east-1", architecture="arm64", version=1)


def test_a_policy_is_read_and_stored_unharmed() -> None:
    """From the file into the catalogue, through JSON and back; without the section there is no policy."""
    catalogue = _read(_FILE + _SLEEP)
    [deployment] = catalogue.models["m"].deployments
    work = WarmHours(frozenset(range(5)), 450, 1140, 60)
    assert deployment.sleep == SleepPolicy(idle_minutes=30, warm_hours=(work,), warm_minimum=2)
    stored = json.dumps(catalogue_document(catalogue))
    assert catalogue_from_document(json.loads(stored, parse_float=Decimal)) == catalogue
    [plain] = _read(_FILE).models["m"].deployments
    assert plain.sleep is None


@pytest.mark.parametrize(
    ("text", "days", "start", "end", "offset"),
    [
        ("sat,sun 10:00-02:00", {5, 6}, 600, 120, 0),
        ("Fri-Mon 00:00-23:59 -05:30", {4, 5, 6, 0}, 0, 1439, -330),
        ("daily 00:00-00:00", set(range(7)), 0, 0, 0),
    ],
)
def test_hours_in_words(text: str, days: set[int], start: int, end: int, offset: int) -> None:
    """Lists, ranges over the weekend, every day; a zone before or behind UTC."""
    assert read_warm_hours(text) == WarmHours(frozenset(days), start, end, offset)


def test_hours_of_a_time_zone_are_stored_with_its_name() -> None:
    """The zone and not its offset of today; a catalogue that was stored without zones is read as it was meant."""
    catalogue = _read(_FILE + _SLEEP.replace("+01:00", "Europe/Berlin"))
    [deployment] = catalogue.models["m"].deployments
    assert deployment.sleep is not None
    assert deployment.sleep.warm_hours == (WarmHours(frozenset(range(5)), 450, 1140, 0, "Europe/Berlin"),)
    stored = json.loads(json.dumps(catalogue_document(catalogue)), parse_float=Decimal)
    assert catalogue_from_document(stored) == catalogue
    before = sleep_document(SleepPolicy(idle_minutes=30)) | {"warm_hours": [[[0, 1], 450, 1140, 60]]}
    for name in ("gather", "gather_margin_seconds"):
        del before[name]
    assert sleep_from(before) == SleepPolicy(30, warm_hours=(WarmHours(frozenset({0, 1}), 450, 1140, 60),))


def test_no_idle_time_is_only_for_what_gathers() -> None:
    """Without gathering, metrics say what is idle, by the minute; with it, the open jobs do."""
    section = _SLEEP.replace("idle_minutes = 30", "idle_minutes = 0")
    with pytest.raises(CatalogueError, match="gather = true"):
        _read(_FILE + section)
    [deployment] = _read(_FILE + section + "gather = true\n").models["m"].deployments
    assert deployment.sleep is not None
    assert deployment.sleep.ends_with_its_work


@pytest.mark.parametrize(
    "text",
    [
        *("", "mon 7-19", "xyz 07:00-19:00", "mon-xyz 07:00-19:00", "mon 24:00-02:00"),
        *("mon 07:00-19:00 Europe/Atlantis", "mon 07:00-19:00 +25:00", "mon 07:00-19:00 Europe/../UTC"),
    ],
)
def test_hours_that_cannot_be_read_are_refused(text: str) -> None:
    """With the form they should have, or what is wrong with them."""
    with pytest.raises(CatalogueError, match="Warm hours"):
        read_warm_hours(text)


def test_an_unknown_word_in_the_section_is_refused() -> None:
    """A misspelt setting must not silently mean the default."""
    with pytest.raises(CatalogueError, match="idle_minute"):
        _read(_FILE + "[models.m.deployments.d.sleep]\nidle_minute = 3\n")
