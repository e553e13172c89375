"""The use of endpoints and components, from the metrics that SageMaker sends to CloudWatch.

An idle variant sends no metric at all, so "no data" means idle; that is why an answer that did not come must never be
mistaken for one without data. GetMetricStatistics is used because it is within CloudWatch's free tier, which
GetMetricData is not. https://aws.amazon.com/cloudwatch/pricing/
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tollgate.domain.errors import StorageError
from tollgate.domain.places.standing import Place, PlaceKind

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_NAMESPACE = "AWS/SageMaker"
_MOST_POINTS = 1440
"""Of one answer. https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html"""


class CloudWatchActivity:
    """The `ActivityMetrics` of AWS. The client is made on first use."""

    @cached_property
    def _client(self) -> "CloudWatchClient":
        import boto3  # noqa: PLC0415 -- slow to import; most looks at a place need no metric
        from botocore.config import Config  # noqa: PLC0415 -- as above

        config = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
        return boto3.client("cloudwatch", config=config)

    def last_invocation(self, place: Place, variants: Sequence[str], since: datetime, now: datetime) -> datetime | None:
        """See `ActivityMetrics`."""
        minutes = max(1, -int(-(now - since).total_seconds() // (60 * _MOST_POINTS)))
        found = [
            moment
            for metric, dimensions in _metrics(place, variants)
            for moment in self._busy_minutes(metric, dimensions, since, now, minutes * 60)
        ]
        return min(max(found), now) if found else None

    def _busy_minutes(
        self, metric: str, dimensions: Mapping[str, str], since: datetime, now: datetime, period: int
    ) -> Iterable[datetime]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- see _client

        try:
            answer = self._client.get_metric_statistics(
                Namespace=_NAMESPACE,
                MetricName=metric,
                Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
                StartTime=since,
                EndTime=now,
                Period=period,
                Statistics=["Maximum"],
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError(f"The metrics of {place_words(dimensions)} cannot be read.", retry_after=60) from error
        points: Any = answer["Datapoints"]
        # A point carries the start of its period.
        return [point["Timestamp"] + timedelta(seconds=period) for point in points if point["Maximum"] > 0]


def place_words(dimensions: Mapping[str, str]) -> str:
    """Dimensions in words, for messages."""
    return ", ".join(f"{name} {value}" for name, value in dimensions.items())


def _metrics(place: Place, variants: Sequence[str]) -> Iterable[tuple[str, Mapping[str, str]]]:
    """Each metric that is above zero in a minute of use."""
    if place.kind is PlaceKind.COMPONENT:
        component = {"InferenceComponentName": place.name}
        yield "Invocations", component
        yield "NoCapacityInvocationFailures", component
        return
    for variant in variants:
        yield "Invocations", {"EndpointName": place.name, "VariantName": variant}
    if place.kind is PlaceKind.ASYNC:
        yield "ApproximateBacklogSize", {"EndpointName": place.name}
