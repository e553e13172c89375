"""The cost of requests as rows of FOCUS, the FinOps Open Cost and Usage Specification, version 1.0.

A job is a row of its own, and so are the lines of a batch that went to one deployment. Requests that were answered at
once are many and small, so those of one hour with the same dimensions are one row, with their number as its quantity.
Tollgate knows list prices only, so billed, contracted, list and effective cost are the same amount, the effective cost;
what AWS invoices may be less. Own columns begin with ``x_``.
https://focus.finops.org/focus-specification/v1-0/
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.usage import RollUp
from tollgate.domain.jobs.file_batches import CountedPart
from tollgate.domain.jobs.job import Bill, Job, JobState
from tollgate.domain.money import ZERO, usd
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.spans import HOUR, hour_of, month_of

AWS = "Amazon Web Services"
_RESOURCE_TYPES = {
    InferenceType.REALTIME: "SageMaker real-time endpoint",
    InferenceType.ASYNC: "SageMaker asynchronous endpoint",
    InferenceType.BATCH: "SageMaker transform job",
}


COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_AvoidedCost",
    "x_CachedInputTokens",
    "x_CatalogueVersion",
    "x_Deployment",
    "x_Errors",
    "x_EstimatedCost",
    "x_InferenceType",
    "x_InputTokens",
    "x_KeyId",
    "x_LoadedCost",
    "x_Model",
    "x_OutputTokens",
    "x_RequestId",
    "x_Requests",
    "x_State",
    "x_Team",
    "x_Tenant",
    "x_Variant",
)
"""Columns of the file, in its order: FOCUS's by name, then our own by name."""

FocusRow = Mapping[str, str]
"""Column to text; an empty text is null."""


class Seller(NamedTuple):
    """Who sells a deployment's answers: FOCUS's `ServiceName`, `ResourceType` and `ProviderName`."""

    service: str
    resource_type: str
    provider: str = AWS


def sellers_of(catalogue: Catalogue) -> Mapping[str, Seller]:
    """Sellers of token-priced deployments, by ``model/deployment``; the others are SageMaker's."""
    return {
        deployment.resource: _seller(deployment.tokens)
        for model in catalogue.models.values()
        for deployment in model.deployments
        if deployment.tokens is not None
    }


def _seller(backend: TokenBackend) -> Seller:
    if backend.provider is Provider.BEDROCK:
        return Seller("Amazon Bedrock", "Bedrock model")
    host = urlsplit(backend.url).hostname or backend.url
    return Seller(host, "Model by the token", host)


@dataclass(frozen=True, slots=True)
class FocusAccount:
    """The account that the rows belong to.

    Attributes:
        account_id: AWS account that is invoiced.
        region: of the stack.
        stack: its name, for the tag ``tollgate:stack``.
        sellers: by ``model/deployment``, of those that SageMaker does not serve.
    """

    account_id: str
    region: str
    stack: str
    sellers: Mapping[str, Seller] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FocusDay:
    """The rows of a day.

    Attributes:
        rows: of everything that ended that day with a known cost.
        total: dollars, exactly the sum of the rows' costs.
        unknown: ids of jobs and parts of batches whose cost is unknown; FOCUS has no null cost, and zero would be
            false.
        unknown_requests: number of requests answered at once whose cost is unknown.
    """

    rows: tuple[FocusRow, ...]
    total: Decimal
    unknown: tuple[str, ...] = ()
    unknown_requests: int = 0


def focus_jobs(jobs: Iterable[Job | CountedPart], account: FocusAccount) -> FocusDay:
    """The rows of jobs and of parts of batches that have ended, by their ids; open ones are left out.

    Jobs that waited for a real-time endpoint to wake are in the rows of the hour, as all real-time requests.
    """
    found: list[tuple[str, Decimal | None, Callable[[Decimal, FocusAccount], FocusRow]]] = []
    for one in jobs:
        if isinstance(one, CountedPart):
            found.append((one.run_id, one.count.effective, partial(_part_row, one)))
        elif one.bill is not None and one.inference_type is not InferenceType.REALTIME:
            found.append((one.job_id, one.effective_cost, partial(_job_row, one, one.bill)))
    found.sort(key=lambda entry: entry[0])
    known = [(cost, row) for _, cost, row in found if cost is not None]
    return FocusDay(
        rows=tuple(row(cost, account) for cost, row in known),
        total=sum((cost for cost, _ in known), ZERO),
        unknown=tuple(name for name, cost, _ in found if cost is None),
    )


def focus_roll_ups(roll_ups: Iterable[RollUp], account: FocusAccount) -> FocusDay:
    """The rows of requests answered at once and of dropped files, from roll-ups of hours.

    Those of jobs are left out: they have rows of their own. Dropped files have no tenant.
    """
    wanted = [
        each
        for each in roll_ups
        if (each.totals.requests or each.totals.effective)
        and (each.dimensions.inference_type == InferenceType.REALTIME.value or not each.dimensions.tenant)
    ]
    wanted.sort(key=lambda each: (each.start, each.dimensions))
    return FocusDay(
        rows=tuple(_roll_up_row(each, account) for each in wanted),
        total=sum((each.totals.effective for each in wanted), Decimal(0)),
        unknown_requests=sum(each.totals.unknown_costs for each in wanted),
    )


def _job_row(job: Job, bill: Bill, cost: Decimal, account: FocusAccount) -> FocusRow:
    ended = bill.settled_at.astimezone(UTC)
    values = _common(ended, cost, job.inference_type, account, resource=job.resource, team=job.owner.team) | {
        "ChargeDescription": f"One {job.inference_type.value} inference request to {job.resource}",
        "ConsumedQuantity": _number(job.held_seconds),
        "ConsumedUnit": "" if job.held_seconds is None else "Seconds",
        "ContractedUnitPrice": _number(cost),
        "ListUnitPrice": _number(cost),
        "PricingQuantity": "1",
        "x_AvoidedCost": _number(job.avoided_cost),
        "x_CachedInputTokens": _number(job.usage.cached_input_tokens),
        "x_CatalogueVersion": str(job.catalogue_version),
        "x_Deployment": job.deployment,
        "x_Errors": "0" if job.state is JobState.COMPLETED else "1",
        "x_EstimatedCost": _number(job.estimated_cost),
        "x_InputTokens": _number(job.usage.input_tokens),
        "x_KeyId": job.owner.key_id,
        "x_Model": job.model,
        "x_OutputTokens": _number(job.usage.output_tokens),
        "x_RequestId": job.job_id,
        "x_Requests": "1",
        "x_State": job.state.value,
        "x_Tenant": job.owner.tenant,
        "x_Variant": bill.variant,
    }
    return {column: values.get(column, "") for column in COLUMNS}


def _part_row(part: CountedPart, cost: Decimal, account: FocusAccount) -> FocusRow:
    count, (model, _, deployment) = part.count, part.resource.partition("/")
    # The lines differ in cost; only a mean is known.
    unit = usd(cost / count.requests)
    ended = count.bill.settled_at.astimezone(UTC)
    values = _common(ended, cost, InferenceType.BATCH, account, resource=part.resource, team=part.owner.team) | {
        "ChargeDescription": f"The lines of batch {part.batch_id} that went to {part.resource}",
        "ConsumedQuantity": _number(count.held_seconds),
        "ConsumedUnit": "" if count.held_seconds is None else "Seconds",
        "ContractedUnitPrice": _number(unit),
        "ListUnitPrice": _number(unit),
        "PricingQuantity": str(count.requests),
        "x_AvoidedCost": _number(sum(count.bill.avoided.values(), ZERO)) if count.bill.avoided else "",
        "x_Deployment": deployment,
        "x_Errors": str(count.errors),
        "x_EstimatedCost": _number(part.estimate),
        "x_InputTokens": str(count.input_tokens),
        "x_KeyId": part.owner.key_id,
        "x_Model": model,
        "x_OutputTokens": str(count.output_tokens),
        "x_RequestId": part.run_id,
        "x_Requests": str(count.requests),
        "x_State": part.status.value,
        "x_Tenant": part.owner.tenant,
        "x_Variant": count.bill.variant,
    }
    return {column: values.get(column, "") for column in COLUMNS}


def _roll_up_row(each: RollUp, account: FocusAccount) -> FocusRow:
    dimensions, totals = each.dimensions, each.totals
    kind, resource = InferenceType(dimensions.inference_type), f"{dimensions.model}/{dimensions.deployment}".strip("/")
    # What was done beside requests alone, such as answers made anew for the cache, counts as one thing.
    quantity = totals.requests or 1
    # Different amounts have only a mean, which need not be a decimal fraction.
    unit = usd(totals.effective / quantity)
    what = (
        f"The {kind.value} inference requests to {resource}"
        if totals.requests
        else f"Work for {resource or 'the cache'}"
    )
    values = _common(each.start, totals.effective, kind, account, resource=resource, team=dimensions.team) | {
        "ChargeDescription": f"{what} in an hour",
        "ConsumedQuantity": _number(totals.held_seconds),
        "ConsumedUnit": "Seconds",
        "ContractedUnitPrice": _number(unit),
        "ListUnitPrice": _number(unit),
        "PricingQuantity": str(quantity),
        "x_AvoidedCost": _number(totals.avoided_total),
        "x_CachedInputTokens": str(totals.cached_input_tokens),
        "x_Deployment": dimensions.deployment,
        "x_Errors": str(totals.errors),
        "x_InputTokens": str(totals.input_tokens),
        "x_KeyId": dimensions.key_id,
        "x_LoadedCost": _number(totals.loaded),
        "x_Model": dimensions.model,
        "x_OutputTokens": str(totals.output_tokens),
        "x_Requests": str(totals.requests),
        "x_Tenant": dimensions.tenant,
        "x_Variant": dimensions.variant,
    }
    return {column: values.get(column, "") for column in COLUMNS}


def _common(
    moment: datetime, cost: Decimal, kind: InferenceType, account: FocusAccount, *, resource: str, team: str
) -> dict[str, str]:
    """What the rows of jobs and of hours have in common."""
    hour, month = hour_of(moment), month_of(moment)
    amount = _number(cost)
    seller = account.sellers.get(resource) or Seller("Amazon SageMaker", _RESOURCE_TYPES[kind])
    tags = {"InferenceType": kind.value, "tollgate:stack": account.stack} | ({"team": team} if team else {})
    return {
        "BilledCost": amount,
        "BillingAccountId": account.account_id,
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _time(month_of(month + timedelta(days=31))),
        "BillingPeriodStart": _time(month),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _time(hour + HOUR),
        "ChargePeriodStart": _time(hour),
        "ContractedCost": amount,
        "EffectiveCost": amount,
        "InvoiceIssuerName": seller.provider,
        "ListCost": amount,
        "PricingCategory": "Standard",
        "PricingUnit": "Requests",
        "ProviderName": seller.provider,
        "PublisherName": seller.provider,
        "RegionId": account.region,
        "ResourceId": resource,
        "ResourceName": resource,
        "ResourceType": seller.resource_type,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": seller.service,
        "Tags": json.dumps(tags, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
        "x_InferenceType": kind.value,
        "x_Team": team,
    }


def _number(value: Decimal | int | None) -> str:
    return "" if value is None else format(Decimal(value), "f")


def _time(moment: datetime) -> str:
    """UTC to the second, as FOCUS wants date and time."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
