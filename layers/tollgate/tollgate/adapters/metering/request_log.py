"""The records of requests that were answered at once: their canonical lines in the log of the function that answered.

The line is written before the caller has the answer, it is there whatever the table is doing, and it costs nothing that
the gateway does not pay anyway. Read with FilterLogEvents, which AWS does not charge for; a page has up to 1 MB.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
"""

import json
from collections.abc import Callable, Iterator, Mapping
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import Dimensions, UsageRecord
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO
from tollgate.domain.records import CALLER_GONE, KEPT_MARK, NO_REQUEST

_PATTERN = '{ $.message = "request" }'
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogsClient(Protocol):
    """The part of ``boto3.client("logs")`` that is used."""

    def filter_log_events(self, **fields: Any) -> Mapping[str, Any]:
        """One page of events."""


class RequestLog:
    """The `RequestRecords` of the real-time road.

    Args:
        client: makes the client when it is first needed.
        group: log group of a function that answers callers.
    """

    def __init__(self, client: Callable[[], LogsClient], group: str) -> None:
        self._client = client
        self._group = group

    def between(self, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        """See `RequestRecords`."""
        request: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": (start - _EPOCH) // _MILLISECOND,
            # The end is part of the span that CloudWatch looks at.
            "endTime": (end - _EPOCH) // _MILLISECOND - 1,
            "filterPattern": _PATTERN,
        }
        client = self._client()
        while True:
            try:
                page = client.filter_log_events(**request)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "unknown")
                if code == "ResourceNotFoundException":
                    return  # Nothing was logged yet.
                raise StorageError(f"The gateway's log cannot be read ({code}).", retry_after=60) from error
            except BotoCoreError as error:
                raise StorageError(f"The gateway's log cannot be read ({type(error).__name__}).") from error
            for event in page["events"]:
                yield from records_of_line(event["message"], _EPOCH + event["timestamp"] * _MILLISECOND)
            if not page.get("nextToken"):
                return
            request["nextToken"] = page["nextToken"]


def records_of_line(line: str, written_at: datetime) -> tuple[UsageRecord, ...]:
    """The records in a canonical line; none in any other line and in those of what never got as far as a deployment.

    Jobs count when they end, by what the table of jobs says; only what an attempt to run them at once has cost is in
    the log. A request that went to a larger model after a first answer was not good enough is one request; what the
    first call cost is a record of the first deployment, with no request.
    """
    fields = _fields_of(line)
    if fields is None or "tenant" not in fields or fields["outcome"] == "routed":
        return ()
    if "deployment" not in fields and not fields["request_id"].endswith(KEPT_MARK):
        return ()
    effective = _decimal(fields.get("effective_cost_usd"))
    charged = _decimal(fields.get("charged_usd"))
    # A request that found no capacity may have cost something before it was accepted as a job.
    accepted = "job_id" in fields or fields["outcome"] == "accepted"
    # Neither is what was done for the cache anybody's request; what it cost is its tenant's.
    accepted = accepted or fields["request_id"].endswith(NO_REQUEST)
    if accepted and effective is None and charged is None:
        return ()
    record = UsageRecord(
        request_id=fields["request_id"],
        ended_at=written_at,
        dimensions=_dimensions(fields, fields.get("deployment", ""), fields.get("variant", "")),
        outcome=fields["outcome"],
        latency_seconds=None if fields.get("error_code") == CALLER_GONE else fields["latency_ms"] / 1000,
        usage=Usage(fields.get("input_tokens"), fields.get("output_tokens"), fields.get("cached_input_tokens")),
        effective=effective,
        charged=(effective or ZERO) if charged is None else charged,
        instance=_decimal(fields.get("instance_cost_usd")),
        held_seconds=_decimal(fields.get("held_seconds")),
        avoided={AvoidedReason(reason): Decimal(text) for reason, text in fields.get("avoided_usd", {}).items()},
        cache=fields.get("cache", ""),
    )
    if accepted:
        # Whatever road the job then takes.
        at_once = record.dimensions._replace(inference_type=InferenceType.REALTIME.value)
        return (replace(record, dimensions=at_once, latency_seconds=None, usage=Usage(0, 0), requests=0),)
    first_cost = _decimal(fields.get("first_cost_usd"))
    if first_cost is None or effective is None or "first_deployment" not in fields:
        return (record,)
    first = replace(
        record,
        request_id=f"{record.request_id}#first",
        dimensions=_dimensions(fields, fields["first_deployment"], ""),
        latency_seconds=None,
        usage=Usage(0, 0),
        effective=first_cost,
        charged=first_cost,
        instance=_decimal(fields.get("first_instance_cost_usd")),
        held_seconds=_decimal(fields.get("first_held_seconds")),
        avoided={},
        cache="",
        requests=0,
    )
    return replace(record, effective=effective - first_cost, charged=record.charged - first_cost), first


def _fields_of(line: str) -> Mapping[str, Any] | None:
    """The fields of a canonical line."""
    if '"message":"request"' not in line:
        return None
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and fields.get("message") == "request" else None


def _dimensions(fields: Mapping[str, Any], resource: str, variant: str) -> Dimensions:
    model, _, deployment = resource.partition("/")
    return Dimensions(
        tenant=fields["tenant"],
        key_id=fields.get("key_id", ""),
        team=fields.get("team", ""),
        model=model,
        inference_type=fields.get("inference_type", ""),
        deployment=deployment,
        variant=variant,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
