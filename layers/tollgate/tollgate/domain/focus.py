"""Ended jobs as rows of FOCUS, the FinOps Open Cost and Usage Specification, version 1.0.

One row is what one request cost. A list price is all that Tollgate knows, so billed, contracted, list and effective
cost are the same amount, the request's effective cost; what AWS invoices may be less. Own columns begin with ``x_``.
https://focus.finops.org/focus-specification/v1-0/
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs import FINAL_STATES, Job

AWS = "Amazon Web Services"
_RESOURCE_TYPES = {
    InferenceType.REALTIME: "SageMaker real-time endpoint",
    InferenceType.ASYNC: "SageMaker asynchronous endpoint",
    InferenceType.BATCH: "SageMaker transform job",
}
_HOUR = timedelta(hours=1)


class FocusKind(StrEnum):
    """Data types of columns."""

    TEXT = "String"
    NUMBER = "Decimal"
    TIME = "Date/Time"
    JSON = "JSON"


@dataclass(frozen=True, slots=True)
class FocusColumn:
    """What a value of a column may be.

    Attributes:
        nullable: whether it may be missing; an empty field in the file.
        allowed: the only values, if the specification lists them.
    """

    name: str
    kind: FocusKind
    nullable: bool = False
    allowed: frozenset[str] = frozenset()


_T, _N, _D, _J = FocusKind.TEXT, FocusKind.NUMBER, FocusKind.TIME, FocusKind.JSON

COLUMNS = (
    FocusColumn("BilledCost", _N),
    FocusColumn("BillingAccountId", _T),
    FocusColumn("BillingAccountName", _T, nullable=True),
    FocusColumn("BillingCurrency", _T, allowed=frozenset({"USD"})),
    FocusColumn("BillingPeriodEnd", _D),
    FocusColumn("BillingPeriodStart", _D),
    FocusColumn("ChargeCategory", _T, allowed=frozenset({"Usage", "Purchase", "Tax", "Credit", "Adjustment"})),
    FocusColumn("ChargeClass", _T, nullable=True, allowed=frozenset({"Correction"})),
    FocusColumn("ChargeDescription", _T, nullable=True),
    FocusColumn("ChargeFrequency", _T, allowed=frozenset({"One-Time", "Recurring", "Usage-Based"})),
    FocusColumn("ChargePeriodEnd", _D),
    FocusColumn("ChargePeriodStart", _D),
    FocusColumn("ConsumedQuantity", _N, nullable=True),
    FocusColumn("ConsumedUnit", _T, nullable=True),
    FocusColumn("ContractedCost", _N),
    FocusColumn("ContractedUnitPrice", _N, nullable=True),
    FocusColumn("EffectiveCost", _N),
    FocusColumn("InvoiceIssuerName", _T),
    FocusColumn("ListCost", _N),
    FocusColumn("ListUnitPrice", _N, nullable=True),
    FocusColumn("PricingCategory", _T, nullable=True, allowed=frozenset({"Standard", "Dynamic", "Committed", "Other"})),
    FocusColumn("PricingQuantity", _N, nullable=True),
    FocusColumn("PricingUnit", _T, nullable=True),
    FocusColumn("ProviderName", _T),
    FocusColumn("PublisherName", _T),
    FocusColumn("RegionId", _T, nullable=True),
    FocusColumn("RegionName", _T, nullable=True),
    FocusColumn("ResourceId", _T, nullable=True),
    FocusColumn("ResourceName", _T, nullable=True),
    FocusColumn("ResourceType", _T, nullable=True),
    FocusColumn("ServiceCategory", _T),
    FocusColumn("ServiceName", _T),
    FocusColumn("SubAccountId", _T, nullable=True),
    FocusColumn("SubAccountName", _T, nullable=True),
    FocusColumn("Tags", _J, nullable=True),
    FocusColumn("x_AvoidedCost", _N, nullable=True),
    FocusColumn("x_CatalogueVersion", _N),
    FocusColumn("x_Deployment", _T),
    FocusColumn("x_EstimatedCost", _N),
    FocusColumn("x_InferenceType", _T),
    FocusColumn("x_InputTokens", _N, nullable=True),
    FocusColumn("x_KeyId", _T),
    FocusColumn("x_Model", _T),
    FocusColumn("x_OutputTokens", _N, nullable=True),
    FocusColumn("x_RequestId", _T),
    FocusColumn("x_State", _T),
    FocusColumn("x_Team", _T, nullable=True),
    FocusColumn("x_Tenant", _T),
)
"""Columns of the file, in its order: FOCUS's by name, then our own by name."""

FocusRow = Mapping[str, str]
"""Column to text; an empty text is null."""


@dataclass(frozen=True, slots=True)
class FocusAccount:
    """Where the rows belong.

    Attributes:
        account_id: AWS account that is invoiced.
        region: of the stack.
        stack: its name, for the tag ``tollgate:stack``.
    """

    account_id: str
    region: str
    stack: str


@dataclass(frozen=True, slots=True)
class FocusDay:
    """The rows of a day.

    Attributes:
        rows: of all requests that ended that day with a known cost, by request id.
        total: dollars, exactly the sum of the rows' costs.
        unknown: ids of requests whose cost is not known; FOCUS has no null cost, and zero would be a lie.
    """

    rows: tuple[FocusRow, ...]
    total: Decimal
    unknown: tuple[str, ...]


def focus_day(jobs: Iterable[Job], day: date, account: FocusAccount) -> FocusDay:
    """The rows of all jobs that ended on a day, UTC; jobs of other days and open ones are left out."""
    ended: list[tuple[Job, datetime]] = []
    for job in jobs:
        if job.state in FINAL_STATES and job.finished_at is not None:
            moment = job.finished_at.astimezone(UTC)
            if moment.date() == day:
                ended.append((job, moment))
    ended.sort(key=lambda entry: entry[0].job_id)
    known = [(job, moment, job.effective_cost) for job, moment in ended if job.effective_cost is not None]
    return FocusDay(
        rows=tuple(_row(job, moment, cost, account) for job, moment, cost in known),
        total=sum((cost for _, _, cost in known), Decimal(0)),
        unknown=tuple(job.job_id for job, _ in ended if job.effective_cost is None),
    )


def _row(job: Job, ended: datetime, cost: Decimal, account: FocusAccount) -> FocusRow:
    hour = ended.replace(minute=0, second=0, microsecond=0)
    month = hour.replace(day=1, hour=0)
    next_month = (month + timedelta(days=31)).replace(day=1)
    amount = _number(cost)
    tags = {"InferenceType": job.inference_type.value, "tollgate:stack": account.stack}
    if job.owner.team:
        tags["team"] = job.owner.team
    values = {
        "BilledCost": amount,
        "BillingAccountId": account.account_id,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _time(next_month),
        "BillingPeriodStart": _time(month),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"One {job.inference_type.value} inference request to {job.resource}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _time(hour + _HOUR),
        "ChargePeriodStart": _time(hour),
        "ConsumedQuantity": _number(job.held_seconds),
        "ConsumedUnit": "" if job.held_seconds is None else "Seconds",
        "ContractedCost": amount,
        "ContractedUnitPrice": amount,
        "EffectiveCost": amount,
        "InvoiceIssuerName": AWS,
        "ListCost": amount,
        "ListUnitPrice": amount,
        "PricingCategory": "Standard",
        "PricingQuantity": "1",
        "PricingUnit": "Requests",
        "ProviderName": AWS,
        "PublisherName": AWS,
        "RegionId": account.region,
        "ResourceId": job.resource,
        "ResourceName": job.resource,
        "ResourceType": _RESOURCE_TYPES[job.inference_type],
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Amazon SageMaker",
        "Tags": json.dumps(tags, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
        "x_AvoidedCost": _number(job.avoided_cost),
        "x_CatalogueVersion": str(job.catalogue_version),
        "x_Deployment": job.deployment,
        "x_EstimatedCost": _number(job.estimated_cost),
        "x_InferenceType": job.inference_type.value,
        "x_InputTokens": _number(job.usage.input_tokens),
        "x_KeyId": job.owner.key_id,
        "x_Model": job.model,
        "x_OutputTokens": _number(job.usage.output_tokens),
        "x_RequestId": job.job_id,
        "x_State": job.state.value,
        "x_Team": job.owner.team,
        "x_Tenant": job.owner.tenant,
    }
    return {column.name: values.get(column.name, "") for column in COLUMNS}


def _number(value: Decimal | int | None) -> str:
    return "" if value is None else format(Decimal(value), "f")


def _time(moment: datetime) -> str:
    """UTC to the second, as FOCUS wants date and time."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
