"""Which deployment of a model takes a request, by weight, outstanding work and health."""

from collections.abc import Sequence

from tollgate.domain.catalogue import Deployment, InferenceType, Model
from tollgate.domain.errors import CapacityError
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState


def choose_deployment(deployments: Sequence[Deployment], selector: float) -> Deployment:
    """Pick by weight; `selector` in [0, 1) is the position on the cumulated weights. A weight of 0 gets no traffic.

    Raises:
        CapacityError: every weight is 0.
    """
    return _pick(deployments, [d.weight for d in deployments], selector)


def spread(model: Model, wanted: InferenceType, capacity: Capacity, selector: float) -> tuple[Deployment, str]:
    """Pick by weight divided by the work that waits for each place, leaving out what is broken or too slow.

    If every deployment with a weight is left out, the first fit one of the model's fallback chain is taken, then one
    that is only slow. If nothing is fit, the choice is by weight alone, and the router may find another road.

    Args:
        model: as it is offered to this request.
        wanted: the road that the request asks for.
        capacity: latest observations.
        selector: as for `choose_deployment`.

    Returns:
        The deployment, and what to add to the route's reason.

    Raises:
        CapacityError: every weight is 0.
    """
    deployments = model.deployments
    chosen = choose_deployment(deployments, selector)
    if len(deployments) == 1:
        return chosen, ""
    observed = [capacity.of(d.resource, wanted) for d in deployments]
    weights = [_weight(d, wanted, road) for d, road in zip(deployments, observed, strict=True)]
    if any(weights):
        found = _pick(deployments, weights, selector)
    else:
        found = _stand_in(model, wanted, capacity) or _slow(deployments, observed, selector) or chosen
    if found is chosen:
        return chosen, ""
    state = capacity.of(chosen.resource, wanted).state
    return found, f";{chosen.name}={state}" if state in _AVOIDED else ";spread=outstanding"


_AVOIDED = frozenset({RoadState.BROKEN, RoadState.SLOW})


def _weight(deployment: Deployment, wanted: InferenceType, observed: RoadCapacity) -> float:
    if not deployment.weight or observed.state in _AVOIDED:
        return 0.0
    road = deployment.roads.get(wanted)
    if road is None or not observed.backlog:
        return deployment.weight
    instances = road.instance_count if observed.instances is None else observed.instances
    return deployment.weight / (1.0 + observed.backlog / (max(1, instances) * road.concurrency))


def _stand_in(model: Model, wanted: InferenceType, capacity: Capacity) -> Deployment | None:
    for name in model.health.fallback:
        found = model.deployment(name)
        if found is not None and wanted in found.roads and capacity.of(found.resource, wanted).state not in _AVOIDED:
            return found
    return None


def _slow(deployments: Sequence[Deployment], observed: Sequence[RoadCapacity], selector: float) -> Deployment | None:
    weights = [d.weight if road.state is RoadState.SLOW else 0 for d, road in zip(deployments, observed, strict=True)]
    return _pick(deployments, weights, selector) if any(weights) else None


def _pick(deployments: Sequence[Deployment], weights: Sequence[float], selector: float) -> Deployment:
    total = sum(weights)
    if total <= 0:
        raise CapacityError("Every deployment of this model has weight 0.", retry_after=60)
    position = selector * total
    for deployment, weight in zip(deployments, weights, strict=True):
        position -= weight
        if position < 0:
            return deployment
    return next(d for d, weight in zip(reversed(deployments), reversed(weights), strict=True) if weight > 0)
