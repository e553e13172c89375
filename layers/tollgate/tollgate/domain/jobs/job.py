"""A request that is answered later, and the states it goes through.

queued -> submitted -> completed | failed | expired | cancelled, and from queued directly to any final state, because an
answer can overtake the record of its own submission. Every transition is a conditional write, so an event that comes
twice or late changes nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.catalogue import InferenceType, Priority
from tollgate.domain.costs.avoided import AvoidedReason

if TYPE_CHECKING:
    from tollgate.domain.cache.ticket import CacheTicket


class JobState(StrEnum):
    """States of a job."""

    QUEUED = "queued"
    SUBMITTED = "submitted"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


OPEN_STATES = frozenset({JobState.QUEUED, JobState.SUBMITTED})
FINAL_STATES = frozenset(JobState) - OPEN_STATES


class Owner(NamedTuple):
    """Who a request belongs to and who pays for it, taken from the API key at admission."""

    tenant: str
    key_id: str
    team: str = ""
    scopes: frozenset[str] = frozenset()


class Usage(NamedTuple):
    """Tokens of a request. None is unknown, 0 is none.

    Attributes:
        cached_input_tokens: input tokens that a provider found in its prompt cache.
        reasoning_tokens: output tokens spent on reasoning and not shown.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


class JobFailure(NamedTuple):
    """Why a job did not complete. `code` is stable, `message` is for people."""

    code: str
    message: str


class Payload(NamedTuple):
    """A JSON value kept with the record, or the S3 key of a larger one. At most one of the two is set."""

    inline: Any = None
    key: str | None = None


class Bill(NamedTuple):
    """How a job that has ended is counted.

    Attributes:
        settled_at: when its end was recorded; this decides where its usage is counted, whenever the model finished.
        charged: dollars charged to budgets: its effective cost, or the amount held if that is unknown.
        instance: the instance share of its effective cost; None if unknown.
        avoided: its avoided cost in parts.
        variant: of the endpoint, where the catalogue named one.
    """

    settled_at: datetime
    charged: Decimal
    instance: Decimal | None = None
    avoided: Mapping[AvoidedReason, Decimal] = MappingProxyType({})
    variant: str = ""


_NONE_GIVEN: Mapping[str, Any] = {}
"""A plain dict, because what is stored is written as JSON."""


class Job(NamedTuple):
    """One request on the asynchronous or the batch road.

    `job_id` is also SageMaker's InferenceId and the record id inside a transform job. Times are UTC.
    `estimated_cost`, `effective_cost` and `avoided_cost` are dollars.
    `reservation` is the amount held in the budgets that count the job, and stays on the record when it is settled.
    `cache` says where its answer may be stored or found, on the asynchronous road.
    `rates_version` is the version of the catalogue whose rates apply to a token-priced call; 0 before the call, and for
    instances.
    `bill` is set once it has ended.
    `earlier_parts` are dollars of gateway costs from an invocation that it shared with others and that failed.
    `webhook_pending` stays True from the final state until the call to `webhook_url` was accepted or given up.
    """

    job_id: str
    owner: Owner
    model: str
    deployment: str
    inference_type: InferenceType
    state: JobState
    created_at: datetime
    route_reason: str
    estimated_cost: Decimal
    input: Payload = Payload()
    parameters: Mapping[str, Any] = _NONE_GIVEN
    priority: Priority | None = None
    deadline_at: datetime | None = None
    catalogue_version: int = 0
    rates_version: int = 0
    traceparent: str = ""
    metadata: Mapping[str, str] = _NONE_GIVEN
    webhook_url: str | None = None
    webhook_pending: bool = False
    submit_lease_until: datetime | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    output_location: str | None = None
    failure_location: str | None = None
    batch_id: str | None = None
    output: Payload = Payload()
    usage: Usage = Usage()
    failure: JobFailure | None = None
    effective_cost: Decimal | None = None
    avoided_cost: Decimal | None = None
    held_seconds: Decimal | None = None
    earlier_parts: Decimal | None = None
    reservation: Reservation | None = None
    cache: "CacheTicket | None" = None
    bill: Bill | None = None

    @property
    def resource(self) -> str:
        """Name of the deployment in logs, metrics and answers: ``model/deployment``."""
        return f"{self.model}/{self.deployment}"
