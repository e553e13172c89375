"""The export keeps the column rules of FOCUS 1.0 and adds up exactly."""

import csv
import gzip
import io
import json
from collections.abc import Mapping
from copy import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import OWNER, make_catalogue, make_job
from tests.fakes.token_house import BEDROCK, TOKENS, token_catalogue
from tests.fakes.usage import DIMENSIONS, make_record
from tests.unit.domain.focus_rules import faults
from tollgate.adapters.metering.focus_file import focus_csv_gz, focus_key
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.focus import COLUMNS, FocusAccount, FocusDay, focus_jobs, focus_roll_ups, sellers_of
from tollgate.domain.costs.usage import UsageRecord, roll_up
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.file_batches import CountedPart, FileBatchStatus
from tollgate.domain.jobs.job import Bill, Job, JobState, Usage
from tollgate.domain.spans import HOUR

DAY = date(2026, 11, 22)
ACCOUNT = FocusAccount("123456789012", "eu-west-1", "tollgate")
NOON = datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=UTC)


def _ended(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "state": JobState.COMPLETED,
        "finished_at": NOON,
        "bill": Bill(NOON, Decimal(0)),
        "effective_cost": Decimal("0.000012345678"),
        "held_seconds": Decimal("1.5"),
    }
    return make_job(**values | changes)


def _read(found: FocusDay) -> list[dict[str, str]]:
    text = gzip.decompress(focus_csv_gz(found.rows)).decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


JOBS = st.builds(
    _ended,
    job_id=st.uuids().map(lambda value: f"inf_{value.hex}"),
    bill=st.datetimes(datetime(2026, 11, 22), datetime(2026, 11, 22, 23, 59, 59), timezones=st.just(UTC)).map(  # noqa: DTZ001 -- the bounds take no zone
        lambda moment: Bill(moment, Decimal(0))
    ),
    effective_cost=st.one_of(st.none(), st.decimals(min_value=0, max_value=10_000, places=12)),
    avoided_cost=st.one_of(st.none(), st.decimals(min_value=-100, max_value=100, places=12)),
    held_seconds=st.one_of(st.none(), st.decimals(min_value=0, max_value=10_000, places=6)),
    usage=st.builds(Usage, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
    state=st.sampled_from([JobState.COMPLETED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED]),
)


@given(st.lists(JOBS, max_size=8, unique_by=lambda job: job.job_id))
def test_every_file_keeps_the_rules_and_adds_up_exactly(jobs: list[Job]) -> None:
    """Read back from the compressed file; each job is a row or named as unknown, never a zero."""
    found = focus_jobs(jobs, ACCOUNT)
    rows = _read(found)
    assert not (rows and faults(rows))
    known = {job.job_id: job.effective_cost for job in jobs if job.effective_cost is not None}
    for column in ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost"):
        assert sum(Decimal(row[column]) for row in rows) == sum(known.values()) == found.total
    assert {row["x_RequestId"] for row in rows} == set(known)
    assert set(found.unknown) == {job.job_id for job in jobs} - set(known)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("BilledCost", ""),
        ("ListCost", "1E-5"),
        ("ListUnitPrice", "7"),
        ("ChargeCategory", "usage"),
        ("ChargePeriodStart", "2026-11-22 12:00"),
        ("ConsumedUnit", ""),
        ("BillingPeriodEnd", "2026-11-01T00:00:00Z"),
        ("Tags", '{"a": 1}'),
        ("Own", "1"),
    ],
)
def test_the_validator_sees_each_kind_of_mistake(column: str, value: str) -> None:
    """A rule that cannot fail would prove nothing."""
    (row,) = _read(focus_jobs([_ended()], ACCOUNT))
    assert faults([row]) == []
    assert faults([row | {column: value}])


def test_a_row_says_who_what_and_when() -> None:
    """The hour and the month of the end, the deployment, and our own columns."""
    (row,) = _read(focus_jobs([_ended(usage=Usage(0, None))], ACCOUNT))
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (row["EffectiveCost"], row["ConsumedQuantity"]) == ("0.000012345678", "1.5")
    assert (row["x_InputTokens"], row["x_OutputTokens"]) == ("0", "")
    assert json.loads(row["Tags"])["tollgate:stack"] == "tollgate"


def _filled(row: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in row.items() if text}


_EVERY_ROW = {
    "BillingAccountId": "123456789012",
    "BillingCurrency": "USD",
    "BillingPeriodEnd": "2026-12-01T00:00:00Z",
    "BillingPeriodStart": "2026-11-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "ChargePeriodEnd": "2026-11-22T13:00:00Z",
    "ChargePeriodStart": "2026-11-22T12:00:00Z",
    "InvoiceIssuerName": "Amazon Web Services",
    "PricingCategory": "Standard",
    "PricingUnit": "Requests",
    "ProviderName": "Amazon Web Services",
    "PublisherName": "Amazon Web Services",
    "RegionId": "eu-west-1",
    "ResourceId": "echo/small",
    "ResourceName": "echo/small",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Amazon SageMaker",
    "x_Deployment": "small",
    "x_KeyId": "key_1",
    "x_Model": "echo",
    "x_Tenant": "acme",
}


def _costs(total: str, unit: str) -> dict[str, str]:
    totals = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), total)
    return totals | dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), unit)


def test_every_column_of_a_failed_job() -> None:
    """All that is known of it, and nothing else; the team's letters stay as they are."""
    job = _ended(
        job_id="inf_7",
        state=JobState.FAILED,
        bill=Bill(NOON, Decimal(0), variant="blue"),
        avoided_cost=Decimal("-0.5"),
        usage=Usage(11, 7, 3),
        catalogue_version=9,
    )
    (row,) = focus_jobs([job._replace(owner=job.owner._replace(team="été"))], ACCOUNT).rows
    assert _filled(row) == _EVERY_ROW | _costs("0.000012345678", "0.000012345678") | {
        "ChargeDescription": "One async inference request to echo/small",
        "ConsumedQuantity": "1.5",
        "ConsumedUnit": "Seconds",
        "PricingQuantity": "1",
        "ResourceType": "SageMaker asynchronous endpoint",
        "Tags": '{"InferenceType":"async","team":"été","tollgate:stack":"tollgate"}',
        "x_AvoidedCost": "-0.5",
        "x_CachedInputTokens": "3",
        "x_CatalogueVersion": "9",
        "x_Errors": "1",
        "x_EstimatedCost": "0.000012",
        "x_InferenceType": "async",
        "x_InputTokens": "11",
        "x_OutputTokens": "7",
        "x_RequestId": "inf_7",
        "x_Requests": "1",
        "x_State": "failed",
        "x_Team": "été",
        "x_Variant": "blue",
    }


def test_every_column_of_a_part_of_a_batch() -> None:
    """Its lines have only a mean price; what it avoided is the sum of the reasons."""
    avoided = {AvoidedReason.TIER: Decimal("0.5"), AvoidedReason.BATCH: Decimal("0.25")}
    count = FileCount(Bill(NOON, Decimal(2), avoided=avoided, variant="blue"), 3, 1, 40, 20, Decimal(2), Decimal("9.5"))
    owner = OWNER._replace(team="")
    part = CountedPart("run_1", "batch_1", owner, "echo/small", FileBatchStatus.CANCELLED, Decimal("1.5"), count)
    (row,) = focus_jobs([part], ACCOUNT).rows
    expected = (
        _EVERY_ROW
        | _costs("2", "0.666666666667")
        | {
            "ChargeDescription": "The lines of batch batch_1 that went to echo/small",
            "ConsumedQuantity": "9.5",
            "ConsumedUnit": "Seconds",
            "PricingQuantity": "3",
            "ResourceType": "SageMaker transform job",
            "Tags": '{"InferenceType":"batch","tollgate:stack":"tollgate"}',
            "x_AvoidedCost": "0.75",
            "x_Errors": "1",
            "x_EstimatedCost": "1.5",
            "x_InferenceType": "batch",
            "x_InputTokens": "40",
            "x_OutputTokens": "20",
            "x_RequestId": "run_1",
            "x_Requests": "3",
            "x_State": "cancelled",
            "x_Variant": "blue",
        }
    )
    assert _filled(row) == expected
    unknown = replace(count, held_seconds=None, bill=Bill(NOON, Decimal(2), variant="blue"))
    (row,) = focus_jobs([replace(part, count=unknown)], ACCOUNT).rows
    for name in ("ConsumedQuantity", "ConsumedUnit", "x_AvoidedCost"):
        del expected[name]
    assert _filled(row) == expected


def test_every_column_of_an_hour_of_requests() -> None:
    """Sums, and the mean of the prices."""
    usage = Usage(5, 4, 2)
    records = [
        make_record("req_1", effective=Decimal(1), usage=usage, avoided={AvoidedReason.ROAD: Decimal(3)}),
        make_record("req_2", effective=Decimal(2), outcome="failed", usage=usage),
    ]
    (hour,) = roll_up(records, NOON.replace(minute=0, second=0, microsecond=0))
    totals = replace(hour.totals, loaded=Decimal("3.25"))
    hour = replace(hour, totals=totals, dimensions=hour.dimensions._replace(variant="blue"))
    (row,) = focus_roll_ups([hour], ACCOUNT).rows
    assert _filled(row) == _EVERY_ROW | _costs("3", "1.500000000000") | {
        "ChargeDescription": "The realtime inference requests to echo/small in an hour",
        "ConsumedQuantity": "0.6",
        "ConsumedUnit": "Seconds",
        "PricingQuantity": "2",
        "ResourceType": "SageMaker real-time endpoint",
        "Tags": '{"InferenceType":"realtime","team":"search","tollgate:stack":"tollgate"}',
        "x_AvoidedCost": "3",
        "x_CachedInputTokens": "4",
        "x_Errors": "1",
        "x_InferenceType": "realtime",
        "x_InputTokens": "10",
        "x_LoadedCost": "3.25",
        "x_OutputTokens": "8",
        "x_Requests": "2",
        "x_Team": "search",
        "x_Variant": "blue",
    }


def test_rows_have_one_order() -> None:
    """Whatever the order in which the tables gave them, so the same day is the same file."""
    jobs = [_ended(job_id=f"inf_{n}", effective_cost=Decimal(1) if n % 2 else None) for n in (3, 1, 4, 2)]
    day = focus_jobs(jobs, ACCOUNT)
    assert [row["x_RequestId"] for row in day.rows] == ["inf_1", "inf_3"]
    assert day.unknown == ("inf_2", "inf_4")
    hours = [
        hour
        for start, key in ((NOON + HOUR, "key_1"), (NOON, "key_2"), (NOON, "key_1"))
        for hour in roll_up([make_record(dimensions=DIMENSIONS._replace(key_id=key))], start)
    ]
    rows = focus_roll_ups(hours, ACCOUNT).rows
    assert [(row["ChargePeriodStart"][11:13], row["x_KeyId"]) for row in rows] == [
        ("12", "key_1"),
        ("12", "key_2"),
        ("13", "key_1"),
    ]


def test_jobs_on_a_real_time_endpoint_are_in_the_hours() -> None:
    """A row of their own would count them twice."""
    day = focus_jobs([_ended(inference_type=InferenceType.REALTIME)], ACCOUNT)
    assert day == FocusDay((), Decimal(0))


RECORDS = st.builds(
    make_record,
    request_id=st.uuids().map(str),
    dimensions=st.builds(
        DIMENSIONS._replace,
        key_id=st.sampled_from(["key_1", "key_2"]),
        inference_type=st.sampled_from(["realtime", "async"]),
        tenant=st.sampled_from(["acme", ""]),
    ),
    effective=st.none() | st.decimals(min_value=0, max_value=10, places=12),
    avoided=st.just({AvoidedReason.ROAD: Decimal("-0.000001")}),
)


@given(st.lists(RECORDS, max_size=30, unique_by=lambda record: record.request_id))
def test_hours_of_real_time_requests_keep_the_rules_and_add_up_exactly(records: list[UsageRecord]) -> None:
    """One row for each hour and dimension; jobs are left out, for they have rows of their own; files are not."""
    found = focus_roll_ups(roll_up(records, NOON), ACCOUNT)
    rows = _read(found)
    assert not (rows and faults(rows))
    ours = [r for r in records if r.dimensions.inference_type == "realtime" or not r.dimensions.tenant]
    assert sum(Decimal(row["EffectiveCost"]) for row in rows) == sum(r.effective or 0 for r in ours) == found.total
    assert sum(int(row["PricingQuantity"]) for row in rows) == len(ours)
    assert found.unknown_requests == sum(r.effective is None for r in ours)


def test_open_jobs_are_no_rows() -> None:
    """They have cost nothing that is known yet."""
    assert focus_jobs([_ended(state=JobState.SUBMITTED, bill=None)], ACCOUNT).rows == ()


def test_december_ends_in_january() -> None:
    """The billing period crosses the year."""
    job = _ended(bill=Bill(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), Decimal(0)))
    (row,) = focus_jobs([job], ACCOUNT).rows
    assert (row["BillingPeriodEnd"], row["ChargePeriodEnd"]) == ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z")


def test_an_empty_day_is_a_heading() -> None:
    """And the same day always gives the same bytes."""
    nothing = focus_csv_gz(focus_jobs([], ACCOUNT).rows)
    assert gzip.decompress(nothing).decode().splitlines() == [",".join(COLUMNS)]
    assert nothing == focus_csv_gz(focus_jobs([], ACCOUNT).rows)
    assert focus_key(DAY) == "exports/focus/date=2026-11-22/part.csv.gz"


def test_a_team_cannot_put_a_formula_into_a_spreadsheet() -> None:
    """What begins like one is written as text."""
    job = _ended()
    (row,) = _read(focus_jobs([job._replace(owner=job.owner._replace(team="=1+1"))], ACCOUNT))
    assert row["x_Team"] == "'=1+1"


def test_what_is_paid_by_the_token_names_its_seller() -> None:
    """Bedrock is AWS's, on the same invoice; an API elsewhere is its host's."""
    text = TOKENS + BEDROCK
    assert sellers_of(make_catalogue()) == {}
    account = replace(ACCOUNT, sellers=sellers_of(token_catalogue(text)))
    rows = focus_jobs([_ended(model="chat", deployment=name) for name in ("paid", "bedrock", "gone")], account).rows
    named = {row["x_Deployment"]: (row["ServiceName"], row["ProviderName"], row["ResourceType"]) for row in rows}
    assert named == {
        "paid": ("api.example.com", "api.example.com", "Model by the token"),
        "bedrock": ("Amazon Bedrock", "Amazon Web Services", "Bedrock model"),
        "gone": ("Amazon SageMaker", "Amazon Web Services", "SageMaker asynchronous endpoint"),
    }


def test_work_beside_requests_is_in_the_export() -> None:
    """Answers made anew for the cache, first answers that were not good enough, and values that clients keep."""
    made = replace(make_record("req_1#refresh"), requests=0)
    kept = replace(make_record("req_2#kept"), requests=0, dimensions=DIMENSIONS._replace(model="", deployment=""))
    rows = roll_up([made, kept], NOON)
    day = focus_roll_ups(rows, ACCOUNT)
    assert day.total == sum(Decimal(row["BilledCost"]) for row in day.rows) == made.charged + kept.charged
    told = {
        row["ResourceId"]: (row["PricingQuantity"], row["x_Requests"], row["ChargeDescription"]) for row in day.rows
    }
    assert told == {
        "echo/small": ("1", "0", "Work for echo/small in an hour"),
        "": ("1", "0", "Work for the cache in an hour"),
    }
