"""What happens when the chosen deployment fails: others of the model are asked, as far as the retry budget allows.

Imported only when a call has failed.
"""

from __future__ import annotations

from copy import replace
from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import (
    BackendError,
    BackendTimeoutError,
    InvalidRequestError,
    ModelFailedError,
    OverLimitError,
    OversizedAnswerError,
)
from tollgate.domain.roads.estimates import RoadEstimates
from tollgate.domain.roads.routing import RoutingDecision

if TYPE_CHECKING:
    from tollgate.domain.catalogue import Deployment
    from tollgate.domain.roads.health import RetryTokens
    from tollgate.services.requests.plan import Completed, Plan
    from tollgate.services.requests.plan_request import RequestPlanner
    from tollgate.services.requests.run_realtime import RealtimeRun
    from tollgate.services.requests.trail import Trail

_ROAD = InferenceType.REALTIME


def may_work_elsewhere(error: BackendError) -> bool:
    """Whether another deployment may be asked.

    Not when the caller has seen a part of the first one's answer. Not after a time-out: the model may still be at work,
    and the caller's time is used up. Not when the model blames the input, or makes more of it than can be read: another
    one would as well.
    """
    if error.answer_begun or isinstance(error, BackendTimeoutError | OversizedAnswerError):
        return False
    return not (isinstance(error, ModelFailedError) and 400 <= error.original_status < 500)


class FallbackChain:
    """Asks the deployments of the model's fallback chain, one after the other, each at most once.

    Args:
        retries: of this execution environment.
    """

    def __init__(self, *, planner: RequestPlanner, realtime: RealtimeRun, retries: RetryTokens) -> None:
        self._planner = planner
        self._realtime = realtime
        self._retries = retries

    def run(self, plan: Plan, error: BackendError, trail: Trail) -> Completed:
        """The answer of the first that gives one. Every try is settled by itself; the trail has their sum.

        Raises:
            BackendError: the last failure; the first one when nobody else was asked.
            BudgetExceededError: the failed tries have used up what the budgets had left.
        """
        for name in plan.offered.health.fallback:
            deployment = plan.offered.deployment(name)
            if not may_work_elsewhere(error):
                break
            if deployment is None or deployment is plan.decision.deployment or deployment.resource == trail.resource:
                continue  # The last of these has just failed, in the place of a smaller one that had failed before it.
            decision = self._decision(plan, deployment, trail)
            if decision is None:
                continue
            try:
                rendered = self._planner.rendered(plan.request, deployment)
            except InvalidRequestError:
                continue  # It cannot say what was asked; that is no fault of the caller's, who did not choose it.
            if not self._retries.take():
                trail.route_reason += ";fallback=no_retry_budget"
                break
            failed, trail.resource = trail.resource, deployment.resource
            trail.route_reason += f";fallback={name}"
            try:
                return self._realtime.run_again(replace(plan, decision=decision, rendered=rendered), trail)
            except BackendError as again:
                error = again
            except OverLimitError:
                # It costs more than a budget ever allows; what the caller asked for did not.
                trail.resource = failed
                trail.route_reason += ",over_limit"
        raise error

    def _decision(self, plan: Plan, deployment: Deployment, trail: Trail) -> RoutingDecision | None:
        """The decision for this deployment's real-time road; None if it cannot take the request in time."""
        capacity, prices = self._planner.capacity(), plan.catalogue.gateway_prices
        estimates = RoadEstimates(plan.routing.size, plan.model, deployment, capacity, prices)
        found = estimates.get(_ROAD)
        if found is None or found.blocker is not None or found.estimated_cost is None:
            return None
        if found.expected_seconds > self._realtime.seconds_left(trail):
            return None
        return RoutingDecision(
            inference_type=_ROAD,
            deployment=deployment,
            reason=plan.decision.reason,
            estimated_cost=found.estimated_cost,
            expected_seconds=found.expected_seconds,
            fallback=plan.decision.fallback,
            estimates=estimates,
        )
