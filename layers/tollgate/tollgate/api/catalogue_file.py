"""`models.toml`: its schema, and the checked catalogue that it becomes.

An overlay of the same shape may change single values, for example the timings of a local stack. Prices come from the
price book at the moment of applying, so a stored version always explains the costs that were charged under it.
"""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tollgate.api.budget_entries import BudgetEntry, read_budgets
from tollgate.api.catalogue_brakes import BrakesEntry, read_brakes, with_brake_steps
from tollgate.api.catalogue_cache import CacheEntry, cache_policy
from tollgate.api.catalogue_choice import (
    ChoiceEntry,
    InputBudgetEntry,
    Share,
    TrimmingEntry,
    known_resemblance,
    read_choice,
    read_input_budgets,
    read_trimming,
)
from tollgate.api.catalogue_hand_on import checked_hand_on
from tollgate.api.catalogue_health import HealthEntry, read_health
from tollgate.api.catalogue_micro_batches import MicroBatchEntry, micro_batch_policy
from tollgate.api.catalogue_sleep import SleepEntry, read_sleep
from tollgate.api.catalogue_tokens import TokensEntry, kind_served, token_roads
from tollgate.domain.catalogue import (
    AsyncPolicy,
    BatchPolicy,
    Catalogue,
    Deployment,
    InferenceType,
    Model,
    ModelKind,
    Priority,
    Road,
    Tier,
    Timing,
)
from tollgate.domain.choice.policy import DeploymentRole
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError
from tollgate.domain.providers.backend import DIALECT_OF

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
Name = Annotated[str, Field(pattern=_NAME)]
Parameter = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PositiveMoney = Annotated[Decimal, Field(gt=0, le=Decimal(100_000))]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimingEntry(_Strict):
    """Seconds that one request holds its place on an instance, until measured values are there."""

    base_seconds: Annotated[float, Field(gt=0, le=3600)]
    seconds_per_input_token: Annotated[float, Field(ge=0, le=60)] = 0.0
    seconds_per_output_token: Annotated[float, Field(ge=0, le=60)] = 0.0
    expected_output_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class RoadEntry(_Strict):
    """One road to a deployment. `endpoint` for real-time and async, `transform_model` for batch."""

    endpoint: Name | None = None
    transform_model: Name | None = None
    instance_type: str | None = None
    instance_count: Annotated[int, Field(ge=1, le=1000)] = 1
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 1
    startup_seconds: Annotated[float, Field(ge=0, le=7200)] = 0.0
    utilisation: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    usd_per_hour: PositiveMoney | None = None
    ceiling_usd: PositiveMoney | None = None
    target_model: str | None = None
    target_variant: Name | None = None
    inference_component: Name | None = None


class DeploymentEntry(_Strict):
    """A backend of a model."""

    tier: Tier
    dialect: Literal["messages", "inputs", "tgi", "openai", "sagemaker-openai"] | None = None
    instance_type: str | None = None
    weight: Annotated[int, Field(ge=0, le=1000)] = 1
    supports: frozenset[Parameter] = frozenset()
    role: DeploymentRole = DeploymentRole.CHAMPION
    quality: Share | None = None
    resembles: str = ""
    micro_batch: MicroBatchEntry | None = None
    timing: TimingEntry
    realtime: RoadEntry | None = None
    asynchronous: Annotated[RoadEntry | None, Field(alias="async")] = None
    batch: RoadEntry | None = None
    sleep: SleepEntry | None = None
    tokens: TokensEntry | None = None


class BatchEntry(_Strict):
    """When waiting batch requests leave."""

    max_records: Annotated[int, Field(ge=1, le=10_000)] = 500
    max_age_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    records_per_file: Annotated[int, Field(ge=1, le=10_000)] = 50


class AsyncEntry(_Strict):
    """Limits of the asynchronous road; SageMaker's own ranges."""

    request_ttl_seconds: Annotated[int, Field(ge=60, le=21_600)] = 21_600
    invocation_timeout_seconds: Annotated[int, Field(ge=1, le=3_600)] = 900


class ModelEntry(_Strict):
    """What clients ask for."""

    description: Annotated[str, Field(max_length=500)] = ""
    kind: ModelKind = ModelKind.ANY
    default_priority: Priority = Priority.MEDIUM
    fall_back_to_async: bool = True
    realtime_seconds_limit: Annotated[float, Field(gt=0, le=60)] = 28.0
    batch: BatchEntry = BatchEntry()
    asynchronous: Annotated[AsyncEntry, Field(alias="async")] = AsyncEntry()
    cache: CacheEntry | None = None
    health: HealthEntry | None = None
    choice: ChoiceEntry | None = None
    trimming: TrimmingEntry | None = None
    deployments: Annotated[dict[Name, DeploymentEntry], Field(min_length=1)]


class CatalogueEntry(_Strict):
    """The whole file."""

    region: str | None = None
    gateway_prices_from: str | None = None
    models: Annotated[dict[Name, ModelEntry], Field(min_length=1)]
    budgets: tuple[BudgetEntry, ...] = ()
    brakes: BrakesEntry | None = None
    input_budgets: Annotated[tuple[InputBudgetEntry, ...], Field(max_length=200)] = ()


def read_catalogue(
    text: str, book: PriceBook, *, region: str, architecture: str, version: int, overlay: str | None = None
) -> Catalogue:
    """Check a catalogue file and resolve its prices.

    Args:
        text: TOML.
        book: list prices.
        region: used where the file names none.
        architecture: of the gateway's functions, for their price.
        version: number of the new version.
        overlay: TOML whose values replace those of the file.

    Raises:
        CatalogueError: with the place and the reason of every mistake.
    """
    try:
        document = tomllib.loads(text)
        if overlay is not None:
            document = _merged(document, tomllib.loads(overlay))
        entry = CatalogueEntry.model_validate(document)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"The catalogue is not valid TOML: {error}") from error
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CatalogueError(f"The catalogue is not valid: {reasons}") from error
    place = entry.region or region
    models = {name: _model(name, model, book, place) for name, model in entry.models.items()}
    brakes = read_brakes(entry.brakes, models)
    return Catalogue(
        version=version,
        region=place,
        models=models,
        gateway_prices=book.gateway_prices(place, architecture=architecture, instead=entry.gateway_prices_from),
        budgets=with_brake_steps(read_budgets(entry.budgets, entry.models), brakes),
        brakes=brakes,
        input_budgets=read_input_budgets(entry.input_budgets, entry.models),
    )


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        earlier = merged.get(key)
        merged[key] = _merged(earlier, value) if isinstance(earlier, dict) and isinstance(value, dict) else value
    return merged


def _model(name: str, entry: ModelEntry, book: PriceBook, region: str) -> Model:
    deployments = tuple(_deployment(name, key, value, book, region) for key, value in entry.deployments.items())
    known_resemblance({d.resource: d.resembles for d in deployments})
    return Model(
        name=name,
        deployments=checked_hand_on(deployments),
        default_priority=entry.default_priority,
        fall_back_to_async=entry.fall_back_to_async,
        realtime_seconds_limit=entry.realtime_seconds_limit,
        batch=BatchPolicy(**entry.batch.model_dump()),
        asynchronous=AsyncPolicy(**entry.asynchronous.model_dump()),
        description=entry.description,
        kind=kind_served(name, entry.kind, deployments),
        cache=cache_policy(entry.cache),
        health=read_health(name, entry.health, entry.deployments),
        choice=read_choice(entry.choice, deployments, model=name),
        trimming=read_trimming(entry.trimming),
    )


def _deployment(model: str, name: str, entry: DeploymentEntry, book: PriceBook, region: str) -> Deployment:
    resource = f"{model}/{name}"
    dialect, timing = entry.dialect, Timing(**entry.timing.model_dump())
    if entry.tokens is not None:
        roads = token_roads(entry.tokens, resource=resource, timing=timing, book=book, others=_of_sagemaker(entry))
        dialect_name = DIALECT_OF[entry.tokens.provider]
    elif dialect is None or entry.instance_type is None:
        raise CatalogueError(f"Deployment '{resource}' needs a dialect and an instance_type, or the section 'tokens'.")
    else:
        dialect_name, roads = dialect, _roads(resource, entry, entry.instance_type, book, region)
    return Deployment(
        name=name,
        model=model,
        tier=entry.tier,
        dialect=dialect_name,
        timing=timing,
        roads=roads,
        weight=entry.weight,
        supports=entry.supports,
        sleep=read_sleep(entry.sleep),
        role=None if entry.role is DeploymentRole.CHAMPION else entry.role,
        expected_quality=entry.quality,
        resembles=entry.resembles,
        micro_batch=micro_batch_policy(entry.micro_batch, resource, dialect_name),
    )


def _of_sagemaker(entry: DeploymentEntry) -> dict[str, object]:
    """What only deployments on SageMaker have, by its name in the file."""
    return {
        "dialect": entry.dialect,
        "instance_type": entry.instance_type,
        "realtime": entry.realtime,
        "async": entry.asynchronous,
        "batch": entry.batch,
        "sleep": entry.sleep,
        "micro_batch": entry.micro_batch,
    }


def _roads(
    resource: str, entry: DeploymentEntry, instance_type: str, book: PriceBook, region: str
) -> Mapping[InferenceType, Road]:
    entries = {
        InferenceType.REALTIME: entry.realtime,
        InferenceType.ASYNC: entry.asynchronous,
        InferenceType.BATCH: entry.batch,
    }
    roads = {
        inference_type: _road(
            inference_type,
            road,
            resource=resource,
            instance_type=road.instance_type or instance_type,
            book=book,
            region=region,
            openai_route=entry.dialect == "sagemaker-openai" and inference_type is InferenceType.REALTIME,
        )
        for inference_type, road in entries.items()
        if road is not None
    }
    if not roads:
        raise CatalogueError(f"Deployment '{resource}' has no road; give it realtime, async or batch.")
    return roads


def _road(
    inference_type: InferenceType,
    entry: RoadEntry,
    *,
    resource: str,
    instance_type: str,
    book: PriceBook,
    region: str,
    openai_route: bool,
) -> Road:
    wanted, other = (
        ("transform_model", "endpoint") if inference_type is InferenceType.BATCH else ("endpoint", "transform_model")
    )
    target = getattr(entry, wanted)
    if target is None or getattr(entry, other) is not None:
        raise CatalogueError(f"The {inference_type} road of '{resource}' needs '{wanted}', not '{other}'.")
    if openai_route and (entry.target_model or entry.target_variant):
        raise CatalogueError(
            f"The {inference_type} road of '{resource}' cannot have target_model or target_variant: "
            "SageMaker's /openai route supports neither."
        )
    listed = book.instance_hour(region, instance_type)
    price = entry.usd_per_hour or (listed.usd if listed else None)
    if price is None and entry.ceiling_usd is None:
        raise CatalogueError(
            f"No price is known for {instance_type} in {region} (the {inference_type} road of '{resource}'). "
            "Set usd_per_hour, or ceiling_usd to charge a fixed amount for each request."
        )
    return Road(
        inference_type=inference_type,
        target=target,
        instance_type=instance_type,
        usd_per_hour=price,
        instance_count=entry.instance_count,
        concurrency=entry.concurrency,
        startup_seconds=entry.startup_seconds,
        utilisation=entry.utilisation,
        ceiling_usd=entry.ceiling_usd,
        target_model=entry.target_model,
        target_variant=entry.target_variant,
        inference_component=entry.inference_component,
        openai_route=openai_route,
    )
