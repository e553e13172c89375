"""A week of an endpoint's measurements, hour by hour, from CloudWatch.

SageMaker counts a processor or GPU as 100 %, so an instance with four shows up to 400 %.
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from tollgate.domain.catalogue import Deployment, Road
from tollgate.domain.errors import StorageError
from tollgate.domain.places.instance_shapes import SHAPES
from tollgate.domain.places.rightsizing import MeasuredUse, Resource

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_HOUR = 3600
_DAYS = 7
_USE = "/aws/sagemaker/Endpoints"
_CALLS = "AWS/SageMaker"
_MICROSECONDS = 1_000_000
_METRICS: Mapping[Resource, str] = {
    Resource.GPU: "GPUUtilization",
    Resource.GPU_MEMORY: "GPUMemoryUtilization",
    Resource.CPU: "CPUUtilization",
    Resource.MEMORY: "MemoryUtilization",
}

type Statistic = Literal["Average", "Maximum", "Sum"]


class CloudWatchUsage:
    """Reads a week of an endpoint's measurements.

    Args:
        client: makes ``boto3.client("cloudwatch")``.
    """

    def __init__(self, client: Callable[[], "CloudWatchClient"]) -> None:
        self._client = client

    def week(self, deployment: Deployment, road: Road, variant: str, instances: float, now: datetime) -> MeasuredUse:
        """See `UsageMetrics`."""
        dimensions = {"EndpointName": road.target, "VariantName": variant}
        hourly: dict[Resource, Sequence[float]] = {}
        peaks: dict[Resource, Sequence[float]] = {}
        for resource, metric in _METRICS.items():
            whole = _units(resource, road.instance_type)
            means = self._hours(_USE, metric, dimensions, "Average", now)
            if means:
                hourly[resource] = [value / whole for value in means]
                peaks[resource] = [value / whole for value in self._hours(_USE, metric, dimensions, "Maximum", now)]
        latency = self._hours(_CALLS, "ModelLatency", dimensions, "Average", now)
        return MeasuredUse(
            resource=deployment.resource,
            endpoint=road.target,
            instance_type=road.instance_type,
            hourly=hourly,
            peaks=peaks,
            invocations=self._hours(_CALLS, "Invocations", dimensions, "Sum", now),
            latency_seconds=[value / _MICROSECONDS for value in latency],
            instances=instances,
        )

    def _hours(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], statistic: Statistic, now: datetime
    ) -> list[float]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- only who reads metrics needs it

        try:
            answer = self._client().get_metric_statistics(
                Namespace=namespace,
                MetricName=metric,
                Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
                StartTime=now - timedelta(days=_DAYS),
                EndTime=now,
                Period=_HOUR,
                Statistics=[statistic],
            )
        except (BotoCoreError, ClientError) as error:
            raise StorageError(f"The metric {metric} cannot be read.", retry_after=60) from error
        points: list[Any] = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return [float(point[statistic]) for point in points]


def _units(resource: Resource, instance_type: str) -> int:
    """How many times 100 % the metric reaches; memory is of the instance, GPU memory of all GPUs added up."""
    shape = SHAPES.get(instance_type)
    if shape is None or resource is Resource.MEMORY:
        return 1
    return shape.vcpus if resource is Resource.CPU else max(1, shape.gpus)
