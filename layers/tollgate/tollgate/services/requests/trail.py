"""What becomes known of a request on its way, and what it leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tollgate.domain.costs.settlement import together
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO
from tollgate.domain.records import RequestRecord
from tollgate.services.requests.admission import NO_RUN

if TYPE_CHECKING:
    from decimal import Decimal

    from tollgate.domain.budgets.ledger import Reservation
    from tollgate.domain.catalogue import Catalogue, InferenceType
    from tollgate.domain.costs.settlement import Settlement
    from tollgate.domain.jobs.job import Owner
    from tollgate.domain.near.record import NearSearch
    from tollgate.domain.trimming.prompt_trimming import TrimReport
    from tollgate.ports.streams import LiveAnswer
    from tollgate.services.requests.admission import Admitted, Run
    from tollgate.services.requests.choose_tier import Chosen
    from tollgate.services.requests.concurrent_calls import ConcurrentCall


class Escalation(NamedTuple):
    """A first answer that was not good enough.

    Attributes:
        resource: that gave it.
        check: that it failed.
        effective_cost: dollars of the first call, which are part of the request's cost.
        instance: the instance's share of those dollars.
        held_seconds: instance seconds that were paid for with it.
    """

    resource: str
    check: str
    effective_cost: Decimal | None
    instance: Decimal | None = None
    held_seconds: Decimal | None = None


class Cover:
    """One call's share of money that is held for several calls together. Further calls hold their own.

    Attributes:
        used: whether the call was made.
        spent: dollars that it cost.
    """

    used: bool = False
    spent: Decimal = ZERO


class Trail:
    """What has become known of a request so far, whether it ends well or badly.

    The answer's headers, the log line and the metrics are made of it.

    Attributes:
        started: on the monotonic clock, in seconds.
        route_reason: words joined by ``;``, as in `RoutingDecision.reason`.
        estimated_cost: dollars; so are `estimated_avoided`, `charged` and `budget_remaining`.
        tries: model calls, counting those that failed before a fallback was asked.
        once: what the caller's idempotency key makes of the name of a job; empty without a key.
        usage_reported: False where `usage` is our estimate, because the container or provider reported none.
        own_parts: dollars of the gateway's own work that an earlier call for the same request has paid for.
        cache: a `CacheOutcome`; empty for a model without a cache.
        cache_age: seconds.
        near: what a search for near matches found.
        tokens: how input tokens were counted, for the route's reason; empty for the usual estimate.
        live: the caller who watches the answer arrive; None where it is given as a whole.
        caller_gone: whether that caller hung up, which ended the model call.
        cover: the money for this call, where it is held together with that of others.
        under_way: the model call, where another thread is already making it.
    """

    # Creating a dataclass with this many fields would add milliseconds to every cold start, so the defaults are class
    # attributes.
    catalogue: Catalogue | None = None
    inference_type: InferenceType | None = None
    resource: str = ""
    route_reason: str = ""
    estimated_cost: Decimal | None = None
    estimated_avoided: Decimal | None = None
    settlement: Settlement | None = None
    tries: int = 1
    usage: Usage = Usage()
    job_id: str = ""
    run: Run = NO_RUN
    reservation: Reservation | None = None
    budget_remaining: Decimal | None = None
    admitted: Admitted | None = None
    cache: str = ""
    cache_age: int | None = None
    near: NearSearch | None = None
    trimmed: TrimReport | None = None
    tokens: str = ""
    chosen: Chosen | None = None
    escalation: Escalation | None = None
    charged: Decimal | None = None
    variant: str = ""
    own_parts: Decimal = ZERO
    live: LiveAnswer | None = None
    cover: Cover | None = None
    under_way: ConcurrentCall | None = None
    caller_gone: bool = False
    once: str = ""
    usage_reported: bool = True

    def __init__(self, request_id: str, owner: Owner, started: float, traceparent: str = "") -> None:
        self.request_id = request_id
        self.owner = owner
        self.started = started
        self.traceparent = traceparent

    def begin_again(self) -> None:
        """Forget what the call so far held and cost, before another call for the same request."""
        self.settlement = None
        self.reservation = None

    def add_earlier(self, earlier: Settlement | None) -> None:
        """Count a try that failed before the one on this trail."""
        if earlier is not None:
            self.settlement = earlier if self.settlement is None else together(earlier, self.settlement)

    def charge(self, held: Decimal) -> Decimal:
        """Count what a call is charged to budgets: its effective cost, or all of `held` dollars where that is unknown.

        Returns:
            That call's dollars; `charged` is the sum of all calls.
        """
        settled = self.settlement
        actual = held if settled is None or settled.effective is None else settled.effective
        self.charged = actual if self.charged is None else self.charged + actual
        return actual

    def record(self, *, outcome: str, status: int, ended: float, error_code: str = "") -> RequestRecord:
        """The record that the request leaves behind."""
        settled = self.settlement
        return RequestRecord(
            request_id=self.request_id,
            owner=self.owner,
            inference_type=self.inference_type,
            resource=self.resource,
            outcome=outcome,
            latency_seconds=ended - self.started,
            job_id=self.job_id,
            status=status,
            error_code=error_code,
            route_reason=self.route_reason,
            usage=self.usage,
            estimated_cost=self.estimated_cost,
            effective_cost=settled.effective if settled else None,
            avoided_cost=settled.avoided if settled else None,
            traceparent=self.traceparent,
            catalogue_version=self.catalogue.version if self.catalogue else 0,
            budget_remaining=self.budget_remaining,
            cache=self.cache,
            input_tokens_saved=self.trimmed.input_tokens_saved if self.trimmed else 0,
            first_resource=self.escalation.resource if self.escalation else "",
            first_cost=self.escalation.effective_cost if self.escalation else None,
            first_instance_cost=self.escalation.instance if self.escalation else None,
            first_held_seconds=self.escalation.held_seconds if self.escalation else None,
            charged_cost=self.charged,
            instance_cost=settled.instance if settled else None,
            held_seconds=settled.held_seconds if settled else None,
            avoided_reasons=settled.reasons if settled else {},
            variant=self.variant,
        )
