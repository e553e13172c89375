"""CloudWatch metrics of endpoints, where autoscaling reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.sagemaker_standin.conftest import World
from tests.integration.sagemaker_standin.process import Emulator, client, until

pytestmark = pytest.mark.integration


def test_invocations_and_backlog_reach_cloudwatch(fresh_world: World, emulator: Emulator) -> None:
    """Real-time calls are counted, and a backlog at zero instances raises the flag that wakes the endpoint."""
    world = fresh_world
    cloudwatch = client("cloudwatch", emulator.url)
    called, waiting = world.endpoint(world.model()), world.endpoint(world.model(), asynchronous=True)
    world.scale(waiting, 0)
    world.standin.admin("PUT", "config", {"metrics_seconds": 0.3})
    for _ in range(3):
        world.invoke(called, b"[1]")
    world.runtime.invoke_endpoint_async(EndpointName=waiting, ContentType="application/json", Body=b"[1]")

    def total(name: str, statistic: str, dimensions: dict[str, str]) -> Any:
        now = datetime.now(UTC)
        answer = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=1),
            Period=600,
            Statistics=[statistic],
        )
        return sum(point[statistic] for point in answer["Datapoints"])

    variant = {"EndpointName": called, "VariantName": "main"}
    until(lambda: total("Invocations", "Sum", variant) == 3)
    until(lambda: total("HasBacklogWithoutCapacity", "Maximum", {"EndpointName": waiting}) == 1)
    world.scale(waiting, 1)
    world.messages(1)
    cloudwatch.close()
