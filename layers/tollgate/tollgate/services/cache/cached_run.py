"""One request on its way through the cache: its key, how long its lease lasts, and what of its answer is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tollgate.domain.cache.control import NO_WISHES
from tollgate.domain.cache.entry import CachedAnswer, CacheOutcome, Refusal, is_complete, is_deterministic_refusal
from tollgate.domain.cache.identity import request_identity, request_key, scope_name
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.settlement import baseline_cost
from tollgate.domain.errors import NotCachedError
from tollgate.domain.money import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from tollgate.domain.cache.control import CacheControl
    from tollgate.domain.cache.key import CacheIdentity
    from tollgate.domain.cache.policy import CachePolicy
    from tollgate.domain.errors import ModelFailedError
    from tollgate.services.requests.plan import Accepted, Completed, InferenceRequest, Plan
    from tollgate.services.requests.trail import Trail

_LEASE_TIMES = 4
_LEASE_LEAST_SECONDS = 10.0
_ORDER_MOST_SECONDS = 29.0
"""For a run that is ordered elsewhere: the function that makes it allows no more."""


class CachedRun(NamedTuple):
    """A request, its place in the cache, and the way to run it.

    Attributes:
        key: of its entry.
        scope: who shares the entry, see `cache.identity.scope_name`.
        identity: what the key was made of besides the request itself.
        dispatch: runs the request by the given plan, or accepts it as a job.
        limit_seconds: how long it may run while its caller waits.
    """

    request: InferenceRequest
    plan: Plan
    trail: Trail
    policy: CachePolicy
    control: CacheControl
    key: str
    scope: str
    identity: CacheIdentity
    dispatch: Callable[[Plan], Completed | Accepted]
    limit_seconds: float

    @property
    def is_realtime(self) -> bool:
        """Whether it would be answered now; False where the endpoint sleeps."""
        return self.plan.decision.inference_type is InferenceType.REALTIME and not self.plan.decision.deferred

    @property
    def lease_ms(self) -> int:
        """How long a run has before somebody else may take over."""
        return self._patience_ms(self.limit_seconds)

    @property
    def order_lease_ms(self) -> int:
        """The same for a run that is ordered elsewhere: it may wait there as long as it then runs."""
        return 2 * self._patience_ms(_ORDER_MOST_SECONDS)

    def _patience_ms(self, most: float) -> int:
        expected = self.plan.decision.expected_seconds
        return int(1000 * min(most, max(_LEASE_LEAST_SECONDS, _LEASE_TIMES * expected)))

    def ticket(self, fence: int, now_ms: int) -> CacheTicket:
        """The right to keep its answer."""
        policy = self.policy
        return CacheTicket(
            key=self.key,
            fence=fence,
            ttl_seconds=self.control.ttl_seconds or policy.ttl_seconds,
            kept_seconds=max(policy.stale_seconds, policy.stale_if_error_seconds),
            began_ms=now_ms,
            scope=self.scope,
            namespace=self.control.namespace,
            reads=self.control.read,
        )

    def kept_answer(self, completed: Completed, ticket: CacheTicket, now_ms: int) -> CachedAnswer | None:
        """The answer in the form that is kept; None if it is incomplete."""
        texts = self.request.input.get("inputs") if isinstance(self.request.input, dict) else None
        kind = self.request.needs.kind if self.request.needs is not None else self.plan.model.kind
        if not is_complete(completed.output, kind, texts if isinstance(texts, list) else None):
            return None
        return self._entry(completed.output, ticket, now_ms, ticket.ttl_seconds, ticket.kept_seconds)

    def kept_refusal(self, error: ModelFailedError, ticket: CacheTicket, now_ms: int) -> CachedAnswer | None:
        """The model's refusal in the form that is kept; None where another try might be answered."""
        if not self.policy.negative_seconds or not is_deterministic_refusal(error):
            return None
        refusal = Refusal(error.message, error.original_status)
        fresh_seconds = min(self.policy.negative_seconds, ticket.ttl_seconds)
        return self._entry(None, ticket, now_ms, fresh_seconds, 0)._replace(refusal=refusal)

    def _entry(
        self, output: object, ticket: CacheTicket, now_ms: int, fresh_seconds: int, stale_seconds: int
    ) -> CachedAnswer:
        """What a run that ended now leaves, fresh for so long, and kept as stale for so long after that."""
        fresh_ms = now_ms + fresh_seconds * 1000
        return CachedAnswer(
            output=output,
            usage=self.trail.usage,
            resource=self.trail.resource,
            worth=self._worth(now_ms - ticket.began_ms),
            began_ms=ticket.began_ms,
            made_ms=now_ms,
            fresh_ms=fresh_ms,
            kept_ms=fresh_ms + stale_seconds * 1000,
        )

    def _worth(self, took_ms: int) -> Decimal | None:
        deployment = self.plan.decision.deployment
        road = deployment.roads.get(InferenceType.REALTIME)
        if road is None:
            return None
        held = seconds(took_ms / 1000)
        return baseline_cost(self.plan.model, deployment, road, held_seconds=held, usage=self.trail.usage)


def run_of(
    plan: Plan,
    trail: Trail,
    dispatch: Callable[[Plan], Completed | Accepted],
    *,
    limit_seconds: float,
) -> CachedRun | None:
    """The request's place in the cache; None if it bypasses the cache.

    Raises:
        NotCachedError: it bypasses the cache, and its caller wants a kept answer or none.
    """
    # What is sent, after trimming, is what the answer answers.
    request = plan.request
    policy, control = plan.model.cache, request.cache or NO_WISHES
    if policy is None or (not control.read and not control.store) or _is_too_random(request, policy):
        if control.only_if_cached:
            trail.cache = CacheOutcome.BYPASS.value
            raise NotCachedError("This request goes past the cache.")
        return None
    identity = request_identity(
        trail.owner.tenant, control, policy, plan.decision.deployment, choosing=_choosing_of(plan)
    )
    key = request_key(identity, request.input, request.parameters)
    scope = scope_name(identity.scope)
    return CachedRun(request, plan, trail, policy, control, key, scope, identity, dispatch, limit_seconds)


def _choosing_of(plan: Plan) -> str:
    """What decides which size answers and what its answer must pass, as part of the key; empty without a choice.

    Wishes about trimming are part of the key already, through what is sent, and the conversation is, through the
    deployment that it stays with.
    """
    if plan.chosen is None:
        return ""
    wishes, choice = plan.request.wishes, plan.model.choice
    rules = {
        "quality": None if wishes is None else wishes.quality,
        "cascade": None if wishes is None else _plain(wishes.cascade),
        "choice": _plain(choice),
    }
    return json.dumps(rules, sort_keys=True, default=_in_order)


def _plain(value: Any) -> Any:
    # Only models with several sizes get here, and have imported the module already.
    from dataclasses import asdict, is_dataclass  # noqa: PLC0415 -- see above

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _in_order(value: Any) -> Any:
    """A set in an order that is the same in every process."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _is_too_random(request: InferenceRequest, policy: CachePolicy) -> bool:
    """Whether the request asks for a different answer each time."""
    if request.cache is not None and request.cache.always:
        return False
    # Dialects send on what the input itself says, too: OpenAI's body has it beside the messages, `inputs` below.
    sources: list[Any] = [request.parameters]
    if isinstance(request.input, dict):
        sources += [request.input, request.input.get("parameters")]
    said = [source.get("temperature") for source in sources if isinstance(source, dict)]
    return any(isinstance(value, int | float) and value > policy.max_temperature for value in said)
