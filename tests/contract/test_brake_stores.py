"""The record of the brakes: the same tests for the fake and for DynamoDB on moto."""

from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.clock import ManualClock
from tests.fakes.control import InMemoryControl
from tollgate.adapters.dynamodb.registry.brake_steps import RegistryBrakes
from tollgate.adapters.dynamodb.registry.control import REFRESH_SECONDS, RegistryControl
from tollgate.domain.brakes.level import NO_CONTROL, BrakeLevel, Cause, Control
from tollgate.domain.brakes.plan import BrakeEntry, EntryState
from tollgate.domain.errors import StorageError
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
)
from tollgate.ports.control import ControlStore

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
CONTROL = Control(
    level=BrakeLevel.STOP,
    reason="spend at 101.2 % of 'x'",
    since=NOW,
    until=NOW + timedelta(days=3),
    episode="brake_1",
    causes={
        "budget:x": Cause(BrakeLevel.STOP, NOW, NOW + timedelta(days=3), "spent"),
        "alarm:ü": Cause(BrakeLevel.NONE, NOW, None, "", dismissed=True),
    },
    announced=BrakeLevel.DEFER,
    lease_until=NOW + timedelta(seconds=150),
)
_PLACE = Place(PlaceKind.ASYNC, "tollgate-echo-async")
_TARGET = ScalingTarget(
    "endpoint/a/variant/v",
    "sagemaker:variant:DesiredInstanceCount",
    0,
    4,
    policies=(ScalingPolicy("p", "StepScaling", '{"a":1.5}'),),
)
ENTRY = BrakeEntry(
    episode="brake_1",
    number=3,
    level=BrakeLevel.STOP,
    target=_PLACE.key,
    what="to 0 instances",
    state=EntryState.GOING_DOWN,
    planned_at=NOW,
    usd_per_hour=Decimal("0.230"),
    before=Standing(
        _PLACE, StandStatus.UP, "config", (VariantStanding("v", 2, 3, 0.25),), (_TARGET,), (("k", "v"),), problem="slow"
    ),
    changes=("scaling pinned",),
)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, aws: LocalAws) -> ControlStore:
    """Both stores."""
    return InMemoryControl() if request.param == "memory" else RegistryBrakes(aws.dynamodb, REGISTRY_TABLE)


def test_a_record_reads_back_as_it_was(store: ControlStore) -> None:
    """To the microsecond, with every cause."""
    assert store.read() == NO_CONTROL
    saved = store.save(CONTROL)
    assert saved == replace(CONTROL, revision=1) == store.read()


def test_only_one_of_two_writers_succeeds(store: ControlStore) -> None:
    """The other is told, and what it wanted is not stored."""
    first = store.save(CONTROL)
    assert first is not None
    assert store.save(CONTROL) is None
    assert store.save(replace(first, level=BrakeLevel.NONE)) is not None
    assert store.save(replace(first, level=BrakeLevel.WARN)) is None
    assert store.read().level is BrakeLevel.NONE


def test_steps_are_kept_by_episode_in_order(store: ControlStore) -> None:
    """Each with how its place stood before, exactly; a changed step replaces the earlier one."""
    done = replace(ENTRY, state=EntryState.UNDONE, done_at=NOW, undone=("put back",), undone_at=NOW)
    for entry in (replace(ENTRY, number=12), ENTRY, replace(ENTRY, episode="brake_2"), done):
        store.put(entry)
    assert list(store.entries("brake_1")) == [done, replace(ENTRY, number=12)]
    assert list(store.entries("brake_3")) == []


def test_a_gateway_reads_the_brakes_every_three_seconds(aws: LocalAws) -> None:
    """In between it does not ask; when the table fails it keeps what it knows, and without that it refuses."""
    clock, store = ManualClock(), RegistryBrakes(aws.dynamodb, REGISTRY_TABLE)
    source = RegistryControl(aws.dynamodb, REGISTRY_TABLE, clock.monotonic)
    assert source.in_force() == NO_CONTROL
    store.save(CONTROL)
    assert source.in_force() == NO_CONTROL
    clock.advance(REFRESH_SECONDS)
    assert source.in_force().level is BrakeLevel.STOP
    source._table = "nowhere"
    clock.advance(REFRESH_SECONDS)
    assert source.in_force().level is BrakeLevel.STOP
    with pytest.raises(StorageError):
        RegistryControl(aws.dynamodb, "nowhere", clock.monotonic).in_force()
