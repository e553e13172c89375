"""Our log lines and metric records against what Powertools itself writes."""

import io
import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from tests.fakes.examples import OWNER
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Usage
from tollgate.domain.records import RequestRecord

RECORD = RequestRecord(
    request_id="req-1",
    owner=OWNER,
    inference_type=InferenceType.REALTIME,
    resource="echo/small",
    outcome="completed",
    latency_seconds=0.25,
    status=200,
    route_reason="priority=high",
    usage=Usage(3, 5),
    estimated_cost=Decimal("0.1"),
    effective_cost=Decimal("0.2"),
    avoided_cost=Decimal("0.3"),
)


def _ours() -> tuple[dict[str, Any], dict[str, Any]]:
    lines: list[str] = []
    Telemetry(namespace="Tollgate", service="tollgate", write=lines.append).request(RECORD)
    return json.loads(lines[0]), json.loads(lines[1])


def test_a_metric_record_is_what_powertools_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Field for field, for the same metrics and dimensions."""
    monkeypatch.delenv("POWERTOOLS_SERVICE_NAME", raising=False)
    _, ours = _ours()
    theirs = EphemeralMetrics(namespace="Tollgate")
    for name in ("InferenceType", "Model", "Deployment"):
        theirs.add_dimension(name, ours[name])
    for metric in ours["_aws"]["CloudWatchMetrics"][0]["Metrics"]:
        theirs.add_metric(metric["Name"], MetricUnit(metric["Unit"]), ours[metric["Name"]][0])
    expected = json.loads(json.dumps(theirs.serialize_metric_set()))
    expected["_aws"]["Timestamp"] = ours["_aws"]["Timestamp"]
    assert ours == expected


def test_all_promised_metrics_are_there() -> None:
    """Names and units of the seven."""
    _, ours = _ours()
    units = {metric["Name"]: metric["Unit"] for metric in ours["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units == {
        "Requests": "Count",
        "Latency": "Milliseconds",
        "EffectiveCostUSD": "None",
        "AvoidedCostUSD": "None",
        "InputTokens": "Count",
        "OutputTokens": "Count",
        "Errors": "Count",
    }


def test_a_log_line_has_powertools_fields_in_powertools_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same leading keys in the same order, and a time stamp that the same format reads."""
    monkeypatch.setenv("TZ", "UTC")
    ours, _ = _ours()
    stream = io.StringIO()
    logger = Logger(service="tollgate", stream=stream, logger_handler=logging.StreamHandler(stream), utc=True)
    logger.info("request", extra={"request_id": "req-1"})
    theirs = json.loads(stream.getvalue())
    assert list(ours)[:5] == [key for key in theirs if key != "request_id"][:5]
    for line in (ours, theirs):
        stamp, _, zone = line["timestamp"].partition("+")
        assert datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC).year >= 2026
        assert zone == "0000"
    assert ours["level"] == theirs["level"]


def test_unknown_cost_is_a_metric_of_its_own() -> None:
    """Rather than a zero among the costs."""
    lines: list[str] = []
    telemetry = Telemetry(namespace="Tollgate", service="tollgate", write=lines.append)
    telemetry.request(
        RequestRecord("r", OWNER, InferenceType.BATCH, "echo/small", "completed", 1.0, usage=Usage(None, 0))
    )
    ours = json.loads(lines[1])
    assert ours["UnknownCost"] == [1]
    assert "EffectiveCostUSD" not in ours
    assert "InputTokens" not in ours
    assert ours["OutputTokens"] == [0]
