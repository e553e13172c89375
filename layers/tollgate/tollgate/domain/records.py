"""The record that every request leaves behind: one metric record and one log line are made of it."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.jobs.job import Owner, Usage

CALLER_GONE = "cancelled_by_caller"
"""Error code of a request whose caller hung up in the midst of the answer. What ran is charged; how long it took is no
latency of the model's."""

REFRESH_MARK = "#refresh"
"""End of the id of a record that is about no request: an answer was made anew, at the cost of who was given the old."""

KEPT_MARK = "#kept"
"""End of the id of a record about no request: a client had a value of its own kept, which asks no model."""

NO_REQUEST = (REFRESH_MARK, KEPT_MARK)


class RequestRecord(NamedTuple):
    """A request that has ended, well or badly.

    Attributes:
        request_id: of the API call; job_id where the request became a job.
        resource: ``model/deployment``; empty when the request failed before routing.
        latency_seconds: from acceptance to the end.
        outcome: ``completed``, ``failed``, ``expired``, ``cancelled``, ``rejected``, ``accepted`` as a job, or
            ``routed`` where only the decision was asked for.
        status: HTTP status where there was one.
        cache: ``hit``, ``near``, ``stale``, ``miss`` or ``bypass``; empty for a model without a cache.
        budget_remaining: dollars that the tightest budget has left, where there is one and it is known.
        input_tokens_saved: that trimming kept from being sent.
        first_resource: ``model/deployment`` whose answer was not good enough, where a larger one was asked.
        first_cost: dollars of that first call; `effective_cost` is of both.
        first_instance_cost, first_held_seconds: of the first call; `instance_cost` and `held_seconds` are of the last.
        charged_cost: dollars that budgets were charged with, where that is not `effective_cost`.
        instance_cost: the instance share of `effective_cost`.
        held_seconds: instance seconds behind it.
        avoided_reasons: `avoided_cost` in its parts.
        variant: of the endpoint, where the catalogue names one.
    """

    request_id: str
    owner: Owner | None
    inference_type: InferenceType | None
    resource: str
    outcome: str
    latency_seconds: float
    job_id: str = ""
    status: int | None = None
    error_code: str = ""
    route_reason: str = ""
    usage: Usage = Usage()
    estimated_cost: Decimal | None = None
    effective_cost: Decimal | None = None
    avoided_cost: Decimal | None = None
    traceparent: str = ""
    catalogue_version: int = 0
    budget_remaining: Decimal | None = None
    cache: str = ""
    input_tokens_saved: int = 0
    first_resource: str = ""
    first_cost: Decimal | None = None
    first_instance_cost: Decimal | None = None
    first_held_seconds: Decimal | None = None
    charged_cost: Decimal | None = None
    instance_cost: Decimal | None = None
    held_seconds: Decimal | None = None
    avoided_reasons: Mapping[AvoidedReason, Decimal] = MappingProxyType({})
    variant: str = ""
