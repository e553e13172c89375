"""The metrics that autoscaling and sleep decisions stand on."""

from typing import Any

from local.sagemaker.metrics import backlog_data, variant_data

DIMENSIONS = {"EndpointName": "e", "VariantName": "v"}


def values(data: list[Any]) -> dict[str, float]:
    return {datum["MetricName"]: datum["Value"] for datum in data if "Value" in datum}


def test_an_idle_variant_sends_nothing() -> None:
    """Silence, not zeros, is what AWS sends without traffic; alarms must treat it as missing."""
    assert variant_data(DIMENSIONS, [], 1, 0.0) == []


def test_traffic_is_counted_in_all_and_by_instance() -> None:
    """Invocations, errors by class, and latency in microseconds over the period."""
    data = variant_data(DIMENSIONS, [("ok", 0.5), ("ok", 1.5), ("400", 0.25), ("503", 0.25)], 2, 7.0)
    assert values(data) == {
        "Invocations": 4,
        "InvocationsPerInstance": 2,
        "Invocation4XXErrors": 1,
        "Invocation5XXErrors": 1,
    }
    [latency] = [datum for datum in data if datum["MetricName"] == "ModelLatency"]
    assert latency["StatisticValues"] == {"SampleCount": 4, "Sum": 2.5e6, "Minimum": 0.25e6, "Maximum": 1.5e6}
    assert {"Name": "VariantName", "Value": "v"} in latency["Dimensions"]


def test_a_backlog_without_capacity_is_said() -> None:
    """At zero instances the per-instance backlog has no value, so the flag carries the news."""
    assert values(backlog_data("e", 5, 0, 0.0)) == {"ApproximateBacklogSize": 5, "HasBacklogWithoutCapacity": 1}
    assert values(backlog_data("e", 0, 0, 0.0)) == {"ApproximateBacklogSize": 0, "HasBacklogWithoutCapacity": 0}
    assert values(backlog_data("e", 5, 2, 0.0)) == {
        "ApproximateBacklogSize": 5,
        "HasBacklogWithoutCapacity": 0,
        "ApproximateBacklogSizePerInstance": 2.5,
    }
