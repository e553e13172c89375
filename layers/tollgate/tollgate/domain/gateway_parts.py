"""The gateway's own AWS operations on each road, as the code of the functions performs them.

Used before a request runs, and afterwards for the steps that a single function cannot see: the pollers, the
notifications and the functions further down the road. A test counts the operations of the running system against these
figures.
"""

from decimal import Decimal

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.money import seconds
from tollgate.domain.pricing import GatewayUsage

_GB = Decimal("0.25")
_INLINE_LIMIT = 200_000
_REALTIME_OVERHEAD_SECONDS = 0.01
_REJECTION_SECONDS = Decimal("0.005")

LOG_BYTES_PER_STEP = Decimal(1_500)
"""One canonical line and one metric record."""

AUTHORIZER = GatewayUsage(
    lambda_requests=Decimal(1), lambda_gb_seconds=_GB * Decimal("0.002"), table_read_units=Decimal("0.01")
)
"""Keys are remembered for a minute by each execution environment, so few calls read the table."""

_REALTIME = GatewayUsage(api_requests=Decimal(1), lambda_requests=Decimal(1), log_bytes=LOG_BYTES_PER_STEP)

_ASYNC_DOWNSTREAM = GatewayUsage(
    lambda_requests=Decimal("1.1"),
    lambda_gb_seconds=_GB * Decimal("0.06"),
    table_read_units=Decimal(2),
    table_write_units=Decimal(4),
    queue_requests=Decimal("0.3"),
    topic_requests=Decimal(1),
    bucket_gets=Decimal(1),
    bucket_puts=Decimal(1),
    log_bytes=LOG_BYTES_PER_STEP * 2,
)
"""async_submit (queue messages in tens), async_completion, their table writes, SageMaker's output object."""

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


def downstream_usage(inference_type: InferenceType) -> GatewayUsage:
    """Operations after the gateway function has answered."""
    match inference_type:
        case InferenceType.REALTIME:
            return GatewayUsage()
        case InferenceType.ASYNC:
            return _ASYNC_DOWNSTREAM
        case InferenceType.BATCH:
            return _BATCH_DOWNSTREAM


def rejected_usage() -> GatewayUsage:
    """Operations of a call that was refused before anything ran."""
    return AUTHORIZER + _REALTIME + GatewayUsage(lambda_gb_seconds=_GB * _REJECTION_SECONDS)


def realtime_usage(lambda_gb_seconds: Decimal) -> GatewayUsage:
    """Operations of a request that was answered at once, with the gateway function's measured time."""
    return AUTHORIZER + _REALTIME + GatewayUsage(lambda_gb_seconds=lambda_gb_seconds)


def expected_usage(inference_type: InferenceType, body_bytes: int, held_seconds: float) -> GatewayUsage:
    """All operations of a request on this road, the authorizer included."""
    if inference_type is InferenceType.REALTIME:
        return realtime_usage(_GB * seconds(held_seconds + _REALTIME_OVERHEAD_SECONDS))
    stored = GatewayUsage()
    if body_bytes > _INLINE_LIMIT:
        stored = GatewayUsage(bucket_puts=Decimal(1), bucket_gets=Decimal(1))
    return AUTHORIZER + _ENQUEUE + downstream_usage(inference_type) + stored


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
