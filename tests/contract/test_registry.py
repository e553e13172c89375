"""Catalogue, keys, capacity and idempotency on moto's DynamoDB, through the real client."""

import json
from collections.abc import Iterator
from copy import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path

import pytest

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER
from tests.fakes.gateway import InMemoryIdempotency
from tests.fakes.messages import InMemoryObjectStore
from tollgate.adapters.dynamodb.cache.idempotency import DynamoDBIdempotency
from tollgate.adapters.dynamodb.registry.backlog import DynamoDBBacklog
from tollgate.adapters.dynamodb.registry.capacity import RegistryCapacity, RegistryDurations, RegistryHealth
from tollgate.adapters.dynamodb.registry.catalogue import REFRESH_SECONDS, RegistryCatalogue, RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys, key_hash
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import (
    CatalogueError,
    ConflictError,
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    StorageError,
)
from tollgate.domain.keys import KeyRecord
from tollgate.domain.roads.capacity import RoadState
from tollgate.ports.idempotency import IdempotencyStore, StoredAnswer

CACHE_TABLE = "Cache"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWER = StoredAnswer(200, {"x-a": "1"}, '{"text": "ü"}')
ROOT = Path(__file__).parents[2]


@pytest.fixture
def catalogue() -> Catalogue:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    text = (ROOT / "models.toml").read_text("utf-8")
    return read_catalogue(text, book, region="us-east-1", architecture="arm64", version=1)


def test_a_catalogue_comes_into_force_and_is_rolled_back(aws: LocalAws, catalogue: Catalogue) -> None:
    """Within the refresh time, and not earlier."""
    clock = ManualClock()
    reader = RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, clock.monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    with pytest.raises(CatalogueError, match="models apply"):
        reader.current()
    writer.store(catalogue, now=NOW)
    writer.point_to(1, expected=0)
    assert reader.current()._replace(seal="") == catalogue
    writer.store(replace(catalogue, version=2), now=NOW)
    writer.point_to(2, expected=1)
    assert reader.current().version == 1
    clock.advance(REFRESH_SECONDS)
    assert reader.current().version == 2
    writer.point_to(1, expected=2)
    clock.advance(REFRESH_SECONDS)
    assert reader.current().version == 1
    assert writer.newest_version() == 2


def test_the_seal_stays_the_same_for_all_versions(aws: LocalAws, catalogue: Catalogue) -> None:
    """Marks of ids that were given out stay valid; and nobody can guess it, or read it in a stored version."""
    clock = ManualClock()
    reader = RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, clock.monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    seals = []
    for expected in range(3):
        writer.store(replace(reader.current() if expected else catalogue, version=expected + 1), now=NOW)
        writer.point_to(expected + 1, expected=expected)
        clock.advance(REFRESH_SECONDS)
        seals.append(reader.current().seal)
        assert seals[0] not in str(writer.document(expected + 1))
    assert len(seals[0]) == 32
    assert len(set(seals)) == 1


def test_a_catalogue_of_a_thousand_models_is_stored(aws: LocalAws, catalogue: Catalogue) -> None:
    """Its text is several times as large as an item may be."""
    plain = catalogue.models["echo"]
    names = [f"model-{number}" for number in range(1_000)]
    models = {
        name: replace(plain, name=name, deployments=tuple(replace(one, model=name) for one in plain.deployments))
        for name in names
    }
    many = replace(catalogue, models=models)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(many, now=NOW)
    writer.point_to(1, expected=0)
    assert RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, ManualClock().monotonic).current().models == models
    document = writer.document(1)
    assert document is not None
    assert list(document["models"]) == sorted(names)


def test_two_people_applying_at_once_do_not_overwrite(aws: LocalAws, catalogue: Catalogue) -> None:
    """The second is told."""
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(catalogue, now=NOW)
    with pytest.raises(ConflictError):
        writer.store(catalogue, now=NOW)
    writer.point_to(1, expected=0)
    with pytest.raises(ConflictError):
        writer.point_to(1, expected=0)


def test_an_old_catalogue_is_better_than_none(aws: LocalAws, catalogue: Catalogue) -> None:
    """A table that cannot be read stops only those who never read it."""
    clock = ManualClock()
    reader = RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, clock.monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(catalogue, now=NOW)
    writer.point_to(1, expected=0)
    reader.current()
    reader._table = "nowhere"
    clock.advance(REFRESH_SECONDS)
    assert reader.current()._replace(seal="") == catalogue
    with pytest.raises(StorageError):
        RegistryCatalogue(aws.dynamodb, "nowhere", clock.monotonic).current()


def test_keys_are_found_by_hash_only(aws: LocalAws) -> None:
    """The secret is not in the table."""
    keys = RegistryKeys(aws.dynamodb, REGISTRY_TABLE)
    record = KeyRecord("key_1", "acme", "", frozenset({"infer"}), NOW, expires_at=NOW + timedelta(days=1))
    keys.store(key_hash("tg_secret"), record)
    assert keys.find(key_hash("tg_secret")) == record
    assert keys.find("tg_secret") is None


def test_durations_become_a_mean_over_two_hours(aws: LocalAws) -> None:
    """Written by several environments, read by another."""
    clock = ManualClock(datetime(2026, 3, 1, 12, 59, 50, tzinfo=UTC))
    recorders = [
        RegistryDurations(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic) for _ in range(2)
    ]
    for recorder, held in zip(recorders, (1.0, 2.0), strict=True):
        recorder.record("echo/small", InferenceType.REALTIME, held)
    clock.advance(20)
    recorders[0].record("echo/small", InferenceType.REALTIME, 6.0)
    reader = RegistryCapacity(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)
    assert reader.snapshot().of("echo/small", InferenceType.REALTIME).measured_seconds == pytest.approx(3.0)
    assert reader.snapshot().of("echo/small", InferenceType.ASYNC).measured_seconds is None


def test_observations_of_more_deployments_than_one_page_holds_are_all_read(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the table has 1 MB: about 7,000 roads. Here it has two."""
    clock = ManualClock()
    health = RegistryHealth(aws.dynamodb, REGISTRY_TABLE, clock.now)
    names = [f"echo/number-{number}" for number in range(5)]
    for name in names:
        health.record_health(name, InferenceType.REALTIME, RoadState.BROKEN, seconds=60)
    monkeypatch.setattr(aws.dynamodb, "query", partial(aws.dynamodb.query, limit=2))
    reader = RegistryCapacity(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)
    states = [reader.snapshot().of(name, InferenceType.REALTIME).state for name in names]
    assert states == [RoadState.BROKEN] * 5


def test_few_measurements_pay_for_a_write(aws: LocalAws) -> None:
    """The first at once, then one write for all that came within ten seconds."""
    clock = ManualClock()
    recorder = RegistryDurations(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)
    for _ in range(11):
        recorder.record("echo/small", InferenceType.REALTIME, 1.0)
        clock.advance(1)
    item = aws.dynamodb.get_item(REGISTRY_TABLE, {"pk": "durations#2026-03-01T12", "sk": "echo/small#realtime"})
    assert item is not None
    assert item["count"] == 11


@pytest.fixture(params=["memory", "dynamodb"])
def idempotency(request: pytest.FixtureRequest, aws: LocalAws) -> Iterator[IdempotencyStore]:
    """The fake and the real store, under the same tests."""
    if request.param == "memory":
        yield InMemoryIdempotency()
        return
    tables = aws.boto3_client("dynamodb")
    tables.create_table(
        TableName=CACHE_TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "cache_key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "cache_key", "KeyType": "HASH"}],
    )
    yield DynamoDBIdempotency(aws.dynamodb, CACHE_TABLE, InMemoryObjectStore())
    tables.delete_table(TableName=CACHE_TABLE)


def test_a_key_is_claimed_once_and_then_answers(idempotency: IdempotencyStore) -> None:
    """In progress first, the kept answer afterwards."""
    assert idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30) is None
    with pytest.raises(IdempotencyInProgressError):
        idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    idempotency.complete(OWNER, "k", "f", ANSWER, now=NOW)
    assert idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30) == ANSWER


def test_another_payload_is_a_mistake(idempotency: IdempotencyStore) -> None:
    """Whether the first is still running or done."""
    idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    with pytest.raises(IdempotencyMismatchError):
        idempotency.claim(OWNER, "k", "other", now=NOW, lease_seconds=30)


def test_a_dead_holders_claim_is_taken_over_after_its_lease(idempotency: IdempotencyStore) -> None:
    """By one other."""
    idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    later = NOW + timedelta(seconds=31)
    assert idempotency.claim(OWNER, "k", "f", now=later, lease_seconds=30) is None
    with pytest.raises(IdempotencyInProgressError):
        idempotency.claim(OWNER, "k", "f", now=later, lease_seconds=30)


def test_a_released_key_is_free(idempotency: IdempotencyStore) -> None:
    """But a kept answer is not released by a late loser."""
    idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    idempotency.release(OWNER, "k", "f")
    assert idempotency.claim(OWNER, "k", "g", now=NOW, lease_seconds=30) is None


def test_tenants_do_not_share_keys(idempotency: IdempotencyStore) -> None:
    """The same key of another tenant is another key."""
    idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    assert idempotency.claim(OWNER._replace(tenant="x"), "k", "g", now=NOW, lease_seconds=30) is None


def test_a_large_answer_survives(idempotency: IdempotencyStore) -> None:
    """Five megabytes that hardly compress go to the bucket."""
    body = "".join(key_hash(str(number)) for number in range(80_000))
    large = StoredAnswer(200, {}, body)
    idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30)
    idempotency.complete(OWNER, "k", "f", large, now=NOW)
    assert idempotency.claim(OWNER, "k", "f", now=NOW, lease_seconds=30) == large


def test_what_an_environment_finds_broken_the_others_read(aws: LocalAws) -> None:
    """Until the pause is over; backlog and state of other writers stay, and a sleeping road stays asleep."""
    clock = ManualClock()
    health = RegistryHealth(aws.dynamodb, REGISTRY_TABLE, clock.now)
    DynamoDBBacklog(aws.dynamodb, REGISTRY_TABLE).record_backlog("m/d", InferenceType.REALTIME, 7, observed_at=NOW)
    health.record_health("m/d", InferenceType.REALTIME, RoadState.BROKEN, seconds=20)
    reader = RegistryCapacity(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)
    road = reader.snapshot().of("m/d", InferenceType.REALTIME)
    assert (road.state, road.backlog) == (RoadState.BROKEN, 7)
    clock.advance(21)
    assert reader.snapshot().of("m/d", InferenceType.REALTIME).state is RoadState.AWAKE
    aws.dynamodb.put_item(
        REGISTRY_TABLE,
        {"pk": "capacity", "sk": "m/d#realtime", "state": "asleep", "health": "slow", "health_until": 9_999_999_999},
    )
    clock.advance(21)
    assert reader.snapshot().of("m/d", InferenceType.REALTIME).state is RoadState.ASLEEP
