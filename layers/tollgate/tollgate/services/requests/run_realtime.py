"""Runs a request now, on the real-time road: holds the money, calls the model, settles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.budgets.reserving import Ask, reservation_parts
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.costs.settlement import settle
from tollgate.domain.errors import BackendError, BackendTimeoutError, ModelFailedError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO, seconds
from tollgate.services.requests.plan import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from tollgate.domain.budgets.ledger import Reservation
    from tollgate.domain.catalogue import Road
    from tollgate.ports.backends import ModelAnswer, RealtimeBackend
    from tollgate.ports.dialects import Dialects
    from tollgate.ports.registry import DurationRecorder
    from tollgate.ports.system import Clock, IdSource
    from tollgate.ports.token_backends import TokenBackends
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.concurrent_calls import ConcurrentCall
    from tollgate.services.requests.deployment_health import DeploymentHealth
    from tollgate.services.requests.plan import Plan
    from tollgate.services.requests.run_streaming import StreamingRun
    from tollgate.services.requests.trail import Cover, Trail

_SMALL_BYTES = 200_000
"""An answer no larger than this can be read, whatever is in it."""

_MARGIN_SECONDS = 1.5
"""Kept back from the time limit, for settling and answering."""


class ModelCalls:
    """Makes the call itself, with whatever a road and its caller need for it.

    Args:
        sagemaker: calls endpoints.
        live: makes the calls of callers who watch their answer arrive; None where nobody can.
        providers: call what is paid by the token; asked for when the first such call comes.
    """

    def __init__(
        self,
        *,
        sagemaker: RealtimeBackend,
        live: StreamingRun | None = None,
        providers: Callable[[], TokenBackends] | None = None,
    ) -> None:
        self._sagemaker = sagemaker
        self._live = live
        self._providers = providers

    def make(self, plan: Plan, road: Road, trail: Trail, *, inference_id: str, timeout_seconds: float) -> ModelAnswer:
        """The model's answer. Raises as `RealtimeBackend.invoke`."""
        if self._live is not None and trail.live is not None and self._live.suits(plan, road):
            return self._live.invoke(plan, road, trail, inference_id=inference_id, timeout_seconds=timeout_seconds)
        rendered, backend = plan.rendered, self._sagemaker
        if road.tokens is not None and self._providers is not None:
            backend = self._providers().realtime(road)
        return backend.invoke(
            road, rendered.body, rendered.content_type, timeout_seconds=timeout_seconds, trace=trail.traceparent
        )


class RealtimeRun:
    """Has the model called, and settles what the call cost, however it ends.

    Args:
        memory_gb: of this function, which its own time is priced by.
        time_limit_seconds: for a request, from its arrival to its answer.
    """

    def __init__(
        self,
        *,
        calls: ModelCalls,
        durations: DurationRecorder,
        dialects: Dialects,
        admission: Admission,
        health: DeploymentHealth,
        clock: Clock,
        ids: IdSource,
        memory_gb: Decimal,
        time_limit_seconds: float,
    ) -> None:
        self._calls = calls
        self._durations = durations
        self._dialects = dialects
        self._admission = admission
        self._health = health
        self._clock = clock
        self._ids = ids
        self._memory_gb = memory_gb
        self._time_limit = time_limit_seconds

    def run(self, plan: Plan, trail: Trail) -> Completed:
        """The model's answer. Its cost is put on the trail, and is held and settled where budgets count it.

        Raises:
            BudgetExceededError: nothing was run.
            StorageError: the ledger failed; nothing was run.
            BackendError: the backend failed; what it cost is on the trail.
        """
        if trail.under_way is not None:
            trail.under_way.wait()
        left = self.seconds_left(trail) if trail.under_way is None else trail.under_way.left
        if trail.tries == 1:
            self._health.tokens.earn()
        inference_id = plan.name(self._ids.new("inf"), trail.owner.tenant)
        if plan.admitted is None:
            return self._call(plan, trail, inference_id, left)
        if trail.cover is not None and not trail.cover.used:
            return self._run_covered(plan, trail, trail.cover, inference_id, left)
        reservation = trail.reservation = self._admission.reserve(
            plan.admitted,
            plan.asks(InferenceType.REALTIME, limit_seconds=left, memory_gb=self._memory_gb),
            inference_id=inference_id,
        )
        status = "failed"
        try:
            # The hold took its time, more so when it crossed a threshold and told people.
            left = self.seconds_left(trail)
            paid = reservation.seconds or left
            completed = self._call(plan, trail, inference_id, min(left, paid), cut=paid < left)
            status = "cancelled" if trail.caller_gone else "completed"
        finally:
            self._admission.settle(reservation, trail.charge(reservation.amount), status)
            trail.budget_remaining = self._admission.remaining(plan.admitted)
        return completed

    def hold_for(self, plans: Sequence[Plan], trail: Trail) -> Reservation | None:
        """Hold money for several model calls of one API call; None where no budget counts them.

        Raises:
            BudgetExceededError: some budget cannot pay for all of them.
            StorageError: the ledger failed.
        """
        admitted = plans[0].admitted
        if admitted is None:
            return None
        asks = [self._least(plan, self.seconds_left(trail)) for plan in plans]
        whole = Ask(sum((ask.amount for ask in asks), ZERO), billed=any(ask.billed for ask in asks))
        return self._admission.reserve(admitted, (whole,), inference_id=self._ids.new("inf"))

    def concurrent_call(self, plan: Plan, trail: Trail) -> ConcurrentCall:
        """A request's model call, for another thread to make. With it on the trail, `run` waits for it."""
        from tollgate.services.requests.concurrent_calls import ConcurrentCall  # noqa: PLC0415 -- few calls have several requests

        # Nothing more will be held for it, so it is cut when its share of the money is used up.
        paid = None if trail.cover is None else self._least(plan, self.seconds_left(trail)).seconds
        road = plan.decision.deployment.roads[InferenceType.REALTIME]

        def call(left: float) -> ModelAnswer:
            most = max(0.1, left if paid is None else min(left, paid))
            return self._calls.make(plan, road, trail, inference_id="", timeout_seconds=most)

        return ConcurrentCall(call, lambda: self.seconds_left(trail), self._clock)

    def _least(self, plan: Plan, left: float) -> Ask:
        return plan.asks(InferenceType.REALTIME, limit_seconds=left, memory_gb=self._memory_gb)[-1]

    def _run_covered(self, plan: Plan, trail: Trail, cover: Cover, inference_id: str, left: float) -> Completed:
        """A call whose money is held together with others'; it is cut when its own share is used up."""
        share = self._least(plan, left)
        paid = share.seconds or left
        cover.used = True
        try:
            return self._call(plan, trail, inference_id, min(left, paid), cut=paid < left)
        finally:
            cover.spent = trail.charge(share.amount)

    def run_again(self, plan: Plan, trail: Trail) -> Completed:
        """Run with another deployment after one has failed. Held and settled by itself; the trail gets the sum.

        Raises:
            BudgetExceededError, BackendError: as `run`.
        """
        earlier, trail.settlement, trail.reservation = trail.settlement, None, None
        trail.tries += 1
        try:
            return self.run(plan, trail)
        finally:
            trail.add_earlier(earlier)

    def seconds_left(self, trail: Trail) -> float:
        """Seconds until an answer would come too late to be settled and sent."""
        return self._time_limit - _MARGIN_SECONDS - (self._clock.monotonic() - trail.started)

    def _call(self, plan: Plan, trail: Trail, inference_id: str, left: float, *, cut: bool = False) -> Completed:
        deployment = plan.decision.deployment
        road = deployment.roads[InferenceType.REALTIME]
        trail.variant = road.target_variant or ""
        trail.usage_reported = True
        began = self._clock.monotonic()
        under_way, trail.under_way = trail.under_way, None
        try:
            if under_way is not None:
                answer = under_way.answer()
            else:
                most = max(0.1, left)
                answer = self._calls.make(plan, road, trail, inference_id=inference_id, timeout_seconds=most)
            if len(answer.body) > _SMALL_BYTES:
                from tollgate.domain.reading_limits import require_readable  # noqa: PLC0415 -- few answers are large

                require_readable(answer.body)
            parsed = self._dialects.of(deployment).parse(answer.body)
        except BackendError as error:
            # Also of an answer that came to its end, and only then turned out to be none.
            error.answer_begun = trail.live is not None and trail.live.begun
            # Time in which the container worked is charged; a refusal for lack of capacity took none.
            timed_out = isinstance(error, BackendTimeoutError)
            worked = timed_out or isinstance(error, ModelFailedError)
            if road.tokens is not None:
                # Whatever usage the trail has is an earlier call's, or an estimate.
                worked, trail.usage_reported = _may_be_charged(error), False
            took = self._clock.monotonic() - began if under_way is None else under_way.ended - under_way.began
            self._settle(plan, road, took if worked else 0.0, trail)
            if not (timed_out and cut):
                # A call cut short because its budget had run out says nothing about the deployment.
                self._health.failed(deployment.resource, error, plan.model.health)
            raise
        trail.usage = Usage(
            parsed.input_tokens, parsed.output_tokens, parsed.cached_input_tokens, parsed.reasoning_tokens
        )
        self._settle(plan, road, answer.seconds, trail)
        self._health.answered(deployment.resource, answer.seconds, plan.model.health)
        if not trail.caller_gone:
            # A call that ended because its caller hung up says nothing about how long answers take.
            self._durations.record(deployment.resource, InferenceType.REALTIME, answer.seconds)
        return Completed(inference_id, self._clock.now(), parsed.output)

    def _settle(self, plan: Plan, road: Road, held: float, trail: Trail) -> None:
        elapsed = seconds(self._clock.monotonic() - trail.started)
        rates = gateway_rates(plan.catalogue.gateway_prices)
        own = rates.realtime(elapsed * self._memory_gb, 0 if trail.live is None else trail.live.sent_bytes)
        trail.settlement = settle(
            plan.model,
            plan.decision.deployment,
            road,
            held_seconds=seconds(held),
            usage=trail.usage,
            gateway=own - trail.own_parts + reservation_parts(trail.reservation, rates, job=False),
            untrimmed_input_tokens=_untrimmed(trail),
            reported=trail.usage_reported,
        )
        trail.own_parts = own


def _may_be_charged(error: BackendError) -> bool:
    # Imported only when a call to a provider paid by the token has failed.
    from tollgate.domain.providers.charges import may_be_charged  # noqa: PLC0415 -- see above

    return may_be_charged(error)


def _untrimmed(trail: Trail) -> int | None:
    """Input tokens that the request would have had untrimmed; None if it was not trimmed, or nobody counted."""
    if trail.trimmed is None or not trail.trimmed.input_tokens_saved or trail.usage.input_tokens is None:
        return None
    return trail.usage.input_tokens + trail.trimmed.input_tokens_saved
