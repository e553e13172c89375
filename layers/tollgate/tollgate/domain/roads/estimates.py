"""How long each road would take for a request, what it would cost, and what rules it out."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road, Timing
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.costs.pricing import GatewayPrices, instance_cost
from tollgate.domain.money import seconds, usd
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState

if TYPE_CHECKING:
    from tollgate.domain.providers.backend import TokenBackend

REALTIME_BODY_LIMIT = 6_291_456
"""Bytes. https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""

ASYNC_BODY_LIMIT = 1_073_741_824
"""Bytes. https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html"""

ASYNC_OVERHEAD_SECONDS = 1.0
"""What queue, submission and notification add to an asynchronous request."""

TOKEN_JOB_SECONDS = 60.0
"""How long a job's call to a provider paid by the token may take, since a function waits for its answer."""

BATCH_RECORD_LIMIT = 104_857_600
"""Bytes, the largest MaxPayloadInMB of a transform job."""

_BODY_LIMITS: Mapping[InferenceType, int] = {
    InferenceType.REALTIME: REALTIME_BODY_LIMIT,
    InferenceType.ASYNC: ASYNC_BODY_LIMIT,
    InferenceType.BATCH: BATCH_RECORD_LIMIT,
}


class Blocker(StrEnum):
    """Why a road cannot carry a request."""

    ABSENT = "not_in_catalogue"
    BODY = "body_too_large"
    DURATION = "expected_too_long"
    ASLEEP = "asleep"
    BROKEN = "broken"


class RoadEstimate(NamedTuple):
    """One road for one request.

    Attributes:
        expected_seconds: from now to the answer, waiting included.
        held_seconds: for which the request holds its place on an instance.
        estimated_cost: dollars, as they will be on the cost record; None if the price is unknown.
        loaded_cost: dollars with a share of the road's idle and start-up time; roads are compared by this.
        blocker: why the road is ruled out, or None.
        wakes: whether the road sleeps and a request wakes it; the time until then is part of `expected_seconds`.
    """

    inference_type: InferenceType
    expected_seconds: float
    held_seconds: float
    estimated_cost: Decimal | None
    loaded_cost: Decimal | None
    blocker: Blocker | None = None
    wakes: bool = False


class RequestSize(NamedTuple):
    """How big a request is.

    Attributes:
        body_bytes: of the body that the model container will get.
        input_tokens: an estimate; 0 for models that do not work in tokens.
        output_tokens: the caller's own limit; None for what is usual for the deployment.
    """

    body_bytes: int
    input_tokens: int = 0
    output_tokens: int | None = None


_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")

MOST_OUTPUT_TOKENS = 1_000_000
"""The highest limit that is counted with, and the highest that OpenAI's routes take: no model makes more."""


def output_limit(parameters: Mapping[str, Any], value: Any = None) -> int | None:
    """The caller's own limit on output tokens; None without one.

    Of several limits the highest counts, for it is the container that decides which name it knows.

    Args:
        parameters: of the request.
        value: its input, which may be a body of the container's own, with limits of its own.
    """
    places = [parameters]
    if isinstance(value, dict):
        places += [place for place in (value, value.get("parameters")) if isinstance(place, dict)]
    limits = [limit for place in places for name in _OUTPUT_LIMITS if (limit := place.get(name)) is not None]
    known = [limit for limit in limits if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0]
    return min(max(known), MOST_OUTPUT_TOKENS) if known else None


_MOST_CHOICES = 128


def choices_made(parameters: Mapping[str, Any]) -> int:
    """How many answers a container makes for one request: `n`, or `best_of`, of which it gives back `n`."""
    counts = [count for name in ("n", "best_of") if type(count := parameters.get(name)) is int]
    return max(1, min(_MOST_CHOICES, max(counts, default=1)))


class RoadEstimates:
    """Time, cost and blocker of each road of a deployment for one request, worked out when they are asked for.

    Most requests name their road and need no figures of the others. Iterating gives all of them, quickest first.
    """

    __slots__ = ("_capacity", "_deployment", "_known", "_model", "_prices", "_size")

    def __init__(
        self, size: RequestSize, model: Model, deployment: Deployment, capacity: Capacity, prices: GatewayPrices
    ) -> None:
        self._size = size
        self._model = model
        self._deployment = deployment
        self._capacity = capacity
        self._prices = prices
        self._known: dict[InferenceType, RoadEstimate] = {}

    def __iter__(self) -> Iterator[RoadEstimate]:
        return (self[t] for t in InferenceType if t in self._deployment.roads)

    def __getitem__(self, inference_type: InferenceType) -> RoadEstimate:
        found = self.get(inference_type)
        if found is None:
            raise KeyError(inference_type)
        return found

    def get(self, inference_type: InferenceType) -> RoadEstimate | None:
        """The estimate of one road, None if the deployment does not have it."""
        found = self._known.get(inference_type)
        road = self._deployment.roads.get(inference_type)
        if found is None and road is not None:
            found = self._known[inference_type] = _estimate(
                self._size,
                self._model,
                road,
                timing=self._deployment.timing,
                observed=self._capacity.of(self._deployment.resource, inference_type),
                prices=self._prices,
                sleeps=self._deployment.sleep is not None,
            )
        return found

    def carries_later(self, inference_type: InferenceType) -> bool:
        """Whether a road other than the real-time one could carry the request at a known price.

        Every real-time request asks this, so it is answered without working out the road's figures.
        """
        road = self._deployment.roads.get(inference_type)
        if road is None or (road.usd_per_hour is None and road.ceiling_usd is None and road.tokens is None):
            return False
        observed = self._capacity.of(self._deployment.resource, inference_type)
        return _blocker(self._size.body_bytes, 0.0, road, observed, self._model.realtime_seconds_limit) is None


def _estimate(
    size: RequestSize,
    model: Model,
    road: Road,
    *,
    timing: Timing,
    observed: RoadCapacity,
    prices: GatewayPrices,
    sleeps: bool,
) -> RoadEstimate:
    if road.tokens is not None and size.output_tokens is not None:
        size = size._replace(output_tokens=min(size.output_tokens, road.tokens.max_output_tokens))
    held = observed.measured_seconds
    if held is None or size.output_tokens is not None:
        held = timing.expected_seconds(size.input_tokens, size.output_tokens)
    waiting = _waiting_seconds(road, model, observed, held)
    cost = _instance_share(road, held) if road.tokens is None else _by_tokens(road.tokens, size, timing)
    own = gateway_rates(prices).expected(road.inference_type, size.body_bytes, held)
    startup_share = Decimal(0)
    if road.inference_type is InferenceType.BATCH and road.usd_per_hour is not None:
        startup = seconds(road.startup_seconds) / model.batch.max_records
        startup_share = instance_cost(startup, road.usd_per_hour, 1) * road.instance_count
    if road.tokens is not None and road.inference_type is InferenceType.ASYNC:
        own += gateway_rates(prices).waiting(held)
    return RoadEstimate(
        inference_type=road.inference_type,
        expected_seconds=waiting + held,
        held_seconds=held,
        estimated_cost=None if cost is None else usd(cost + own),
        loaded_cost=None if cost is None else usd(cost / road.utilisation + startup_share + own),
        blocker=_blocker(size.body_bytes, held, road, observed, model.realtime_seconds_limit),
        wakes=sleeps and observed.state is RoadState.ASLEEP,
    )


def _by_tokens(backend: "TokenBackend", size: RequestSize, timing: Timing) -> Decimal:
    # Few roads are paid by the token.
    from tollgate.domain.providers.charges import expected_token_cost  # noqa: PLC0415 -- see above

    made = timing.expected_output_tokens if size.output_tokens is None else size.output_tokens
    return expected_token_cost(backend, size.input_tokens, min(made, backend.max_output_tokens))


def _instance_share(road: Road, held: float) -> Decimal | None:
    if road.usd_per_hour is None:
        return road.ceiling_usd
    return instance_cost(seconds(held), road.usd_per_hour, road.concurrency)


def _waiting_seconds(road: Road, model: Model, observed: RoadCapacity, held: float) -> float:
    """Expected seconds until the request gets its place: start-up, the backlog before it, and the road's own delays."""
    instances = road.instance_count if observed.instances is None else observed.instances
    places = max(1, instances) * road.concurrency
    backlog = observed.backlog * held / places
    match road.inference_type:
        case InferenceType.REALTIME:
            return road.startup_seconds if observed.state is RoadState.ASLEEP else 0.0
        case InferenceType.ASYNC:
            asleep = observed.state is RoadState.ASLEEP or instances == 0
            return ASYNC_OVERHEAD_SECONDS + backlog + (road.startup_seconds if asleep else 0.0)
        case InferenceType.BATCH:
            return model.batch.max_age_seconds + road.startup_seconds + backlog


def _blocker(
    body_bytes: int, held: float, road: Road, observed: RoadCapacity, realtime_seconds_limit: float
) -> Blocker | None:
    if body_bytes > _BODY_LIMITS[road.inference_type]:
        return Blocker.BODY
    if observed.state is RoadState.BROKEN:
        return Blocker.BROKEN
    if road.tokens is not None and held > TOKEN_JOB_SECONDS:
        return Blocker.DURATION
    if road.inference_type is InferenceType.REALTIME:
        if held > realtime_seconds_limit:
            return Blocker.DURATION
        if observed.state is RoadState.ASLEEP:
            return Blocker.ASLEEP
    return None
