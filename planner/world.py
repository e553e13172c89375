"""What the planner assumes of the world: an instance, its price, its start-up, and the gateway's own prices."""

import json
from array import array
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from copy import replace
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.resources import files

from planner.trace import Trace
from tollgate.domain.catalogue import BatchPolicy, Deployment, InferenceType, Model, Road, Tier, Timing
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.errors import PriceUnknownError
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS

_MODEL, _ON_INSTANCES = "planned", "main"
_TOKEN_ROADS = (InferenceType.REALTIME, InferenceType.ASYNC)
USED_WHEN_ALWAYS_UP = Decimal("0.27")
"""`utilisation` of an endpoint that is never turned off: the share of hours in which the public traces have traffic."""
_ANY_LENGTH = 1_000_000
_RELEARN, _REMEMBERED = 200, 2_000


def price_book() -> PriceBook:
    """The price book that the gateway ships."""
    return PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))


@dataclass(frozen=True, slots=True)
class World:
    """One kind of instance that can serve every request of the trace, reached by three roads.

    All of an instance's start-up is billed, on endpoints and in transform jobs.

    Attributes:
        usd_per_hour: of one instance, on every road (asynchronous and batch hours cost what hosting costs).
        prices: of the gateway's own parts.
        timing: seconds that a request holds one of the instance's places, measured at full concurrency.
        concurrency: places of one instance.
        endpoint_startup: seconds from the decision to start an instance of an endpoint to its first answer.
        job_startup: seconds from the creation of a transform job to its first record.
        largest: most instances of an endpoint.
        dispatch_seconds: how often the gateway looks whether waiting batch requests are due (`template.yaml`).
        tokens: dollars per million tokens of a backend that could answer every request as well; None without one.
        token_model: its id at the provider, as the price book has it.
        token_timing: seconds that a request takes there.
        lengths_known: whether the gateway knows how long an answer gets, as from a caller's limit. Without, it plans
            each request with what all but one in a hundred of the last ones took.
        margin_seconds: left before every deadline by an endpoint that wakes for it, if it is looked at all the time.
        rhythm: whether such an endpoint is looked at as the deployed capacity function does; without, all the time.
        together: asynchronous requests that share an invocation (micro-batching); their fixed time is in `timing`.
    """

    usd_per_hour: Decimal
    prices: GatewayPrices
    timing: Timing = field(default_factory=lambda: Timing(0.2, 0.0001, 0.02))
    concurrency: int = 16
    endpoint_startup: float = 300.0
    job_startup: float = 240.0
    largest: int = 8
    dispatch_seconds: float = 60.0
    tokens: BucketRates | None = None
    token_model: str = ""
    token_timing: Timing = field(default_factory=lambda: Timing(0.5, 0.0, 0.01))
    lengths_known: bool = True
    margin_seconds: float = 10.0
    rhythm: bool = True
    together: int = 1

    @classmethod
    def of(cls, instance_type: str, region: str = "us-east-1", book: PriceBook | None = None) -> "World":
        """A world of this instance at list price, everything else at its default.

        Raises:
            PriceUnknownError: the price book does not have the instance.
        """
        book = book or price_book()
        price = book.instance_hour(region, instance_type)
        if price is None:
            raise PriceUnknownError(f"The price book has no hour of {instance_type} in {region}.")
        prices = book.gateway_prices(region, architecture="arm64", instead="us-east-1")
        return cls(usd_per_hour=price.usd, prices=prices)

    def held(self, trace: Trace) -> "array[float]":
        """Seconds that each request holds its place: its own duration where the trace tells, else by its tokens."""
        base = self.timing.base_seconds
        per_input, per_output = self.timing.seconds_per_input_token, self.timing.seconds_per_output_token
        return array(
            "d",
            [
                duration if duration >= 0 else base + per_input * read + per_output * written
                for duration, read, written in zip(
                    trace.durations, trace.input_tokens, trace.output_tokens, strict=True
                )
            ],
        )

    def expected(self, held: "array[float]") -> "array[float]":
        """Seconds that the gateway plans each request with, before it runs."""
        if self.lengths_known:
            return held
        planned, longest = array("d"), max(self.timing.base_seconds, 1.0)
        for position in range(len(held)):
            if position % _RELEARN == 0 and position:
                seen = sorted(held[max(0, position - _REMEMBERED) : position])
                longest = seen[len(seen) * 99 // 100]
            planned.append(longest)
        return planned

    @property
    def usd_per_second(self) -> float:
        """Of one instance."""
        return float(self.usd_per_hour) / 3600.0

    def token_dollars(self, trace: Trace) -> "array[float]":
        """What each request would cost by the token; empty without such a backend."""
        if self.tokens is None:
            return array("d")
        read, written = float(self.tokens.input) / 1e6, float(self.tokens.output) / 1e6
        return array(
            "d", [i * read + o * written for i, o in zip(trace.input_tokens, trace.output_tokens, strict=True)]
        )

    def token_seconds(self, trace: Trace) -> "array[float]":
        """How long each request would take at that backend."""
        expected = self.token_timing.expected_seconds
        return array("d", map(expected, trace.input_tokens, trace.output_tokens))

    def possible(self, trace: Trace, held: "array[float]") -> bytearray:
        """1 for each request that is in time if it is begun as it comes, on some road; no design helps the others."""
        there = self.token_seconds(trace) if self.tokens is not None else held
        return bytearray(
            own <= deadline or other <= min(deadline, TOKEN_JOB_SECONDS)
            for own, other, deadline in zip(held, there, trace.deadlines, strict=True)
        )

    def model(
        self,
        batch: BatchPolicy,
        open_roads: AbstractSet[InferenceType] = frozenset(InferenceType),
        *,
        used: Decimal = Decimal("0.8"),
        by_token: bool = False,
        duration: float | None = None,
    ) -> Model:
        """The catalogue entry that the router sees, with the loads that `models.toml` gives its example.

        Args:
            batch: when waiting batch requests leave.
            open_roads: of the deployment on instances, which is not there without any.
            used: utilisation of the asynchronous road.
            by_token: whether there is also the deployment that is paid by the token.
            duration: seconds that the request holds a place, where the trace tells them.
        """
        deployments: list[Deployment] = []
        if open_roads:
            timing = self.timing if duration is None else Timing(duration, 0.0, 0.0)
            deployments.append(self._deployment(_ON_INSTANCES, timing, self._roads(open_roads, used)))
        if by_token and self.tokens is not None:
            backend = TokenBackend(Provider.BEDROCK, self.tokens, _ANY_LENGTH)
            roads = {kind: Road(kind, "planned", "", None, tokens=backend) for kind in _TOKEN_ROADS}
            deployments.append(self._deployment("provider", self.token_timing, roads))
        return Model(name=_MODEL, deployments=tuple(deployments), batch=batch)

    def _roads(self, open_roads: AbstractSet[InferenceType], used: Decimal) -> Mapping[InferenceType, Road]:
        common = Road(
            inference_type=InferenceType.REALTIME,
            target="planned",
            instance_type="planned",
            usd_per_hour=self.usd_per_hour,
            concurrency=self.concurrency,
            startup_seconds=self.endpoint_startup,
        )
        roads = {
            InferenceType.REALTIME: replace(common, utilisation=USED_WHEN_ALWAYS_UP),
            InferenceType.ASYNC: replace(common, inference_type=InferenceType.ASYNC, utilisation=used),
            InferenceType.BATCH: replace(common, inference_type=InferenceType.BATCH, startup_seconds=self.job_startup),
        }
        return {name: road for name, road in roads.items() if name in open_roads}

    @staticmethod
    def _deployment(name: str, timing: Timing, roads: Mapping[InferenceType, Road]) -> Deployment:
        return Deployment(name=name, model=_MODEL, tier=Tier.SMALL, dialect="messages", timing=timing, roads=roads)

    @property
    def resource(self) -> str:
        """Name of the deployment on instances, as capacity is looked up by."""
        return f"{_MODEL}/{_ON_INSTANCES}"
