"""The CloudWatch metrics that SageMaker sends about endpoints, which autoscaling and sleep decisions stand on.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Iterable

from local.sagemaker.aws import FAILED, Aws
from local.sagemaker.components import Components
from local.sagemaker.settings import Settings
from local.sagemaker.store import Store
from local.sagemaker.wire import Json

_log = logging.getLogger(__name__)
NAMESPACE = "AWS/SageMaker"
_NAP_SECONDS = 1.0
_WAITING = ("queued", "running")


class Metrics:
    """Sends metrics once a period.

    Args:
        store: inferences and backlogs.
        components: calls that found no capacity.
        aws: CloudWatch.
        settings: the period.
    """

    def __init__(self, store: Store, components: Components, aws: Aws, settings: Settings) -> None:
        self._store = store
        self._components = components
        self._aws = aws
        self._settings = settings

    async def work(self) -> None:
        """Run for ever."""
        since = time.time()
        while True:
            # Short naps, so that a new period counts at once.
            period = self._settings.metrics_seconds
            await asyncio.sleep(min(period or _NAP_SECONDS, _NAP_SECONDS))
            now = time.time()
            if not period or now - since < period:
                continue
            data = self.collect(since, now)
            since = now
            try:
                await asyncio.to_thread(self._send, data)
            except FAILED as error:
                # AWS loses metrics too; the next period is complete again.
                _log.warning("CloudWatch did not take the metrics: %s", error)

    def collect(self, start: float, end: float) -> list[Json]:
        """Return the data of one period."""
        endpoints = self._store.every("endpoint")
        backlog = self._store.backlog()
        data: list[Json] = []
        by_variant: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        for endpoint_name, variant_name, outcome, seconds in self._store.ended_between(start, end):
            by_variant[endpoint_name, variant_name].append((outcome, seconds))
        for name, endpoint in endpoints.items():
            instances = 0
            for variant in endpoint["variants"]:
                instances += variant["instances"]
                ended = by_variant.get((name, variant["VariantName"]), [])
                dimensions = {"EndpointName": name, "VariantName": variant["VariantName"]}
                data.extend(variant_data(dimensions, ended, variant["instances"], end))
            if "AsyncInferenceConfig" in endpoint:
                states = backlog.get(name, {})
                data.extend(backlog_data(name, sum(states.get(state, 0) for state in _WAITING), instances, end))
        for component, count in self._components.take_invoked().items():
            dimensions = {"InferenceComponentName": component}
            data.append(_datum("Invocations", dimensions, count, "Count", end))
        for component, count in self._components.take_refused().items():
            dimensions = {"InferenceComponentName": component}
            data.append(_datum("NoCapacityInvocationFailures", dimensions, count, "Count", end))
        return data

    def _send(self, data: list[Json]) -> None:
        for start in range(0, len(data), 500):
            self._aws.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=data[start : start + 500])


def variant_data(dimensions: dict[str, str], ended: list[tuple[str, float]], instances: int, now: float) -> list[Json]:
    """Return a variant's invocation metrics; an idle variant sends none, as on AWS.

    Args:
        dimensions: endpoint and variant.
        ended: outcome and seconds of each inference of the period.
        instances: instances in service.
        now: epoch seconds.
    """
    if not ended:
        return []
    count = len(ended)
    data = [
        _datum("Invocations", dimensions, count, "Count", now),
        _datum("InvocationsPerInstance", dimensions, count / max(instances, 1), "Count", now),
        _datum("Invocation4XXErrors", dimensions, sum(o.startswith("4") for o, _ in ended), "Count", now),
        _datum("Invocation5XXErrors", dimensions, sum(o.startswith("5") for o, _ in ended), "Count", now),
    ]
    latency = _datum("ModelLatency", dimensions, 0, "Microseconds", now)
    del latency["Value"]
    return [*data, latency | {"StatisticValues": _statistics(seconds * 1e6 for _, seconds in ended)}]


def backlog_data(name: str, waiting: int, instances: int, now: float) -> list[Json]:
    """Return an asynchronous endpoint's backlog metrics.

    `ApproximateBacklogSizePerInstance` has no value without instances, which is why `HasBacklogWithoutCapacity`
    exists: 1 when requests wait and there is nobody to serve them.
    """
    dimensions = {"EndpointName": name}
    data = [
        _datum("ApproximateBacklogSize", dimensions, waiting, "Count", now),
        _datum("HasBacklogWithoutCapacity", dimensions, int(waiting > 0 and instances == 0), "Count", now),
    ]
    if instances:
        data.append(_datum("ApproximateBacklogSizePerInstance", dimensions, waiting / instances, "Count", now))
    return data


def _datum(name: str, dimensions: dict[str, str], value: float, unit: str, now: float) -> Json:
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
        "Timestamp": now,
        "Value": value,
        "Unit": unit,
    }


def _statistics(values: Iterable[float]) -> Json:
    numbers = list(values)
    return {
        "SampleCount": len(numbers),
        "Sum": sum(numbers),
        "Minimum": min(numbers),
        "Maximum": max(numbers),
    }
