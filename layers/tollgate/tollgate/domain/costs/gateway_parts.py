"""The AWS operations of the gateway itself on each road, and what they cost.

Needed before a request runs, and afterwards for the steps that no single function sees: the pollers, the notifications
and the functions further down the road. A test counts the operations of the running system against these figures.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.pricing import GatewayPrices, GatewayUsage, gateway_cost, stream_cost
from tollgate.domain.money import seconds, usd

_GB = Decimal("0.25")
_REALTIME_OVERHEAD_SECONDS = 0.01
_REJECTION_SECONDS = Decimal("0.005")

INLINE_INPUT_BYTES = 8_192
"""Larger inputs of jobs go to the bucket. Every change of a job's state rewrites its record, at a write unit per KB,
and an object costs as much as eight of those."""

LOG_BYTES_PER_STEP = Decimal(1_500)
"""One canonical line and one metric record."""

AUTHORIZER = GatewayUsage(
    lambda_requests=Decimal(1), lambda_gb_seconds=_GB * Decimal("0.002"), table_read_units=Decimal("0.01")
)
"""Keys are remembered for a minute by each execution environment, so few calls read the table."""

_REALTIME = GatewayUsage(api_requests=Decimal(1), lambda_requests=Decimal(1), log_bytes=LOG_BYTES_PER_STEP)

_ASYNC_JOB = GatewayUsage(
    lambda_gb_seconds=_GB * Decimal("0.04"),
    table_read_units=Decimal(2),
    table_write_units=Decimal(4),
    log_bytes=LOG_BYTES_PER_STEP,
)
"""What async_submit and async_completion do for each job, however many share an invocation."""

_MESSAGES_IN_AN_EVENT = 10
_QUEUE_EVENT = GatewayUsage(lambda_requests=Decimal(1), queue_requests=Decimal(3))
"""One event of async_submit: its messages are received and deleted together."""

_ASYNC_INVOCATION = GatewayUsage(
    lambda_requests=Decimal(1),
    lambda_gb_seconds=_GB * Decimal("0.02"),
    topic_requests=Decimal(1),
    bucket_gets=Decimal(1),
    bucket_puts=Decimal(1),
    log_bytes=LOG_BYTES_PER_STEP,
)
"""One invocation: SageMaker's output object, the notification, and the event of async_completion."""

_TOKEN_JOB = GatewayUsage(
    lambda_requests=Decimal(1),
    lambda_gb_seconds=_GB * Decimal("0.04"),
    table_read_units=Decimal(1),
    table_write_units=Decimal(4),
    queue_requests=Decimal(4),
)
"""What a job adds if it runs at a provider paid by the token: its message goes on to the function that waits for
answers, which notes that it begins."""

_HANDED_ON = GatewayUsage(table_write_units=Decimal(8), queue_requests=Decimal(3))
"""What a job adds if it waited for company first: it is written again with its index entries, in a transaction with
what is held for it, and has another message."""

_MEMBER_LIST = GatewayUsage(bucket_puts=Decimal(1), bucket_gets=Decimal(1))
"""The list of the jobs that share an invocation."""

_BATCH_DOWNSTREAM = GatewayUsage(
    lambda_requests=Decimal("0.05"),
    lambda_gb_seconds=_GB * Decimal("0.03"),
    table_read_units=Decimal(2),
    table_write_units=Decimal(4),
    queue_requests=Decimal("0.3"),
    bucket_gets=Decimal("0.05"),
    bucket_puts=Decimal("0.05"),
    log_bytes=LOG_BYTES_PER_STEP,
)
"""Shares of batch_dispatch and batch_completion, which handle many records each."""

_ENQUEUE = GatewayUsage(
    api_requests=Decimal(1),
    lambda_requests=Decimal(1),
    lambda_gb_seconds=_GB * Decimal("0.02"),
    table_write_units=Decimal(3),
    queue_requests=Decimal(1),
    log_bytes=LOG_BYTES_PER_STEP,
)
"""The gateway's own part of an accepted job: record (with its two index entries) and queue message."""


def road_usage(inference_type: InferenceType) -> GatewayUsage:
    """All operations of a request on this road, the authorizer included, without what grows with time or size."""
    match inference_type:
        case InferenceType.REALTIME:
            return AUTHORIZER + _REALTIME
        case InferenceType.ASYNC:
            return AUTHORIZER + _ENQUEUE + _ASYNC_JOB + invocation_usage(1)
        case InferenceType.BATCH:
            return AUTHORIZER + _ENQUEUE + _BATCH_DOWNSTREAM


def invocation_usage(members: int) -> GatewayUsage:
    """Operations of one asynchronous invocation that this many jobs share.

    Queue events hold ten messages or more, and jobs of one invocation come from one event.
    """
    event = _QUEUE_EVENT.times(min(Decimal(1), Decimal(members) / _MESSAGES_IN_AN_EVENT))
    usage = _ASYNC_INVOCATION + event
    return usage if members == 1 else usage + _MEMBER_LIST


_STORED_INPUT = GatewayUsage(bucket_puts=Decimal(1), bucket_gets=Decimal(1))
_REJECTED = AUTHORIZER + _REALTIME + GatewayUsage(lambda_gb_seconds=_GB * _REJECTION_SECONDS)


HIT_SECONDS = Decimal("0.01")


def hit_usage() -> GatewayUsage:
    """All operations of a request that is answered from the cache: one read of an entry of up to 4 KB, no write."""
    own = GatewayUsage(lambda_gb_seconds=_GB * HIT_SECONDS, table_read_units=Decimal("0.5"))
    return AUTHORIZER + _REALTIME + own


class GatewayRates(NamedTuple):
    """Dollars of the gateway's own work, added up once for each set of prices; the hot path only looks them up."""

    by_road: Mapping[InferenceType, Decimal]
    stored_input: Decimal
    rejected: Decimal
    token_job: Decimal
    lambda_gb_second: Decimal
    table_write_unit: Decimal
    prices: GatewayPrices

    def realtime(self, lambda_gb_seconds: Decimal, sent_bytes: int = 0) -> Decimal:
        """Dollars of a request that was answered at once, with the gateway function's own time.

        Args:
            lambda_gb_seconds: the function's.
            sent_bytes: of the answer, where it was sent while it was made.
        """
        own = self.by_road[InferenceType.REALTIME] + lambda_gb_seconds * self.lambda_gb_second
        return usd(own + stream_cost(sent_bytes, self.prices) if sent_bytes else own)

    def expected(self, inference_type: InferenceType, body_bytes: int, held_seconds: float) -> Decimal:
        """Dollars of the gateway's parts for a request of this size on this road."""
        if inference_type is InferenceType.REALTIME:
            return self.realtime(_GB * seconds(held_seconds + _REALTIME_OVERHEAD_SECONDS))
        fixed = self.by_road[inference_type]
        return fixed + self.stored_input if body_bytes > INLINE_INPUT_BYTES else fixed

    def waiting(self, held_seconds: float) -> Decimal:
        """Dollars of the function that runs a job at a provider paid by the token: its event, and its wait for it."""
        return usd(self.token_job + _GB * seconds(held_seconds) * self.lambda_gb_second)

    def handed_on(self) -> Decimal:
        """Dollars of handing a job that gathered on to a provider paid by the token."""
        return gateway_cost(_HANDED_ON, self.prices)

    def invocation(self, members: int) -> Decimal:
        """Dollars of the parts that an asynchronous invocation of so many jobs has once, for all of them together."""
        return gateway_cost(invocation_usage(members), self.prices)


@lru_cache(maxsize=8)
def gateway_rates(prices: GatewayPrices) -> GatewayRates:
    """The rates under these prices."""
    return GatewayRates(
        by_road={road: gateway_cost(road_usage(road), prices) for road in InferenceType},
        stored_input=gateway_cost(_STORED_INPUT, prices),
        rejected=gateway_cost(_REJECTED, prices),
        token_job=gateway_cost(_TOKEN_JOB, prices),
        lambda_gb_second=prices.lambda_gb_second,
        table_write_unit=prices.table_write_unit,
        prices=prices,
    )


def drop_usage(files: int) -> GatewayUsage:
    """Operations of a dropped file that was cut into `files` input files: read twice, written once, and the results."""
    return GatewayUsage(
        lambda_requests=Decimal(3),
        lambda_gb_seconds=_GB * seconds(0.1 * files + 1),
        table_read_units=Decimal(4),
        table_write_units=Decimal(4),
        bucket_puts=Decimal(files + 3),
        bucket_gets=Decimal(2 * files + 2),
        log_bytes=LOG_BYTES_PER_STEP,
    )
