"""Which deployment and road a request takes: a pure function of request, catalogue and what is known of capacity."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from tollgate.domain.catalogue import ROAD_OF_PRIORITY, Deployment, InferenceType, Model, Priority
from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.errors import (
    CapacityError,
    DeadlineImpossibleError,
    InvalidRequestError,
    PriceUnknownError,
    TollgateError,
)
from tollgate.domain.roads.capacity import Capacity, RoadState
from tollgate.domain.roads.estimates import Blocker, RequestSize, RoadEstimate, RoadEstimates
from tollgate.domain.roads.spreading import spread

_QUICKEST_FIRST = tuple(InferenceType)


class RoutingRequest(NamedTuple):
    """What routing needs to know of a request.

    Attributes:
        size: of the body and in tokens.
        priority: names the road; None leaves it to the deadline, or to the model's default.
        deadline_seconds: from now on.
        selector: in [0, 1), spreads requests over deployments by weight; the same value always chooses the same way.
    """

    size: RequestSize
    priority: Priority | None = None
    deadline_seconds: float | None = None
    selector: float = 0.0

    @property
    def by_deadline(self) -> bool:
        """Whether the deadline chooses the road."""
        return self.deadline_seconds is not None and self.priority is None


class RoutingDecision(NamedTuple):
    """The router's answer.

    Attributes:
        reason: short machine-readable words joined by ``;``, shown in ``x-tollgate-route-reason``.
        estimated_cost: dollars.
        expected_seconds: from now to the answer.
        fallback: the road to take if the chosen one turns out to have no capacity; None if the catalogue allows none.
        estimates: of every road of the chosen deployment, including those ruled out.
        deferred: whether the chosen real-time road sleeps, so that the request waits as a job until it is awake.
        sleeping: those of the wanted and the chosen road that sleep by policy and should be woken.
    """

    inference_type: InferenceType
    deployment: Deployment
    reason: str
    estimated_cost: Decimal
    expected_seconds: float
    fallback: InferenceType | None
    estimates: RoadEstimates
    deferred: bool = False
    sleeping: tuple[InferenceType, ...] = ()


def route(request: RoutingRequest, model: Model, capacity: Capacity, prices: GatewayPrices) -> RoutingDecision:
    """Choose deployment and road.

    An explicit priority names the road; a deadline without one asks for the cheapest road that is expected to be in
    time; with neither, the model's default priority holds. Roads that cannot carry the request (body size, duration,
    asleep or broken) are replaced by the next slower one, except where that would miss a deadline. A real-time road
    that sleeps by policy is waited for unless the asynchronous one is awake.

    Raises:
        DeadlineImpossibleError: no road, or not the explicitly chosen one, is expected to be in time.
        PriceUnknownError: the road has no known price and no ceiling.
        CapacityError: the only roads left are broken.
        InvalidRequestError: no road carries a body of this size.
    """
    wanted = _wanted(request, model)
    deployment, why = spread(model, wanted, capacity, request.selector)
    if len(model.deployments) > 1:
        others = _otherwise_paid(model, deployment)
        if others:
            return _cheapest((deployment, *others), request, model, capacity, prices, why=why)
    return _decision(deployment, request, model, capacity, prices, why=why)


def _wanted(request: RoutingRequest, model: Model) -> InferenceType:
    """The road that a request names; the quickest where its deadline chooses."""
    if request.by_deadline:
        return InferenceType.REALTIME
    return ROAD_OF_PRIORITY[request.priority or model.default_priority]


def _otherwise_paid(model: Model, deployment: Deployment) -> tuple[Deployment, ...]:
    """Deployments of the same size that are paid in the other way: by the token instead of the hour, or the reverse.

    Among deployments that are paid alike, weights share out the requests; between the two ways of paying, each request
    goes where it is cheaper. Challengers and shadows are left to their share.
    """
    if deployment.role is not None:
        return ()
    by_token = deployment.tokens is not None
    return tuple(
        d
        for d in model.deployments
        if (d.tokens is not None) != by_token and d.weight and d.role is None and d.tier is deployment.tier
    )


def _cheapest(
    deployments: Sequence[Deployment],
    request: RoutingRequest,
    model: Model,
    capacity: Capacity,
    prices: GatewayPrices,
    *,
    why: str,
) -> RoutingDecision:
    """The cheapest decision, among those that take the road that was asked for.

    Raises:
        TollgateError: as `route`; the error is the first deployment's.
    """
    found: list[RoutingDecision] = []
    problem: TollgateError | None = None
    for deployment in deployments:
        try:
            found.append(_decision(deployment, request, model, capacity, prices, why=why))
        except (CapacityError, InvalidRequestError, PriceUnknownError) as error:
            problem = problem or error
    if not found:
        raise problem or CapacityError("Every deployment of this model has weight 0.", retry_after=60)
    wanted = _wanted(request, model)

    def order(decision: RoutingDecision) -> tuple[bool, bool, Decimal]:
        resource, taken = decision.deployment.resource, decision.inference_type
        state = capacity.of(resource, taken).state
        later = (
            not request.by_deadline and wanted is InferenceType.REALTIME and (taken is not wanted or decision.deferred)
        )
        loaded = decision.estimates[taken].loaded_cost
        return state in {RoadState.BROKEN, RoadState.SLOW}, later, decision.estimated_cost if loaded is None else loaded

    best = min(found, key=order)
    if best.deployment is deployments[0]:
        return best
    return best._replace(reason=f"{best.reason};cheaper={best.deployment.name}")


def _decision(
    deployment: Deployment,
    request: RoutingRequest,
    model: Model,
    capacity: Capacity,
    prices: GatewayPrices,
    *,
    why: str,
) -> RoutingDecision:
    estimates = RoadEstimates(request.size, model, deployment, capacity, prices)
    if request.deadline_seconds is not None and request.by_deadline:
        chosen, reason = _cheapest_in_time(estimates, request.deadline_seconds)
    else:
        chosen, reason = _by_priority(estimates, request, model)
    if chosen.estimated_cost is None:
        raise PriceUnknownError(
            f"Deployment '{deployment.resource}' has no known price for its {chosen.inference_type} road. "
            "Add usd_per_hour or ceiling_usd to it in the catalogue."
        )
    return RoutingDecision(
        inference_type=chosen.inference_type,
        deployment=deployment,
        reason=reason + why,
        estimated_cost=chosen.estimated_cost,
        expected_seconds=chosen.expected_seconds,
        fallback=_fallback(chosen, estimates, request, model),
        estimates=estimates,
        deferred=chosen.blocker is Blocker.ASLEEP,
        sleeping=() if deployment.sleep is None else _sleeping(chosen, estimates, request, model),
    )


def _by_priority(estimates: RoadEstimates, request: RoutingRequest, model: Model) -> tuple[RoadEstimate, str]:
    priority = request.priority or model.default_priority
    said = f"priority={priority}" if request.priority else f"default_priority={priority}"
    wanted = ROAD_OF_PRIORITY[priority]
    chosen, detour = _first_open(estimates, wanted, may_leave_realtime=model.fall_back_to_async)
    reason = said if detour is None else f"{said};{wanted}_ruled_out={detour}"
    deadline = request.deadline_seconds
    if deadline is not None:
        if chosen.expected_seconds > deadline:
            in_time = [e.inference_type.value for e in _open(estimates) if e.expected_seconds <= deadline]
            hint = f"Roads expected to be in time: {', '.join(in_time)}." if in_time else "No road is expected to be."
            raise DeadlineImpossibleError(
                f"Priority '{priority}' takes the {chosen.inference_type} road, expected to need "
                f"{chosen.expected_seconds:.1f} s; the deadline is {deadline:g} s. {hint} "
                "Leave out 'priority' to let the deadline choose the road.",
                param="deadline_seconds",
            )
        reason += f";deadline={deadline:g}s"
    return chosen, reason


def _cheapest_in_time(estimates: RoadEstimates, deadline: float) -> tuple[RoadEstimate, str]:
    in_time = [e for e in _open(estimates) if e.expected_seconds <= deadline]
    priced = [
        (e.loaded_cost, -_QUICKEST_FIRST.index(e.inference_type), e) for e in in_time if e.loaded_cost is not None
    ]
    if priced:
        chosen = min(priced, key=lambda entry: entry[:2])[2]
        return chosen, f"deadline={deadline:g}s;lowest_loaded_cost_in_time;expected={chosen.expected_seconds:.1f}s"
    if in_time:
        return in_time[0], f"deadline={deadline:g}s"
    expected = ", ".join(f"{e.inference_type} {e.expected_seconds:.1f} s" for e in _open(estimates)) or "none is open"
    raise DeadlineImpossibleError(
        f"No road is expected to answer within {deadline:g} s (expected: {expected}).", param="deadline_seconds"
    )


def _open(estimates: Iterable[RoadEstimate]) -> list[RoadEstimate]:
    return [e for e in estimates if e.blocker is None or (e.blocker is Blocker.ASLEEP and e.wakes)]


def _should_wake(first: RoadEstimate, estimates: RoadEstimates, *, may_leave_realtime: bool) -> bool:
    """Whether to wait for a sleeping real-time road rather than take another one."""
    if first.blocker is not Blocker.ASLEEP or not first.wakes:
        return False
    later = estimates.get(InferenceType.ASYNC) if may_leave_realtime else None
    return later is None or later.blocker is not None or later.wakes


def _first_open(
    estimates: RoadEstimates, wanted: InferenceType, *, may_leave_realtime: bool
) -> tuple[RoadEstimate, str | None]:
    """The wanted road, or the next slower one that is open; quicker ones only when no slower one is."""
    position = _QUICKEST_FIRST.index(wanted)
    order = [*_QUICKEST_FIRST[position:], *reversed(_QUICKEST_FIRST[:position])]
    first = estimates.get(wanted)
    detour = Blocker.ABSENT if first is None else first.blocker
    if first is not None and _should_wake(first, estimates, may_leave_realtime=may_leave_realtime):
        return first, detour
    stay = wanted is InferenceType.REALTIME and not may_leave_realtime and detour in {Blocker.ASLEEP, Blocker.BROKEN}
    for inference_type in order if not stay else ():
        found = estimates.get(inference_type)
        if found is not None and found.blocker is None:
            return found, detour
    if detour in {Blocker.ASLEEP, Blocker.BROKEN}:
        raise CapacityError(f"The {wanted} road is {detour} and no other road is open.", retry_after=30)
    raise InvalidRequestError(f"No road can carry this request ({wanted}: {detour}).")


def _sleeping(
    chosen: RoadEstimate, estimates: RoadEstimates, request: RoutingRequest, model: Model
) -> tuple[InferenceType, ...]:
    wanted = (
        None if request.by_deadline else estimates.get(ROAD_OF_PRIORITY[request.priority or model.default_priority])
    )
    roads = (chosen,) if wanted is None or wanted is chosen else (wanted, chosen)
    return tuple(road.inference_type for road in roads if road.wakes)


def _fallback(
    chosen: RoadEstimate, estimates: RoadEstimates, request: RoutingRequest, model: Model
) -> InferenceType | None:
    if chosen.inference_type is not InferenceType.REALTIME or not model.fall_back_to_async:
        return None
    if not estimates.carries_later(InferenceType.ASYNC):
        return None
    deadline = request.deadline_seconds
    in_time = deadline is None or estimates[InferenceType.ASYNC].expected_seconds <= deadline
    return InferenceType.ASYNC if in_time else None
