"""One log line and one metric record per request, in exactly the formats of AWS Lambda Powertools.

Powertools' own Logger and Metrics cost about 200 microseconds a request and 50 ms at start, which the gateway's budget
does not allow, so the two formats are written here; a contract test compares them with what Powertools writes.
Names of metrics, dimensions and log fields are all in this file.

Formats: https://docs.aws.amazon.com/powertools/python/latest/core/logger/ and
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.money import money_text, usd_text
from tollgate.domain.records import CALLER_GONE, RequestRecord

_DIMENSIONS = [["InferenceType", "Model", "Deployment"]]
_NOT_COUNTED = frozenset({"accepted", "routed"})
"""An accepted job is counted when it ends, with its cost; a question about the route runs nothing."""

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

# Made once: `json.dumps` makes a new encoder for every call that wants these settings.
_LINE = json.JSONEncoder(separators=(",", ":"), default=str, ensure_ascii=False, check_circular=False).encode
_METRICS = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Telemetry:
    """Writes request records and other events to the function's log.

    Args:
        namespace: CloudWatch namespace of the metrics.
        service: value of the `service` field of every line.
        level: lowest level that is written.
        write: takes one finished line.
        now: clock, UTC.
    """

    def __init__(
        self,
        *,
        namespace: str,
        service: str,
        level: str = "INFO",
        write: Callable[[str], None] = _write_line,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._namespace = namespace
        self._service = service
        self._threshold = _LEVELS.get(level.upper(), 20)
        self._write = write
        self._now = now
        self._cold_start = True

    def request(self, record: RequestRecord) -> None:
        """The canonical log line of a request, and its metrics when it got as far as a deployment."""
        fields: dict[str, Any] = {
            "request_id": record.request_id,
            "outcome": record.outcome,
            "latency_ms": round(record.latency_seconds * 1000, 3),
            "cold_start": self._cold_start,
        }
        self._cold_start = False
        optional: dict[str, Any] = {
            "job_id": record.job_id,
            "status": record.status,
            "error_code": record.error_code,
            "inference_type": record.inference_type,
            "deployment": record.resource,
            "route_reason": record.route_reason,
            "cache": record.cache,
            "input_tokens": record.usage.input_tokens,
            "output_tokens": record.usage.output_tokens,
            "cached_input_tokens": record.usage.cached_input_tokens,
            "reasoning_tokens": record.usage.reasoning_tokens,
            "estimated_cost_usd": money_text(record.estimated_cost),
            "effective_cost_usd": money_text(record.effective_cost),
            "avoided_cost_usd": money_text(record.avoided_cost),
            "avoided_usd": _parts(record),
            "charged_usd": None if record.charged_cost == record.effective_cost else money_text(record.charged_cost),
            "instance_cost_usd": money_text(record.instance_cost),
            "held_seconds": _seconds(record.held_seconds),
            "variant": record.variant,
            "budget_remaining_usd": money_text(record.budget_remaining),
            "input_tokens_saved": record.input_tokens_saved or None,
            "first_deployment": record.first_resource,
            "first_cost_usd": money_text(record.first_cost),
            "first_instance_cost_usd": money_text(record.first_instance_cost),
            "first_held_seconds": _seconds(record.first_held_seconds),
            "trace_id": record.traceparent[3:35],
            "catalogue_version": record.catalogue_version or None,
        }
        if record.owner is not None:
            optional |= {"tenant": record.owner.tenant, "key_id": record.owner.key_id, "team": record.owner.team}
        fields |= {name: value for name, value in optional.items() if value is not None and value != ""}
        failed = record.outcome in {"failed", "expired"}
        level = "ERROR" if record.status is not None and record.status >= 500 and failed else "INFO"
        # Usage is computed from these lines, so they are written whatever the level.
        self._line(level, "request", fields)
        if record.resource and record.inference_type is not None and record.outcome not in _NOT_COUNTED:
            model, _, deployment = record.resource.partition("/")
            self._metrics(record, model, deployment, failed=failed)

    def log(self, level: str, message: str, **fields: Any) -> None:
        """One structured line. `message` is static; everything that varies is a field. Never prompts or secrets."""
        if _LEVELS[level] >= self._threshold:
            self._line(level, message, fields)

    def _line(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        line = {
            "level": level,
            "location": "tollgate",
            "message": message,
            "timestamp": self._now().isoformat(" ", "milliseconds").replace(".", ",").replace("+00:00", "+0000"),
            "service": self._service,
            **fields,
        }
        self._write(_LINE(line))

    def count(self, metric: str, value: float = 1, *, unit: str = "Count") -> None:
        """A metric without dimensions, for things that are not requests."""
        self._write(self._record([[]], [(metric, unit, value)], {}))

    def measure(self, values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
        """Metrics of one thing; the names of `dimensions` have metrics of their own for each of their values."""
        listed = [(name, "None", value) for name, value in values.items()]
        self._write(self._record([list(dimensions)], listed, dict(dimensions)))

    def _metrics(self, record: RequestRecord, model: str, deployment: str, *, failed: bool) -> None:
        values: list[tuple[str, str, float]] = [
            ("Requests", "Count", 1),
            ("Errors", "Count", 1 if failed else 0),
        ]
        if record.error_code != CALLER_GONE:
            values.insert(1, ("Latency", "Milliseconds", round(record.latency_seconds * 1000, 3)))
        if record.effective_cost is not None:
            values.append(("EffectiveCostUSD", "None", float(record.effective_cost)))
        if record.avoided_cost is not None:
            values.append(("AvoidedCostUSD", "None", float(record.avoided_cost)))
        if record.usage.input_tokens is not None:
            values.append(("InputTokens", "Count", record.usage.input_tokens))
        if record.usage.output_tokens is not None:
            values.append(("OutputTokens", "Count", record.usage.output_tokens))
        if record.cache and record.cache != "bypass":
            values.append(("CacheHits", "Count", 0 if record.cache == "miss" else 1))
        if record.effective_cost is None and record.outcome == "completed":
            values.append(("UnknownCost", "Count", 1))
        dimensions = {"InferenceType": str(record.inference_type), "Model": model, "Deployment": deployment}
        self._write(self._record(_DIMENSIONS, values, dimensions))

    def _record(
        self, dimension_sets: list[list[str]], values: list[tuple[str, str, float]], dimensions: dict[str, str]
    ) -> str:
        document = {
            "_aws": {
                "Timestamp": int(self._now().timestamp() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": dimension_sets,
                        "Metrics": [{"Name": name, "Unit": unit} for name, unit, _ in values],
                    }
                ],
            },
            **dimensions,
            **{name: [value] for name, _, value in values},
        }
        return _METRICS(document)


def _parts(record: RequestRecord) -> dict[str, str] | None:
    return {reason: usd_text(amount) for reason, amount in record.avoided_reasons.items()} or None


def _seconds(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
