"""A checked catalogue as a JSON document, and back. Amounts are strings, so that they stay exact."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.domain.budgets.budget import Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
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
from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.roads.health import DEFAULT_HEALTH, HealthPolicy

if TYPE_CHECKING:
    from tollgate.domain.brakes.level import BrakePolicy
    from tollgate.domain.cache.policy import CachePolicy
    from tollgate.domain.choice.policy import DeploymentRole
    from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
    from tollgate.domain.places.sleeping import SleepPolicy
    from tollgate.domain.providers.backend import TokenBackend
    from tollgate.domain.trimming.policy import InputBudget


def catalogue_document(catalogue: Catalogue) -> dict[str, Any]:
    """A catalogue as it is stored; `catalogue_from_document` reads it back."""
    document = {
        "version": catalogue.version,
        "region": catalogue.region,
        "gateway_prices": _plain(catalogue.gateway_prices),
        "models": {name: _model_document(model) for name, model in catalogue.models.items()},
        "budgets": [_budget_document(budget) for budget in catalogue.budgets],
        **_input_budgets_document(catalogue),
    }
    if catalogue.brakes is not None:
        from tollgate.adapters.documents.brakes import brakes_document  # noqa: PLC0415 -- few catalogues have them

        document["brakes"] = brakes_document(catalogue.brakes)
    return document


def _input_budgets_document(catalogue: Catalogue) -> dict[str, Any]:
    if not catalogue.input_budgets:
        return {}
    from tollgate.adapters.documents.choice import input_budget_document  # noqa: PLC0415 -- few catalogues have some

    return {"input_budgets": [input_budget_document(budget) for budget in catalogue.input_budgets]}


def _model_document(model: Model) -> dict[str, Any]:
    return _policies_document(model) | {
        "default_priority": model.default_priority.value,
        "fall_back_to_async": model.fall_back_to_async,
        "realtime_seconds_limit": model.realtime_seconds_limit,
        "description": model.description,
        "kind": model.kind.value,
        "batch": _plain(model.batch),
        "async": _plain(model.asynchronous),
        **_cache_document(model),
        "health": _plain(model.health),
        "deployments": [
            {
                "name": deployment.name,
                "tier": deployment.tier.value,
                "dialect": deployment.dialect,
                "weight": deployment.weight,
                "supports": sorted(deployment.supports),
                **_standing_document(deployment),
                **({} if deployment.micro_batch is None else {"micro_batch": _plain(deployment.micro_batch)}),
                "timing": _plain(deployment.timing),
                "roads": {road_type.value: _road_document(road) for road_type, road in deployment.roads.items()},
                **_sleep_document(deployment),
            }
            for deployment in model.deployments
        ],
    }


def _cache_document(model: Model) -> dict[str, Any]:
    if model.cache is None:
        return {}
    from tollgate.adapters.documents.cache_policy import cache_policy_document  # noqa: PLC0415 -- see `_cache`

    return {"cache": cache_policy_document(model.cache)}


def _cache(document: Mapping[str, Any] | None) -> "CachePolicy | None":
    if document is None:
        return None
    # Catalogues without a cache need not pay for the import.
    from tollgate.adapters.documents.cache_policy import cache_policy_of  # noqa: PLC0415 -- see above

    return cache_policy_of(document)


def _sleep_document(deployment: Deployment) -> dict[str, Any]:
    if deployment.sleep is None:
        return {}
    from tollgate.adapters.documents.sleep import sleep_document  # noqa: PLC0415 -- most catalogues do not sleep

    return {"sleep": sleep_document(deployment.sleep)}


def _sleep(document: Mapping[str, Any] | None) -> "SleepPolicy | None":
    if document is None:
        return None
    from tollgate.adapters.documents.sleep import sleep_from  # noqa: PLC0415 -- as above

    return sleep_from(document)


def _policies_document(model: Model) -> dict[str, Any]:
    """What only models with several sizes, or with trimming, have; older versions stay as they were written."""
    if model.choice is None and model.trimming is None:
        return {}
    from tollgate.adapters.documents.choice import choice_document, trimming_document  # noqa: PLC0415 -- see above

    found: dict[str, Any] = {}
    if model.choice is not None:
        found["choice"] = choice_document(model.choice)
    if model.trimming is not None:
        found["trimming"] = trimming_document(model.trimming)
    return found


def _standing_document(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if deployment.role is not None:
        found["role"] = deployment.role.value
    if deployment.expected_quality is not None:
        found["quality"] = deployment.expected_quality
    if deployment.resembles:
        found["resembles"] = deployment.resembles
    return found


def _budget_document(budget: Budget) -> dict[str, Any]:
    until = budget.raise_until
    return _plain(budget) | {
        "thresholds": [[str(t.at_percent), t.action.value] for t in budget.thresholds],
        "raise_until": None if until is None else until.isoformat(),
    }


def _budget(entry: Mapping[str, Any]) -> Budget:
    limit, until = entry["limit_usd"], entry["raise_until"]
    return Budget(
        **{
            **entry,
            "kind": ScopeKind(entry["kind"]),
            "period": BudgetPeriod(entry["period"]),
            "limit_usd": None if limit is None else Decimal(limit),
            "raise_usd": Decimal(entry["raise_usd"]),
            "raise_until": None if until is None else datetime.fromisoformat(until),
            "thresholds": tuple(Threshold(Decimal(at), BudgetAction(action)) for at, action in entry["thresholds"]),
        }
    )


def _plain(value: Any) -> dict[str, Any]:
    return {name: str(entry) if isinstance(entry, Decimal) else entry for name, entry in value._asdict().items()}


def catalogue_from_document(document: Mapping[str, Any]) -> Catalogue:
    """The catalogue of a stored document."""
    return Catalogue(
        version=int(document["version"]),
        region=document["region"],
        gateway_prices=GatewayPrices(**{name: Decimal(text) for name, text in document["gateway_prices"].items()}),
        models={name: _model(name, entry) for name, entry in document["models"].items()},
        # Versions from before there were budgets stay as they were written.
        budgets=tuple(_budget(entry) for entry in document.get("budgets", ())),
        brakes=_brakes(document.get("brakes")),
        input_budgets=_input_budgets(document.get("input_budgets", ())),
    )


def _input_budgets(entries: Sequence[Mapping[str, Any]]) -> "tuple[InputBudget, ...]":
    if not entries:
        return ()
    from tollgate.adapters.documents.choice import input_budget_from_document  # noqa: PLC0415 -- few catalogues have some

    return tuple(map(input_budget_from_document, entries))


def _policies(entry: Mapping[str, Any]) -> dict[str, Any]:
    if "choice" not in entry and "trimming" not in entry:
        return {}
    from tollgate.adapters.documents.choice import (  # noqa: PLC0415 -- few models have either
        choice_from_document,
        trimming_from_document,
    )

    found: dict[str, Any] = {}
    if "choice" in entry:
        found["choice"] = choice_from_document(entry["choice"])
    if "trimming" in entry:
        found["trimming"] = trimming_from_document(entry["trimming"])
    return found


def _role(name: str | None) -> "DeploymentRole | None":
    if name is None:
        return None
    from tollgate.domain.choice.policy import DeploymentRole  # noqa: PLC0415 -- only where something is tried out

    return DeploymentRole(name)


def _brakes(document: Mapping[str, Any] | None) -> "BrakePolicy | None":
    if document is None:
        return None
    from tollgate.adapters.documents.brakes import brakes_from_document  # noqa: PLC0415 -- few catalogues have them

    return brakes_from_document(document)


def _model(name: str, entry: Mapping[str, Any]) -> Model:
    return Model(
        name=name,
        default_priority=Priority(entry["default_priority"]),
        fall_back_to_async=entry["fall_back_to_async"],
        realtime_seconds_limit=float(entry["realtime_seconds_limit"]),
        description=entry["description"],
        # Versions stored before models had a kind take whatever they took then.
        kind=ModelKind(entry.get("kind", ModelKind.ANY)),
        cache=_cache(entry.get("cache")),
        batch=BatchPolicy(**entry["batch"]),
        asynchronous=AsyncPolicy(**entry["async"]),
        health=_health(entry.get("health")),
        **_policies(entry),
        deployments=tuple(
            Deployment(
                name=deployment["name"],
                model=name,
                tier=Tier(deployment["tier"]),
                dialect=deployment["dialect"],
                weight=deployment["weight"],
                supports=frozenset(deployment.get("supports", ())),
                role=_role(deployment.get("role")),
                expected_quality=None if deployment.get("quality") is None else float(deployment["quality"]),
                resembles=deployment.get("resembles", ""),
                micro_batch=_micro_batch(deployment.get("micro_batch")),
                timing=_timing(deployment["timing"]),
                roads={InferenceType(key): _road(road) for key, road in deployment["roads"].items()},
                sleep=_sleep(deployment.get("sleep")),
            )
            for deployment in entry["deployments"]
        ),
    )


def _health(entry: Mapping[str, Any] | None) -> HealthPolicy:
    if entry is None:
        return DEFAULT_HEALTH
    numbers = {name: float(entry[name]) for name in ("error_percent", "slow_percent", "open_seconds")}
    slow = entry["slow_seconds"]
    return HealthPolicy(
        fallback=tuple(entry["fallback"]),
        least_calls=int(entry["least_calls"]),
        slow_seconds=None if slow is None else float(slow),
        **numbers,
    )


def _micro_batch(entry: Mapping[str, Any] | None) -> "MicroBatchPolicy | None":
    if entry is None:
        return None
    from tollgate.domain.jobs.micro_batches import MicroBatchPolicy  # noqa: PLC0415 -- few deployments have it

    return MicroBatchPolicy(int(entry["max_requests"]), int(entry["max_bytes"]), float(entry["max_seconds"]))


def _timing(entry: Mapping[str, Any]) -> Timing:
    return Timing(
        base_seconds=float(entry["base_seconds"]),
        seconds_per_input_token=float(entry["seconds_per_input_token"]),
        seconds_per_output_token=float(entry["seconds_per_output_token"]),
        expected_output_tokens=int(entry["expected_output_tokens"]),
    )


def _road_document(road: Road) -> dict[str, Any]:
    document = _plain(road)
    # Roads without these stay readable for gateways that do not know them.
    if not road.openai_route:
        del document["openai_route"]
    del document["tokens"]
    if road.tokens is not None:
        from tollgate.adapters.documents.token_backend import token_backend_document  # noqa: PLC0415 -- see `_tokens`

        document["tokens"] = token_backend_document(road.tokens)
    return document


def _tokens(entry: Mapping[str, Any]) -> "dict[str, TokenBackend]":
    if "tokens" not in entry:
        return {}
    # Most roads lead to SageMaker, and need not pay for the import.
    from tollgate.adapters.documents.token_backend import token_backend_from_document  # noqa: PLC0415 -- see above

    return {"tokens": token_backend_from_document(entry["tokens"])}


def _road(entry: Mapping[str, Any]) -> Road:
    amounts = {name: None if entry[name] is None else Decimal(entry[name]) for name in ("usd_per_hour", "ceiling_usd")}
    return Road(
        **{
            **entry,
            **amounts,
            **_tokens(entry),
            "inference_type": InferenceType(entry["inference_type"]),
            "utilisation": Decimal(entry["utilisation"]),
            "startup_seconds": float(entry["startup_seconds"]),
        }
    )
