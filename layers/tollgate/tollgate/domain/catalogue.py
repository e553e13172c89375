"""What the owner offers: models, the deployments behind them, and the roads that reach each deployment.

The classes hold a catalogue that has been checked. Reading and checking `models.toml` is `tollgate.api.catalogue_file`;
the stored form is `tollgate.adapters.documents.catalogue`.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.budgets.budget import Budget
from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.errors import UnknownModelError
from tollgate.domain.roads.health import DEFAULT_HEALTH, HealthPolicy

if TYPE_CHECKING:
    # Most catalogues have none of these, and need not pay for the imports.
    from tollgate.domain.brakes.level import BrakePolicy
    from tollgate.domain.cache.policy import CachePolicy
    from tollgate.domain.choice.policy import ChoicePolicy, DeploymentRole
    from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
    from tollgate.domain.places.sleeping import SleepPolicy
    from tollgate.domain.providers.backend import TokenBackend
    from tollgate.domain.trimming.policy import InputBudget, TrimmingPolicy


class InferenceType(StrEnum):
    """The three roads, dearest and quickest first."""

    REALTIME = "realtime"
    ASYNC = "async"
    BATCH = "batch"


class Priority(StrEnum):
    """How urgent the caller says a request is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


ROAD_OF_PRIORITY: Mapping[Priority, InferenceType] = {
    Priority.HIGH: InferenceType.REALTIME,
    Priority.MEDIUM: InferenceType.ASYNC,
    Priority.LOW: InferenceType.BATCH,
}


class Tier(StrEnum):
    """Size class of the model behind a deployment."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class ModelKind(StrEnum):
    """What a model is for, as far as OpenAI's routes tell models apart.

    `CUSTOM` is reached through ``/v1/inferences`` only; `ANY` takes whatever its containers understand.
    """

    CHAT = "chat"
    EMBEDDING = "embedding"
    CUSTOM = "custom"
    ANY = "any"


TIER_ORDER: Mapping[Tier, int] = {Tier.SMALL: 0, Tier.MEDIUM: 1, Tier.LARGE: 2}


class Timing(NamedTuple):
    """Expected seconds that one request holds its place on an instance; measured values replace it at run time."""

    base_seconds: float
    seconds_per_input_token: float = 0.0
    seconds_per_output_token: float = 0.0
    expected_output_tokens: int = 0

    def expected_seconds(self, input_tokens: int, output_tokens: int | None = None) -> float:
        """Linear model: a fixed part, prefill and decode."""
        produced = self.expected_output_tokens if output_tokens is None else output_tokens
        return (
            self.base_seconds + self.seconds_per_input_token * input_tokens + self.seconds_per_output_token * produced
        )


class Road(NamedTuple):
    """How one deployment is reached by one inference type.

    Attributes:
        target: endpoint name; for batch the name of the SageMaker Model that transform jobs use; with `tokens` the
            provider's id of the model.
        instance_count: instances that are expected to share the work.
        concurrency: requests that one instance serves at the same time.
        usd_per_hour: list price of one instance hour; None where it is not known.
        startup_seconds: until the first answer when nothing runs yet (an endpoint at zero, a new transform job).
        utilisation: share of the paid instance time that serves requests, 0 < u <= 1. Below 1 for an endpoint that is
            kept up whether or not requests come.
        ceiling_usd: charged for one request when usd_per_hour is unknown; None refuses such requests.
        openai_route: whether the endpoint is called on SageMaker's `/openai` route instead of `/invocations`.
        tokens: the provider that is paid by the token; None for SageMaker. With it there is no instance: no type, no
            price of an hour, nothing to start.
    """

    inference_type: InferenceType
    target: str
    instance_type: str
    usd_per_hour: Decimal | None
    instance_count: int = 1
    concurrency: int = 1
    startup_seconds: float = 0.0
    utilisation: Decimal = Decimal(1)
    ceiling_usd: Decimal | None = None
    target_model: str | None = None
    target_variant: str | None = None
    inference_component: str | None = None
    openai_route: bool = False
    tokens: "TokenBackend | None" = None


class BatchPolicy(NamedTuple):
    """When waiting batch requests leave, and how they are packed.

    Attributes:
        max_records: leave as soon as this many wait; also the most that one transform job carries.
        max_age_seconds: leave when the oldest has waited this long.
        records_per_file: records in one input file. SageMaker drops the whole output of a file with one bad record, so
            a smaller number isolates failures sooner; failed files are run again one record a file.
    """

    max_records: int = 500
    max_age_seconds: int = 300
    records_per_file: int = 50


class AsyncPolicy(NamedTuple):
    """Limits of the asynchronous road.

    Attributes:
        request_ttl_seconds: how long SageMaker keeps a request that no instance took (60..21,600).
        invocation_timeout_seconds: how long the container may work on it (1..3,600).
    """

    request_ttl_seconds: int = 21_600
    invocation_timeout_seconds: int = 900


class Deployment(NamedTuple):
    """One backend that serves a model: a container dialect, a size, and up to three roads to it.

    Attributes:
        supports: OpenAI's request parameters that the container understands beyond the basic ones.
        sleep: when what serves it may be put to sleep; None for never.
        role: what it is tried out for; None is a champion.
        expected_quality: its mean quality by the owner's own measurements, 0..1, until its records tell.
        resembles: the known model that it behaves like, see `tollgate.domain.choice.model_choice`; empty for none.
        micro_batch: how many waiting requests may go in one asynchronous invocation; None for one each.
    """

    name: str
    model: str
    tier: Tier
    dialect: str
    timing: Timing
    roads: Mapping[InferenceType, Road]
    weight: int = 1
    supports: frozenset[str] = frozenset()
    sleep: "SleepPolicy | None" = None
    role: "DeploymentRole | None" = None
    expected_quality: float | None = None
    resembles: str = ""
    micro_batch: "MicroBatchPolicy | None" = None

    @property
    def resource(self) -> str:
        """Name in logs, metrics and answers: ``model/deployment``."""
        return f"{self.model}/{self.name}"

    @property
    def tokens(self) -> "TokenBackend | None":
        """The provider that all its roads lead to, where it is paid by the token."""
        return next(iter(self.roads.values())).tokens if self.roads else None


class Model(NamedTuple):
    """What clients ask for.

    Attributes:
        fall_back_to_async: whether a real-time request may be accepted for later when there is no capacity for it.
        realtime_seconds_limit: requests expected to hold an instance longer never go real-time. SageMaker's own limit
            is 60 s; API Gateway answers within 29 s unless the account's quota was raised.
        cache: how its answers are given again; None never does.
        choice: how one of several tiers is chosen; None leaves it to the deployments' weights.
        trimming: what is trimmed without being asked; None for nothing.
    """

    name: str
    deployments: tuple[Deployment, ...]
    default_priority: Priority = Priority.MEDIUM
    fall_back_to_async: bool = True
    realtime_seconds_limit: float = 28.0
    batch: BatchPolicy = BatchPolicy()
    asynchronous: AsyncPolicy = AsyncPolicy()
    description: str = ""
    kind: ModelKind = ModelKind.ANY
    cache: "CachePolicy | None" = None
    health: HealthPolicy = DEFAULT_HEALTH
    choice: "ChoicePolicy | None" = None
    trimming: "TrimmingPolicy | None" = None

    def deployment(self, name: str) -> Deployment | None:
        """The deployment of that name, or None when a later catalogue dropped it."""
        return next((d for d in self.deployments if d.name == name), None)

    def way(self, deployment: str, inference_type: InferenceType) -> "Way | None":
        """The way over a deployment of that name, or None when a later catalogue dropped it or its road."""
        found = self.deployment(deployment)
        road = None if found is None else found.roads.get(inference_type)
        return None if found is None or road is None else Way(self, found, road)

    @property
    def baseline_deployment(self) -> Deployment | None:
        """The largest deployment with a real-time road: what a team without a gateway keeps up day and night."""
        always_up = (d for d in self.deployments if InferenceType.REALTIME in d.roads and d.role != "shadow")
        return max(always_up, key=lambda d: TIER_ORDER[d.tier], default=None)


class Way(NamedTuple):
    """How a request reaches what serves it: one of a model's deployments, by one of its roads."""

    model: Model
    deployment: Deployment
    road: Road


class Catalogue(NamedTuple):
    """An immutable, numbered version of everything on offer, with the prices it was applied with.

    Attributes:
        seal: a secret of the stack, with which ids of inferences are marked. It is the same for all versions, and no
            part of a stored one.
    """

    version: int
    region: str
    models: Mapping[str, Model]
    gateway_prices: GatewayPrices
    budgets: tuple[Budget, ...] = ()
    brakes: "BrakePolicy | None" = None
    input_budgets: "tuple[InputBudget, ...]" = ()
    seal: str = ""

    def model(self, name: str) -> Model:
        """The model of that name.

        Raises:
            UnknownModelError: with the names that are known.
        """
        found = self.models.get(name)
        if found is None:
            raise UnknownModelError(name, list(self.models))
        return found

    def way(self, resource: str, inference_type: InferenceType) -> Way | None:
        """The way over the deployment that is named ``model/deployment``; None when there is none any more."""
        name, _, deployment = resource.partition("/")
        model = self.models.get(name)
        return None if model is None else model.way(deployment, inference_type)
