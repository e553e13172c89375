"""When the copy of the catalogue that a function keeps is read anew before its time."""

from collections.abc import Mapping
from copy import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue, make_job
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue, RegistryCatalogueWriter
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CatalogueError, StorageError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalogue() -> Catalogue:
    return make_catalogue()


class _Reads:
    """A table that counts how often it is read, and may be out of reach."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self.count = 0
        self.there = True

    def get_item(self, table: str, key: Mapping[str, Any], **how: Any) -> dict[str, Any] | None:
        self.count += 1
        return self._client.get_item(table if self.there else "nowhere", key, **how)


def test_a_job_of_a_version_that_was_just_applied_has_it_read(aws: LocalAws, catalogue: Catalogue) -> None:
    """The copy knows nothing of what the job names; nobody need wait until it is 15 seconds old."""
    clock, reads = ManualClock(), _Reads(aws.dynamodb)
    reader = RegistryCatalogue(cast("DynamoDBClient", reads), REGISTRY_TABLE, clock.monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    for version in (1, 2):
        writer.store(replace(catalogue, version=version), now=NOW)
    writer.point_to(1, expected=0)
    old, new = (make_job(catalogue_version=version) for version in (1, 2))
    assert reader.seen_by(old).version == 1
    writer.point_to(2, expected=1)
    assert reader.seen_by(old).version == reader.current().version == 1
    assert reader.seen_by(new).version == reader.current().version == 2
    reads.count = 0
    for _ in range(10):
        assert reader.seen_by(new).version == reader.seen_by(old).version == 2
    assert reads.count == 1, "jobs of another version cost one reading a second, not one each"
    clock.advance(1)
    writer.point_to(1, expected=2)
    assert reader.seen_by(old).version == 1, "after a roll-back too"


def test_a_road_that_the_copy_does_not_have_is_looked_for(aws: LocalAws, catalogue: Catalogue) -> None:
    """Whoever waits for it was accepted by somebody who knew it."""
    clock, reads = ManualClock(), _Reads(aws.dynamodb)
    reader = RegistryCatalogue(cast("DynamoDBClient", reads), REGISTRY_TABLE, clock.monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(replace(catalogue, models={}), now=NOW)
    writer.store(replace(catalogue, version=2), now=NOW)
    writer.point_to(1, expected=0)
    deployment = next(d for model in catalogue.models.values() for d in model.deployments)
    kind = next(iter(deployment.roads))
    assert reader.knowing(deployment.resource, kind).version == 1
    writer.point_to(2, expected=1)
    assert reader.knowing(deployment.resource, kind).version == 2
    reads.count = 0
    reader.knowing(deployment.resource, kind)
    assert reads.count == 0


def test_no_job_is_judged_by_a_copy_older_than_its_own(aws: LocalAws, catalogue: Catalogue) -> None:
    """If the newer one cannot be read, the job waits; one that the copy is new enough for goes on."""
    reads = _Reads(aws.dynamodb)
    reader = RegistryCatalogue(cast("DynamoDBClient", reads), REGISTRY_TABLE, ManualClock().monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(replace(catalogue, version=2), now=NOW)
    writer.point_to(2, expected=0)
    reader.current()
    reads.there = False
    assert reader.seen_by(make_job(catalogue_version=1)).version == 2
    with pytest.raises(StorageError):
        reader.seen_by(make_job(catalogue_version=3))
    with pytest.raises(StorageError):
        reader.knowing("new/model", InferenceType.ASYNC)
    with pytest.raises(StorageError):
        reader.newest()


def test_a_version_can_be_read_when_another_is_in_force(aws: LocalAws, catalogue: Catalogue) -> None:
    """Once, for it never changes; one that there is not is told from one that cannot be read."""
    reads = _Reads(aws.dynamodb)
    reader = RegistryCatalogue(cast("DynamoDBClient", reads), REGISTRY_TABLE, ManualClock().monotonic)
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    for version in (1, 2):
        writer.store(replace(catalogue, version=version), now=NOW)
    writer.point_to(2, expected=0)
    reader.current()
    reads.count = 0
    assert [reader.of_version(version)._replace(seal="") for version in (2, 1, 1, 2)] == [
        replace(catalogue, version=version) for version in (2, 1, 1, 2)
    ]
    assert reads.count == 1
    assert reader.current().version == 2
    with pytest.raises(CatalogueError):
        reader.of_version(7)
    reads.there = False
    with pytest.raises(StorageError):
        reader.of_version(3)
