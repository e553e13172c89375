"""Records of places: the fake and the registry table."""

from copy import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.places import FakePlaces
from tollgate.adapters.dynamodb.registry.capacity import RegistryCapacity
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.places.record import HISTORY_LENGTH, PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place, PlaceKind, ScalingTarget, Standing, StandStatus, VariantStanding
from tollgate.domain.roads.capacity import RoadState
from tollgate.ports.endpoints import PlaceRecords

NOW = datetime(2026, 11, 22, 5, 30, 1, 250_000, tzinfo=UTC)
PLACE = Place(PlaceKind.REALTIME, "t-echo-realtime")
STANDING = Standing(
    PLACE,
    StandStatus.UP,
    configuration="config",
    variants=(VariantStanding("main", 2, 2, 0.1),),
    scaling=(ScalingTarget("endpoint/x/variant/main", "d", 2, 8),),
    tags=(("team", "a"),),
)


@pytest.fixture(params=["fake", "table"])
def places(request: pytest.FixtureRequest) -> PlaceRecords:
    if request.param == "fake":
        return FakePlaces()
    aws: LocalAws = request.getfixturevalue("aws")
    return RegistryPlaces(aws.dynamodb, REGISTRY_TABLE)


def _stored(places: PlaceRecords) -> PlaceRecord:
    found = places.get(PLACE)
    assert found is not None
    return found


def test_a_record_comes_back_as_it_was_written(places: PlaceRecords) -> None:
    """Every member, the standing before it fell asleep included."""
    record = PlaceRecord(PLACE, Phase.AWAKE, NOW).moved(Phase.ASLEEP, NOW, "idle")
    record = replace(record, before=STANDING).hindered(NOW, "no instances", NOW + timedelta(seconds=15))
    assert places.get(PLACE) is None
    assert places.write(record)
    assert _stored(places) == replace(record, revision=1)
    assert list(places.all()) == [replace(record, revision=1)]


def test_only_the_writer_who_read_last_may_write(places: PlaceRecords) -> None:
    """Of two writers with the same revision one is stored, and nobody makes a record that exists."""
    assert places.write(PlaceRecord(PLACE, Phase.AWAKE, NOW))
    assert not places.write(PlaceRecord(PLACE, Phase.ASLEEP, NOW))
    stored = _stored(places)
    assert places.write(stored.moved(Phase.FALLING_ASLEEP, NOW, "first"))
    assert not places.write(stored.moved(Phase.WAKING, NOW, "second"))
    assert _stored(places).history[-1].reason == "first"


def test_one_request_wakes(places: PlaceRecords) -> None:
    """Of three requests for a sleeping place the first is told to wake it; once it wakes nobody else is."""
    assert not places.ask(PLACE, NOW)
    places.write(PlaceRecord(PLACE, Phase.AWAKE, NOW))
    assert not places.ask(PLACE, NOW)
    places.write(_stored(places).moved(Phase.ASLEEP, NOW, "idle"))
    assert [places.ask(PLACE, NOW) for _ in range(3)] == [True, False, False]
    assert _stored(places).asked_at == NOW
    places.write(_stored(places).moved(Phase.WAKING, NOW, "asked for"))
    assert _stored(places).asked_at is None
    assert not places.ask(PLACE, NOW)


def test_what_is_held_is_not_woken(places: PlaceRecords) -> None:
    """Nor overwritten by who read it before the hold; only the holder lets go."""
    places.write(PlaceRecord(PLACE, Phase.AWAKE, NOW).moved(Phase.ASLEEP, NOW, "idle"))
    read = _stored(places)
    places.hold(PLACE, "brake", NOW)
    places.hold(PLACE, "brake", NOW)
    assert not places.ask(PLACE, NOW)
    assert not places.write(read.moved(Phase.WAKING, NOW, "late"))
    places.let_go(PLACE, "somebody else")
    assert _stored(places).held_by == "brake"
    places.let_go(PLACE, "brake")
    places.let_go(PLACE, "brake")
    assert places.ask(PLACE, NOW)


def test_a_place_without_a_record_can_be_held(places: PlaceRecords) -> None:
    """The brake may come before the first look; the place counts as awake since then."""
    places.hold(PLACE, "brake", NOW)
    stored = _stored(places)
    assert (stored.phase, stored.since, stored.held_by) == (Phase.AWAKE, NOW, "brake")


def test_history_keeps_the_latest(places: PlaceRecords) -> None:
    """As many lines as fit, the newest last."""
    record = PlaceRecord(PLACE, Phase.AWAKE, NOW)
    for number in range(HISTORY_LENGTH + 5):
        record = record.moved(Phase.AWAKE, NOW, str(number))
    places.write(record)
    history = _stored(places).history
    assert len(history) == HISTORY_LENGTH
    assert history[-1].reason == str(HISTORY_LENGTH + 4)


def test_routing_reads_the_state_that_was_told(aws: LocalAws) -> None:
    """The state stands beside the backlog in the item that the gateway reads anyway."""
    places = RegistryPlaces(aws.dynamodb, REGISTRY_TABLE)
    places.record_state("echo/main", InferenceType.REALTIME, RoadState.ASLEEP, 0)
    reader = RegistryCapacity(aws.dynamodb, REGISTRY_TABLE, now=lambda: NOW, monotonic=lambda: 0.0)
    seen = reader.snapshot().of("echo/main", InferenceType.REALTIME)
    assert (seen.state, seen.instances) == (RoadState.ASLEEP, 0)
