"""Records of requests are read back as they were written, and roll-ups as they were computed."""

import json
from collections.abc import Mapping
from copy import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.cost_reconcile.app import build, handle
from tests.contract.moto_stores import (
    CACHE_LOGS,
    GATEWAY_LOGS,
    JOBS_TABLE,
    LEDGER_TABLE,
    STREAMING_LOGS,
    LocalAws,
    reconcile_settings,
)
from tests.fakes.examples import OWNER, make_job
from tests.fakes.usage import DIMENSIONS, NOON, InMemoryUsage, make_record
from tests.unit.template_document import ROOT
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.adapters.metering.endpoint_hours import EndpointHours
from tollgate.adapters.metering.request_log import RequestLog, records_of_line
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.loaded_cost import Endpoint
from tollgate.domain.costs.usage import UsageRecord, roll_up, sum_of, totals_of
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import OPEN_STATES, Bill, Job, JobState, Usage
from tollgate.domain.records import KEPT_MARK, REFRESH_MARK, RequestRecord
from tollgate.domain.spans import DAY, HOUR, SLICE
from tollgate.ports.usage import Span, UsageStore

REALTIME = RequestRecord(
    request_id="req_1",
    owner=OWNER,
    inference_type=InferenceType.REALTIME,
    resource="echo/small",
    outcome="completed",
    latency_seconds=0.2,
    status=200,
    usage=Usage(3, 0, 2),
    effective_cost=Decimal("0.000012345678"),
    avoided_cost=Decimal("0.000001"),
    instance_cost=Decimal("0.00001"),
    held_seconds=Decimal("0.150000"),
    avoided_reasons={AvoidedReason.ROAD: Decimal("-0.000001"), AvoidedReason.TIER: Decimal("0.000002")},
    variant="blue",
    cache="miss",
)
EXPECTED = UsageRecord(
    request_id="req_1",
    ended_at=NOON,
    dimensions=DIMENSIONS._replace(variant="blue"),
    outcome="completed",
    latency_seconds=0.2,
    usage=Usage(3, 0, 2),
    effective=Decimal("0.000012345678"),
    charged=Decimal("0.000012345678"),
    instance=Decimal("0.00001"),
    held_seconds=Decimal("0.150000"),
    avoided=REALTIME.avoided_reasons,
    cache="miss",
)


def written(record: RequestRecord, level: str = "ERROR") -> list[str]:
    """The lines that a record leaves in the log."""
    lines: list[str] = []
    Telemetry(namespace="Tollgate", service="tollgate", level=level, write=lines.append).request(record)
    return lines


def test_a_line_is_read_back_to_the_last_digit() -> None:
    """Whatever the log level is: the line is the request's record. Its metrics are not a second one."""
    found = [records_of_line(line, NOON) for line in written(REALTIME)]
    assert found == [(EXPECTED,), ()]


def test_a_charge_is_read_back_where_the_cost_is_unknown() -> None:
    """Budgets were charged with what was held."""
    unknown = REALTIME._replace(effective_cost=None, charged_cost=Decimal("0.02"))
    ((record,), _) = [records_of_line(line, NOON) for line in written(unknown)]
    assert (record.effective, record.charged) == (None, Decimal("0.02"))


@pytest.mark.parametrize(
    "record",
    [
        REALTIME._replace(outcome="accepted", job_id="inf_1", effective_cost=None),
        REALTIME._replace(outcome="routed"),
        REALTIME._replace(resource=""),
        REALTIME._replace(owner=None),
    ],
    ids=["accepted", "routed", "nowhere", "nobody"],
)
def test_other_lines_are_no_records(record: RequestRecord) -> None:
    """Jobs are counted from their table, previews and refused bodies not at all."""
    assert [found for line in written(record) for found in records_of_line(line, NOON)] == []


@pytest.mark.parametrize("line", ["", "START", '{"message":"request"', '["message":"request"]', '["\\"message\\":"]'])
def test_other_texts_are_no_records(line: str) -> None:
    """The log holds Lambda's own lines as well."""
    assert records_of_line(line, NOON) == ()


def test_an_attempt_before_a_job_costs_what_it_cost() -> None:
    """It is no request: the job is."""
    (record,) = records_of_line(written(REALTIME._replace(outcome="accepted", job_id="inf_1"))[0], NOON)
    totals = sum_of(roll_up([record], NOON))
    assert (totals.requests, totals.latencies, totals.charged) == (0, {}, REALTIME.effective_cost)


def test_an_attempt_before_a_job_was_made_at_once() -> None:
    """Its seconds are the real-time endpoint's, and its dollars in the export, whatever road the job takes."""
    accepted = REALTIME._replace(outcome="accepted", job_id="inf_1", inference_type=InferenceType.ASYNC)
    (record,) = records_of_line(written(accepted)[0], NOON)
    assert record.dimensions.inference_type == "realtime"


def test_a_value_that_a_client_keeps_costs_what_it_cost_and_is_no_request() -> None:
    """It has no model and no deployment."""
    kept = REALTIME._replace(request_id=f"req_1{KEPT_MARK}", resource="", charged_cost=REALTIME.effective_cost)
    totals = sum_of(roll_up(records_of_line(written(kept)[0], NOON), NOON))
    assert (totals.requests, totals.charged) == (0, REALTIME.effective_cost)


def test_a_refresh_costs_what_it_cost_and_is_no_request() -> None:
    """An answer made anew for the cache, and a sample of near hits: a record of its own beside its caller's."""
    caller = REALTIME._replace(cache="near", effective_cost=Decimal(0))
    refresh = REALTIME._replace(request_id=f"{REALTIME.request_id}{REFRESH_MARK}")
    records = [found for each in (caller, refresh) for found in records_of_line(written(each)[0], NOON)]
    totals = sum_of(roll_up(records, NOON))
    assert (totals.requests, totals.cache, totals.charged) == (1, {"near": 1}, REALTIME.effective_cost)


def test_a_call_that_was_not_good_enough_costs_its_own_deployment() -> None:
    """One request, two deployments; the sum is what both calls cost."""
    escalated = REALTIME._replace(
        resource="echo/large",
        first_resource="echo/small",
        first_cost=Decimal("0.000002"),
        first_instance_cost=Decimal("0.000001"),
        first_held_seconds=Decimal("0.05"),
    )
    last, first = records_of_line(written(escalated)[0], NOON)
    assert [r.dimensions.deployment for r in (last, first)] == ["large", "small"]
    assert (last.effective or 0) + (first.effective or 0) == escalated.effective_cost == last.charged + first.charged
    assert (first.instance, first.held_seconds, first.requests) == (Decimal("0.000001"), Decimal("0.05"), 0)
    assert sum_of(roll_up([last, first], NOON)).requests == 1


class PagedLogs:
    """A `LogsClient` with one event on each page."""

    def __init__(self, events: list[tuple[datetime, str]], error: Exception | None = None) -> None:
        self._events = events
        self._error = error
        self.asked: list[Mapping[str, Any]] = []

    def filter_log_events(self, **fields: Any) -> Mapping[str, Any]:
        self.asked.append(fields)
        if self._error is not None:
            raise self._error
        place = int(fields.get("nextToken", 0))
        page: dict[str, Any] = {
            "events": [
                {"timestamp": int(moment.timestamp() * 1000), "message": line}
                for moment, line in self._events[place : place + 1]
            ]
        }
        return page | ({"nextToken": str(place + 1)} if place + 1 < len(self._events) else {})


def test_the_log_is_read_page_by_page() -> None:
    """Up to the last millisecond of the span, lines of the canonical kind only."""
    line = written(REALTIME)[0]
    client = PagedLogs([(NOON, line), (NOON + HOUR / 4, line)])
    found = list(RequestLog(lambda: client, "group").between(NOON, NOON + HOUR))
    assert [record.ended_at for record in found] == [NOON, NOON + HOUR / 4]
    assert client.asked[0]["endTime"] == int((NOON + HOUR).timestamp() * 1000) - 1
    assert client.asked[0]["filterPattern"] == '{ $.message = "request" }'


def test_a_log_that_is_not_there_yet_is_empty_and_other_errors_are_told() -> None:
    """Half of an hour is never taken for the whole."""
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
    assert list(RequestLog(lambda: PagedLogs([], missing), "group").between(NOON, NOON + HOUR)) == []
    for error in (
        ClientError({"Error": {"Code": "ThrottlingException"}}, "FilterLogEvents"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1"),
    ):
        with pytest.raises(StorageError, match="cannot be read"):
            list(RequestLog(lambda error=error: PagedLogs([], error), "group").between(NOON, NOON + HOUR))  # type: ignore[misc]


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> UsageStore:
    """Both implementations."""
    if request.param == "memory":
        return InMemoryUsage()
    aws: LocalAws = request.getfixturevalue("aws")
    return DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)


@pytest.mark.parametrize("span", Span)
def test_roll_ups_come_back_as_they_were(store: UsageStore, span: Span) -> None:
    """With every figure, in the span that they belong to and in no other."""
    (row,) = roll_up([EXPECTED, replace(EXPECTED, request_id="req_2", outcome="failed", cache="hit")], NOON)
    store.put(span, [replace(row, totals=replace(row.totals, loaded=Decimal("0.25")))])
    longer = {Span.SLICE: NOON, Span.HOUR: NOON.replace(hour=0), Span.DAY: NOON.replace(hour=0)}[span]
    (found,) = store.read(span, longer)
    assert found == replace(row, totals=replace(row.totals, loaded=Decimal("0.25")))
    assert store.read(span, longer + 40 * DAY) == []


def test_a_look_that_saw_less_does_not_win(store: UsageStore) -> None:
    """Two turns may overlap; records only ever become more."""
    records = [make_record(str(number)) for number in range(3)]
    for seen in (2, 3, 1):
        store.put(Span.HOUR, roll_up(records[:seen], NOON))
    assert sum_of(store.read(Span.HOUR, NOON.replace(hour=0))).requests == 3


def test_how_far_it_goes_is_remembered(store: UsageStore) -> None:
    """For hours and days by themselves."""
    assert store.closed_until(Span.HOUR) is None
    store.close(Span.HOUR, NOON + HOUR)
    store.close(Span.DAY, NOON)
    assert (store.closed_until(Span.HOUR), store.closed_until(Span.DAY)) == (NOON + HOUR, NOON)


def test_a_job_is_found_by_when_it_was_settled(aws: LocalAws) -> None:
    """Not by when the model was done; open jobs are not found, and a webhook's delivery moves nothing."""
    jobs = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    bill = Bill(NOON + SLICE, Decimal("0.02"), Decimal("0.01"), {AvoidedReason.BATCH: Decimal("0.5")}, "green")
    for number in range(9):
        job = make_job(f"inf_{number}", webhook_url="https://example.com", webhook_pending=True)
        jobs.add(job)
        if number:
            ended = job._replace(
                state=JobState.FAILED,
                finished_at=NOON + timedelta(seconds=2),
                effective_cost=Decimal("0.02"),
                usage=Usage(1, None),
                held_seconds=Decimal("0.5"),
                bill=bill if number < 8 else bill._replace(settled_at=NOON + 2 * SLICE),
            )
            assert jobs.change(ended, expected=OPEN_STATES)
            assert jobs.change(ended._replace(webhook_pending=False), expected=frozenset({JobState.FAILED}))
    settled = SettledJobs(aws.dynamodb, JOBS_TABLE)
    found = sorted(settled.between(NOON, NOON + 2 * SLICE), key=lambda record: record.request_id)
    assert [record.request_id for record in found] == [f"inf_{number}" for number in range(1, 8)]
    assert found[0] == UsageRecord(
        request_id="inf_1",
        ended_at=NOON + SLICE,
        dimensions=DIMENSIONS._replace(inference_type="async", variant="green"),
        outcome="failed",
        latency_seconds=2.0,
        usage=Usage(1, None),
        effective=Decimal("0.02"),
        charged=Decimal("0.02"),
        instance=Decimal("0.01"),
        held_seconds=Decimal("0.5"),
        avoided={AvoidedReason.BATCH: Decimal("0.5")},
    )
    (again,) = settled.jobs_between(NOON + 2 * SLICE, NOON + 3 * SLICE)
    assert isinstance(again, Job)
    assert again.bill == bill._replace(settled_at=NOON + 2 * SLICE)
    stored = jobs.get("inf_1")
    assert stored is not None
    assert stored.bill == bill


def test_a_late_charge_is_dollars_without_a_request(aws: LocalAws) -> None:
    """And a row of the export."""
    jobs = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    bill = Bill(NOON, Decimal("0.5"), Decimal("0.5"))
    late = make_job("inf_1#late", state=JobState.EXPIRED, effective_cost=Decimal("0.5"), bill=bill)
    assert jobs.add_late(late, ())
    settled = SettledJobs(aws.dynamodb, JOBS_TABLE)
    (record,) = settled.between(NOON, NOON + SLICE)
    totals = totals_of(record)
    assert (totals.requests, totals.errors, totals.latencies, totals.charged) == (0, 0, {}, Decimal("0.5"))
    assert record.dimensions == DIMENSIONS._replace(inference_type="async")
    (row,) = settled.jobs_between(NOON, NOON + SLICE)
    assert isinstance(row, Job)
    assert (row.job_id, row.effective_cost) == ("inf_1#late", Decimal("0.5"))


class Instances:
    """A `MetricsClient` and an `EndpointsClient`."""

    def __init__(
        self, samples: dict[str, float], status: str | None = "InService", *, age: timedelta = timedelta(days=9)
    ) -> None:
        self._samples = samples
        self._status = status
        self._created = NOON + HOUR - age

    def get_metric_statistics(self, **fields: Any) -> Mapping[str, Any]:
        assert (fields["Namespace"], fields["Statistics"]) == ("/aws/sagemaker/Endpoints", ["SampleCount"])
        variant = fields["Dimensions"][1]["Value"]
        return {"Datapoints": [{"SampleCount": self._samples[variant]}] if variant in self._samples else []}

    def describe_endpoint(self, **fields: Any) -> Mapping[str, Any]:
        if self._status is None:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "DescribeEndpoint")
        assert fields == {"EndpointName": "e"}
        variants = [{"VariantName": "blue", "CurrentInstanceCount": 2}, {"VariantName": "green"}]
        return {"EndpointStatus": self._status, "CreationTime": self._created, "ProductionVariants": variants}


@pytest.mark.parametrize(
    ("instances", "variant", "hours"),
    [
        (Instances({"blue": 90.0, "green": 30.0}), "", Decimal(2)),
        (Instances({"blue": 90.0, "green": 30.0}), "green", Decimal("0.5")),
        (Instances({}), "", Decimal(2)),
        (Instances({}, "Failed"), "", Decimal(0)),
        (Instances({"AllTraffic": 60.0}, None), "", Decimal(1)),
        (Instances({}, None), "blue", Decimal(0)),
        (Instances({}, age=timedelta(minutes=15)), "", Decimal("0.5")),
        (Instances({}, age=-timedelta(minutes=1)), "", Decimal(0)),
        (Instances({"blue": 60.0}, age=-timedelta(minutes=1)), "", Decimal(1)),
    ],
)
def test_instance_hours_are_the_endpoints_own_count(instances: Instances, variant: str, hours: Decimal) -> None:
    """Samples of a minute each; without any, the instances of now since the endpoint's creation.

    A deleted endpoint has what it reported, and so has one that was deleted and made again meanwhile.
    """
    endpoint = Endpoint("e", variant, (), Decimal(1), 1)
    assert EndpointHours(lambda: instances, lambda: instances).of(endpoint, NOON) == hours


def test_the_function_adds_up_what_the_logs_and_the_table_have(
    aws: LocalAws, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the sample event to the ledger table, with streams and what refreshes cost; done twice it is the same."""
    now = datetime.now(NOON.tzinfo)
    logs = aws.boto3_client("logs")
    ids = {
        GATEWAY_LOGS: [f"req_{number}" for number in range(5)],
        STREAMING_LOGS: ["req_streamed"],
        CACHE_LOGS: [f"req_0{REFRESH_MARK}"],
    }
    try:
        for group, names in ids.items():
            lines = [line for name in names for line in written(REALTIME._replace(request_id=name))]
            events = [{"timestamp": int(now.timestamp() * 1000), "message": line} for line in lines]
            logs.create_log_group(logGroupName=group)
            logs.create_log_stream(logGroupName=group, logStreamName="one")
            logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
        event = json.loads((ROOT / "events/cost_reconcile/usage.json").read_text())
        for _ in range(2):
            handle(event, build(reconcile_settings()))
    finally:
        for found in logs.describe_log_groups()["logGroups"]:
            logs.delete_log_group(logGroupName=found["logGroupName"])
    store = DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)
    totals = sum_of(store.read(Span.SLICE, now.replace(minute=0, second=0, microsecond=0)))
    assert (totals.requests, totals.effective) == (6, 7 * Decimal("0.000012345678"))
    assert "error" not in capsys.readouterr().out
