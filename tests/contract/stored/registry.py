"""What the registry table holds."""

import json
from copy import replace
from datetime import timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.contract.stored.kind import StoredKind
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_job
from tollgate.adapters.dynamodb.registry.backlog import DynamoDBBacklog
from tollgate.adapters.dynamodb.registry.brake_steps import RegistryBrakes
from tollgate.adapters.dynamodb.registry.capacity import RegistryCapacity, RegistryDurations, RegistryHealth
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue, RegistryCatalogueWriter
from tollgate.adapters.dynamodb.registry.control import RegistryControl
from tollgate.adapters.dynamodb.registry.holding import DynamoDBHoldingStore
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys, key_hash
from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.dynamodb.registry.prices import RegistryPrices
from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.brakes.level import BrakeLevel, Cause, Control
from tollgate.domain.brakes.plan import BrakeEntry, EntryState
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice.outcomes import of_quality, of_run
from tollgate.domain.costs.price_book import ListPrice, PriceBook
from tollgate.domain.costs.price_refresh import PendingPrice, PriceRecord
from tollgate.domain.keys import KeyRecord
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
)
from tollgate.domain.roads.capacity import RoadState
from tollgate.ports.outcomes import Extra

_NOW = make_job().created_at
_LATER = _NOW + timedelta(hours=1, microseconds=1)


def _catalogue() -> Any:
    book = PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))
    # Prices of its own: those of the book change by themselves.
    parts = {name: replace(price, usd=Decimal("0.00001")) for name, price in book.parts.items()}
    instances = {name: replace(price, usd=Decimal("0.25")) for name, price in book.instances.items()}
    fixed = PriceBook(instances, parts)
    text = Path(__file__).with_name("catalogue.toml").read_text("utf-8")
    return read_catalogue(text, fixed, region="us-east-1", architecture="arm64", version=3)


def _write_catalogue(aws: LocalAws) -> None:
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(_catalogue(), now=_NOW)
    # The first pointer would get a seal that nobody knows beforehand.
    aws.dynamodb.put_item(REGISTRY_TABLE, {"pk": "catalogue", "sk": "current", "version": 2, "seal": "5ea1"})
    writer.point_to(3, expected=2)


def _read_catalogue(aws: LocalAws) -> object:
    return RegistryCatalogue(aws.dynamodb, REGISTRY_TABLE, ManualClock().monotonic).current()


_KEYS = {
    key_hash("tg_one"): KeyRecord(
        "key_1", "acme", "search", frozenset({"infer", "read"}), _NOW, disabled=True, expires_at=_LATER
    ),
    key_hash("tg_two"): KeyRecord("key_2", "acme", "", frozenset({"admin"}), _NOW),
}


def _write_keys(aws: LocalAws) -> None:
    for hashed, record in _KEYS.items():
        RegistryKeys(aws.dynamodb, REGISTRY_TABLE).store(hashed, record)


_PLACE = Place(PlaceKind.ASYNC, "tollgate-echo-async")
_STANDING = Standing(
    _PLACE,
    StandStatus.UP,
    "config",
    (VariantStanding("v", 2, 3, 0.25),),
    (ScalingTarget("endpoint/a/variant/v", "d", 0, 4, policies=(ScalingPolicy("p", "StepScaling", '{"a":1.5}'),)),),
    (("k", "v"),),
    problem="slow",
)


def _write_brakes(aws: LocalAws) -> None:
    store = RegistryBrakes(aws.dynamodb, REGISTRY_TABLE)
    store.save(
        Control(
            level=BrakeLevel.STOP,
            reason="spend at 101.2 % of 'x'",
            since=_NOW,
            until=_LATER,
            episode="brake_1",
            causes={
                "budget:x": Cause(BrakeLevel.STOP, _NOW, _LATER, "spent"),
                "alarm:ü": Cause(BrakeLevel.NONE, _NOW, None, "", dismissed=True),
            },
            announced=BrakeLevel.DEFER,
            lease_until=_LATER,
        )
    )
    step = BrakeEntry(
        episode="brake_1",
        number=3,
        level=BrakeLevel.STOP,
        target=_PLACE.key,
        what="to 0 instances",
        state=EntryState.GOING_DOWN,
        planned_at=_NOW,
        usd_per_hour=Decimal("0.230"),
        before=_STANDING,
        changes=("scaling pinned",),
    )
    store.put(step)
    store.put(
        replace(step, number=4, before=None, done_at=_NOW, undone=("back",), undone_at=_LATER, problem="throttled")
    )


def _read_brakes(aws: LocalAws) -> object:
    store = RegistryBrakes(aws.dynamodb, REGISTRY_TABLE)
    in_force = RegistryControl(aws.dynamodb, REGISTRY_TABLE, ManualClock().monotonic).in_force()
    return store.read(), in_force, list(store.entries("brake_1"))


def _write_places(aws: LocalAws) -> None:
    record = replace(PlaceRecord(_PLACE, Phase.AWAKE, _NOW).moved(Phase.ASLEEP, _NOW, "idle"), before=_STANDING)
    places = RegistryPlaces(aws.dynamodb, REGISTRY_TABLE)
    places.write(replace(record, held_by="brakes", asked_at=_NOW).hindered(_NOW, "no instances", _LATER))
    places.record_state("echo/small", InferenceType.ASYNC, RoadState.ASLEEP, 2)
    clock = ManualClock(_NOW)
    DynamoDBBacklog(aws.dynamodb, REGISTRY_TABLE).record_backlog("echo/small", InferenceType.BATCH, 7, observed_at=_NOW)
    RegistryHealth(aws.dynamodb, REGISTRY_TABLE, clock.now).record_health(
        "echo/small", InferenceType.REALTIME, RoadState.BROKEN, seconds=30
    )
    durations = RegistryDurations(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)
    durations.record("echo/small", InferenceType.REALTIME, 1.25)


def _read_places(aws: LocalAws) -> object:
    clock = ManualClock(_NOW)
    capacity = RegistryCapacity(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic).snapshot()
    roads = {road: capacity.of("echo/small", road) for road in InferenceType}
    return list(RegistryPlaces(aws.dynamodb, REGISTRY_TABLE).all()), roads


def _take_places(aws: LocalAws, *request_ids: str) -> object:
    store = DynamoDBHoldingStore(aws.dynamodb, REGISTRY_TABLE)
    road, ends = InferenceType.REALTIME, [_NOW + timedelta(seconds=3 + len(name)) for name in request_ids]
    return [
        store.take_place("echo/small", road, request_id=name, received=_NOW, finished=end, places=2, most_seconds=9)
        for name, end in zip(request_ids, ends, strict=True)
    ]


def _outcomes(aws: LocalAws) -> RegistryOutcomes:
    clock = ManualClock(_NOW)
    return RegistryOutcomes(aws.dynamodb, REGISTRY_TABLE, now=clock.now, monotonic=clock.monotonic)


def _write_outcomes(aws: LocalAws) -> None:
    store = _outcomes(aws)
    store.add("chat", "little", "code", of_run(failed=False, seconds=0.25, usd=0.0001, output_tokens=7))
    store.spend("chat", Extra.SHADOW, Decimal("0.7"))
    store.flush()
    store.judge("chat", "little", "code", of_quality(0.5), tenant="acme", inference_id="inf_1")


def _read_outcomes(aws: LocalAws) -> object:
    store = _outcomes(aws)
    again = store.judge("chat", "little", "code", of_quality(1.0), tenant="acme", inference_id="inf_1")
    return store.of("chat"), store.spent("chat", Extra.SHADOW), again


def _write_prices(aws: LocalAws) -> None:
    price = ListPrice(Decimal("0.230"), "2026-09-28", "list")
    record = PriceRecord(price, PendingPrice(None, "2026-10-01", "gone"))
    RegistryPrices(aws.dynamodb, REGISTRY_TABLE).store("us-east-1", "ml.m5.xlarge", record)


KINDS = {
    "catalogue": StoredKind(_write_catalogue, _read_catalogue),
    "keys": StoredKind(
        _write_keys,
        lambda aws: [RegistryKeys(aws.dynamodb, REGISTRY_TABLE).find(hashed) for hashed in _KEYS],
    ),
    "brakes": StoredKind(_write_brakes, _read_brakes),
    "places": StoredKind(_write_places, _read_places),
    "holding": StoredKind(
        lambda aws: _take_places(aws, "one", "two", "three"), lambda aws: _take_places(aws, "one", "three", "four")
    ),
    "outcomes": StoredKind(_write_outcomes, _read_outcomes),
    "prices": StoredKind(_write_prices, lambda aws: RegistryPrices(aws.dynamodb, REGISTRY_TABLE).records("us-east-1")),
    "recommendations": StoredKind(
        lambda aws: RegistryRecommendations(aws.dynamodb, REGISTRY_TABLE).store({"data": [1.5, "ü"]}, now=_NOW),
        lambda aws: RegistryRecommendations(aws.dynamodb, REGISTRY_TABLE).latest(),
    ),
    "webhook_secrets": StoredKind(
        lambda aws: RegistryWebhookSecrets(aws.dynamodb, REGISTRY_TABLE).store("acme", "new", earlier="old"),
        lambda aws: RegistryWebhookSecrets(aws.dynamodb, REGISTRY_TABLE).of("acme"),
    ),
}
