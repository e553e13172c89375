"""How long the instances of SageMaker endpoints were up, by their own count.

Every instance reports its CPU once a minute under the name of its endpoint and variant, so the number of samples in an
hour is the number of instance minutes. An endpoint that reports nothing is asked how many instances it has now, and
counts from its creation on: right after a start the metrics are not there yet, and an endpoint at zero has none.
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tollgate.domain.costs.loaded_cost import Endpoint
from tollgate.domain.errors import StorageError
from tollgate.domain.spans import HOUR

_SAMPLES_PER_HOUR = Decimal(60)


class MetricsClient(Protocol):
    """The part of ``boto3.client("cloudwatch")`` that is used."""

    def get_metric_statistics(self, **fields: Any) -> Mapping[str, Any]:
        """Statistics of one metric."""


class EndpointsClient(Protocol):
    """The part of ``boto3.client("sagemaker")`` that is used."""

    def describe_endpoint(self, **fields: Any) -> Mapping[str, Any]:
        """An endpoint and its variants."""


def _share_of_hour(created: datetime, hour: datetime) -> Decimal:
    """How much of an hour, 0 to 1, came after the creation: nobody pays for an endpoint before it was there."""
    seconds = (hour + HOUR - max(created, hour)).total_seconds()
    return Decimal(max(0, round(seconds))) / Decimal(round(HOUR.total_seconds()))


class EndpointHours:
    """The `InstanceHours` of AWS."""

    def __init__(self, metrics: Callable[[], MetricsClient], endpoints: Callable[[], EndpointsClient]) -> None:
        self._metrics = metrics
        self._endpoints = endpoints

    def of(self, endpoint: Endpoint, hour: datetime) -> Decimal | None:
        """See `InstanceHours`."""
        try:
            variants = self._variants(endpoint, hour)
            samples = sum(self._samples(endpoint.target, name, hour) for name in variants)
        except (ClientError, BotoCoreError) as error:
            name = type(error).__name__
            raise StorageError(f"The instances of '{endpoint.target}' cannot be counted ({name}).") from error
        if samples:
            return Decimal(samples) / _SAMPLES_PER_HOUR
        return sum(variants.values(), Decimal(0))

    def _variants(self, endpoint: Endpoint, hour: datetime) -> Mapping[str, Decimal]:
        """Variants, and the hours of each if what it has now was there since the endpoint was created."""
        try:
            found = self._endpoints().describe_endpoint(EndpointName=endpoint.target)
        except ClientError as error:
            # SageMaker has no code of its own for an endpoint that is not there.
            if error.response.get("Error", {}).get("Code") != "ValidationException":
                raise
            return {endpoint.variant or "AllTraffic": Decimal(0)}
        share = _share_of_hour(found["CreationTime"], hour)
        variants = {
            each["VariantName"]: int(each.get("CurrentInstanceCount") or 0) * share
            for each in found.get("ProductionVariants", ())
            if endpoint.variant in {"", each["VariantName"]}
        }
        up = found.get("EndpointStatus") in {"InService", "Updating", "SystemUpdating", "RollingBack"}
        return variants if up else dict.fromkeys(variants, Decimal(0))

    def _samples(self, target: str, variant: str, hour: datetime) -> int:
        answer = self._metrics().get_metric_statistics(
            Namespace="/aws/sagemaker/Endpoints",
            MetricName="CPUUtilization",
            Dimensions=[{"Name": "EndpointName", "Value": target}, {"Name": "VariantName", "Value": variant}],
            StartTime=hour,
            EndTime=hour + HOUR,
            Period=3600,
            Statistics=["SampleCount"],
        )
        return sum(round(point["SampleCount"]) for point in answer["Datapoints"])
