"""Runs a request for a model with several sizes or variants, and notes how well it was answered.

A larger size is asked if the answer fails its check; some requests are copied to a shadow deployment.
"""

from __future__ import annotations

from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tollgate.domain.budgets.pressure import NO_PRESSURE
from tollgate.domain.catalogue import InferenceType, Priority
from tollgate.domain.choice.answer_checks import failed_check
from tollgate.domain.choice.outcomes import ESCALATED, of_quality, of_run
from tollgate.domain.choice.policy import SHADOW_KEY, DeploymentRole
from tollgate.domain.costs.settlement import together
from tollgate.domain.errors import BackendError, BackendTimeoutError, TollgateError
from tollgate.domain.roads.routing import RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.ports.outcomes import Extra
from tollgate.services.requests.admission import Admitted
from tollgate.services.requests.trail import Escalation, Trail

if TYPE_CHECKING:
    from tollgate.domain.choice.policy import Check, ExtraSpend
    from tollgate.domain.costs.settlement import Settlement
    from tollgate.domain.jobs.job import Owner
    from tollgate.ports.outcomes import OutcomeStore
    from tollgate.ports.system import Clock
    from tollgate.services.requests.accept_job import JobAcceptance
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.choose_tier import Chosen
    from tollgate.services.requests.plan import Completed, Plan
    from tollgate.services.requests.plan_request import RequestPlanner
    from tollgate.services.requests.run_realtime import RealtimeRun


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer, with what its call left on the trail."""

    completed: Completed
    settlement: Settlement | None
    resource: str


class ChosenRun:
    """Runs plans that were chosen among several."""

    def __init__(
        self,
        *,
        planner: RequestPlanner,
        realtime: RealtimeRun,
        acceptance: JobAcceptance,
        admission: Admission,
        outcomes: OutcomeStore,
        clock: Clock,
        time_limit_seconds: float,
    ) -> None:
        self._planner = planner
        self._realtime = realtime
        self._acceptance = acceptance
        self._admission = admission
        self._outcomes = outcomes
        self._clock = clock
        self._time_limit = time_limit_seconds

    def run(self, plan: Plan, chosen: Chosen, trail: Trail) -> Completed:
        """The answer: the larger size's, where the smaller one's does not pass its check.

        Args:
            plan: for the chosen size.
            chosen: how it was chosen.
            trail: of the request.

        Raises:
            BudgetExceededError, BackendError: the first call's. If the second call fails, the first answer stands.
        """
        try:
            first = self._run(plan, chosen, trail)
        except BackendError as error:
            return self._instead(plan, chosen, error, trail)
        if chosen.extra:
            self._count_trial(plan, chosen, first.settlement)
        check = self._failed_check(plan, chosen, first)
        completed = first.completed
        if check is not None:
            completed = self._escalated(plan, chosen, first, check, trail)
        if chosen.policy.shadow is not None:
            self._shadow(plan, chosen.policy.shadow, completed, trail)
        return completed

    def _instead(self, plan: Plan, chosen: Chosen, error: BackendError, trail: Trail) -> Completed:
        """The answer of the chosen size, where the one that was to be asked before it gives none.

        Raises:
            BackendError: the first call's, also where the second one fails in any other way.
        """
        if not chosen.asks_below:
            raise error
        # Few first calls fail, so the others do not pay for the import.
        from tollgate.services.requests.fallback_chain import may_work_elsewhere  # noqa: PLC0415 -- see above

        if not may_work_elsewhere(error):
            raise error
        resource, earlier = trail.resource, trail.settlement
        trail.route_reason += f";first_failed={type(error).__name__}"
        trail.begin_again()
        try:
            second = replace(self._planner.larger(plan, trail), chosen=chosen)
            return self._run(second, chosen, trail).completed
        except BackendError:
            raise
        except TollgateError:
            trail.resource = resource
            raise error from None
        finally:
            trail.add_earlier(earlier)

    def _count_trial(self, plan: Plan, chosen: Chosen, settlement: Settlement | None) -> None:
        """Put what the try of a dearer size cost in place of its estimate, which the day's extra money was charged."""
        tier = plan.decision.deployment.tier
        estimated = next((option.estimated_cost for option in chosen.options if option.tier is tier), None)
        if settlement is not None and settlement.effective is not None and estimated is not None:
            more = max(-chosen.extra, settlement.effective - estimated)
            self._outcomes.spend(plan.model.name, Extra.EXPLORE, more)

    def _failed_check(self, plan: Plan, chosen: Chosen, answer: _Answer) -> Check | None:
        """The check that the answer fails, if any; either way it is noted among the deployment's outcomes."""
        cascade = chosen.cascade
        if cascade is None:
            return None
        found = failed_check(answer.completed.output, cascade, parameters=plan.request.parameters)
        score = of_quality(1.0) if found is None else of_quality(0.0, escalated=True)
        self._outcomes.add(plan.model.name, plan.decision.deployment.name, chosen.topic, score)
        return found

    def _run(self, plan: Plan, chosen: Chosen, trail: Trail) -> _Answer:
        deployment = plan.decision.deployment
        began = self._clock.monotonic()
        try:
            completed = self._realtime.run(plan, trail)
        except BackendError:
            self._note(plan, chosen, trail, began, failed=True)
            raise
        self._note(plan, chosen, trail, began, failed=False)
        return _Answer(completed, trail.settlement, deployment.resource)

    def _note(self, plan: Plan, chosen: Chosen, trail: Trail, began: float, *, failed: bool) -> None:
        effective = trail.settlement.effective if trail.settlement else None
        tally = of_run(
            failed=failed,
            seconds=self._clock.monotonic() - began,
            usd=None if effective is None else float(effective),
            output_tokens=trail.usage.output_tokens,
        )
        self._outcomes.add(plan.model.name, plan.decision.deployment.name, chosen.topic, tally)

    def _escalated(self, plan: Plan, chosen: Chosen, first: _Answer, check: Check, trail: Trail) -> Completed:
        usage, variant, spent = trail.usage, trail.variant, self._clock.monotonic() - trail.started
        limit = min(self._time_limit, plan.routing.deadline_seconds or self._time_limit)
        trail.route_reason += f";failed_check={check}"
        trail.escalation = Escalation(
            resource=first.resource,
            check=check.value,
            effective_cost=None if first.settlement is None else first.settlement.effective,
            instance=None if first.settlement is None else first.settlement.instance,
            held_seconds=None if first.settlement is None else first.settlement.held_seconds,
        )
        trail.begin_again()
        second = chosen._replace(topic=ESCALATED)
        try:
            plan = replace(self._planner.larger(plan, trail), chosen=second)
            if spent + plan.decision.expected_seconds > limit:
                raise BackendTimeoutError("There is no time left for the larger model.")
            last = self._run(plan, second, trail)
        except TollgateError as error:
            # The first answer is paid for, and better than none. The call that failed may have cost something too.
            if trail.settlement is not None and first.settlement is not None:
                trail.settlement = together(trail.settlement, first.settlement)
            else:
                trail.settlement = first.settlement
            trail.usage, trail.resource, trail.variant = usage, first.resource, variant
            trail.escalation = None
            trail.route_reason += f";not_escalated={type(error).__name__}"
            return first.completed
        if first.settlement is not None and trail.settlement is not None:
            trail.settlement = together(first.settlement, trail.settlement)
        trail.resource = last.resource
        trail.route_reason += f";escalated_to={plan.decision.deployment.tier}"
        self._failed_check(plan, second, last)
        return last.completed

    def _shadow(self, plan: Plan, policy: ExtraSpend, completed: Completed, trail: Trail) -> None:
        """Copy some requests to the model's shadow, as jobs that nobody waits for. Never fails the request.

        A copy has to pass the brakes, and the budgets of the gateway, the model and its own key. It is cut when what
        was held for it is used up.
        """
        shadow = next((d for d in plan.model.deployments if d.role is DeploymentRole.SHADOW), None)
        if shadow is None or selector_of(f"shadow|{completed.inference_id}") >= policy.share:
            return
        left = policy.usd_per_day - self._outcomes.spent(plan.model.name, Extra.SHADOW)
        if left <= 0:
            return
        with suppress(TollgateError):
            owner = _shadow_owner(trail.owner)
            model = replace(plan.model, deployments=(replace(shadow, weight=1),))
            offered, brake = self._admission.offered(plan.catalogue, model)
            admitted = self._admission.admit(plan.catalogue, owner, model.name) or Admitted(owner, model.name, ())
            if {brake, self._admission.pressure(admitted)} != {NO_PRESSURE}:
                return  # When money is short, none is spent on answers that nobody reads.
            routing = RoutingRequest(plan.routing.size, Priority.MEDIUM)
            decision = route(routing, offered, self._planner.capacity(), plan.catalogue.gateway_prices)
            if decision.inference_type is not InferenceType.ASYNC:
                return
            request = replace(plan.request, webhook_url=None, metadata={"tollgate_shadow_of": completed.inference_id})
            copy = Trail(trail.request_id, owner, trail.started, trail.traceparent)
            copy.route_reason = f"shadow_of={completed.inference_id}"
            copied = replace(
                plan,
                request=request,
                decision=decision,
                rendered=self._planner.rendered(request, shadow),
                admitted=admitted,
            )
            accepted = self._acceptance.accept(copied, InferenceType.ASYNC, copy, at_most=left)
            held = accepted.job.reservation
            if held is not None:
                # All of it counts until the copy has ended; see `JobCompleter`.
                self._outcomes.spend(model.name, Extra.SHADOW, held.amount)
            trail.route_reason += ";shadow"


def _shadow_owner(owner: Owner) -> Owner:
    """The same tenant, who may see the copy, under a key of its own, so that no key's bill grows unseen."""
    return owner._replace(key_id=SHADOW_KEY, team="")
