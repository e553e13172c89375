"""What a request costs: instance time, and the gateway's own AWS operations.

Unit prices are list prices in dollars. Their figures, with region, date and source, are in `tollgate/data/prices.json`.
"""

from decimal import Decimal
from operator import add
from typing import NamedTuple

from tollgate.domain.money import SECONDS_PER_HOUR, ZERO, usd

_BYTES_PER_GB = Decimal(1024**3)
_FREE_STREAMED_BYTES = 6_000_000
_STREAMED_BYTES_A_REQUEST = 10_000_000


class GatewayPrices(NamedTuple):
    """Unit prices of the AWS parts that the gateway itself uses, in dollars."""

    api_request: Decimal
    lambda_request: Decimal
    lambda_gb_second: Decimal
    table_read_unit: Decimal
    table_write_unit: Decimal
    queue_request: Decimal
    topic_request: Decimal
    bucket_put: Decimal
    bucket_get: Decimal
    log_gb: Decimal
    # Versions of the catalogue that were stored before streams were priced have none.
    lambda_streamed_gb: Decimal = ZERO

    def __hash__(self) -> int:
        """One price is enough to tell price lists apart; hashing all of them would cost more than it saves."""
        return hash(self.api_request)


class GatewayUsage(NamedTuple):
    """AWS operations that one request caused. Counts may be fractions: a share of a batched call."""

    api_requests: Decimal = ZERO
    lambda_requests: Decimal = ZERO
    lambda_gb_seconds: Decimal = ZERO
    table_read_units: Decimal = ZERO
    table_write_units: Decimal = ZERO
    queue_requests: Decimal = ZERO
    topic_requests: Decimal = ZERO
    bucket_puts: Decimal = ZERO
    bucket_gets: Decimal = ZERO
    log_bytes: Decimal = ZERO

    def __add__(self, other: "GatewayUsage") -> "GatewayUsage":  # type: ignore[override] # sums, and no longer tuple
        return GatewayUsage._make(map(add, self, other))

    def times(self, factor: Decimal) -> "GatewayUsage":
        """The same usage multiplied by `factor`."""
        return GatewayUsage._make(count * factor for count in self)


def gateway_cost(usage: GatewayUsage, prices: GatewayPrices) -> Decimal:
    """Dollars for the gateway's own AWS operations, at list price and without any free tier."""
    return usd(
        usage.api_requests * prices.api_request
        + usage.lambda_requests * prices.lambda_request
        + usage.lambda_gb_seconds * prices.lambda_gb_second
        + usage.table_read_units * prices.table_read_unit
        + usage.table_write_units * prices.table_write_unit
        + usage.queue_requests * prices.queue_request
        + usage.topic_requests * prices.topic_request
        + usage.bucket_puts * prices.bucket_put
        + usage.bucket_gets * prices.bucket_get
        + usage.log_bytes / _BYTES_PER_GB * prices.log_gb
    )


def stream_cost(sent_bytes: int, prices: GatewayPrices) -> Decimal:
    """The additional dollars for sending an answer as a stream of this many bytes; nothing up to 6 MB.

    Lambda charges for each GB beyond the first 6 MB of an answer, and API Gateway counts every started 10 MB as a
    request.
    https://aws.amazon.com/lambda/pricing/
    https://aws.amazon.com/blogs/compute/building-responsive-apis-with-amazon-api-gateway-response-streaming/
    """
    beyond = max(0, sent_bytes - _FREE_STREAMED_BYTES)
    more_requests = max(0, -(-sent_bytes // _STREAMED_BYTES_A_REQUEST) - 1)
    return usd(beyond / _BYTES_PER_GB * prices.lambda_streamed_gb + more_requests * prices.api_request)


def instance_cost(held_seconds: Decimal, usd_per_hour: Decimal, concurrency: int) -> Decimal:
    """Dollars for holding one of `concurrency` equal places on an instance for `held_seconds`."""
    return usd(held_seconds * usd_per_hour / SECONDS_PER_HOUR / concurrency)
