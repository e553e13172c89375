"""The catalogue's setting ``hand_on_to`` of ``[models.M.deployments.D.sleep]``: who gets what is not worth a start."""

from collections.abc import Sequence

from tollgate.domain.catalogue import Deployment, InferenceType
from tollgate.domain.errors import CatalogueError


def checked_hand_on(deployments: Sequence[Deployment]) -> tuple[Deployment, ...]:
    """The deployments of a model, where each that hands on names one that can stand in for it.

    Raises:
        CatalogueError: there is no such deployment, or it is not paid by the token, of another size, only tried out, or
            understands less.
    """
    known = {deployment.name: deployment for deployment in deployments}
    for giver in deployments:
        name = "" if giver.sleep is None else giver.sleep.hand_on_to
        if not name:
            continue
        problem = _problem(giver, known.get(name))
        if problem:
            raise CatalogueError(f"Deployment '{giver.resource}' cannot hand on to '{name}': {problem}.")
    return tuple(deployments)


def _problem(giver: Deployment, taker: Deployment | None) -> str:
    if taker is None:
        return "the model has no deployment of that name"
    if taker.tokens is None:
        return "it is not paid by the token"
    if InferenceType.ASYNC not in giver.roads:
        return "only requests of an asynchronous road gather"
    if giver.role is not None or taker.role is not None:
        return "a deployment with a role takes its own share only"
    if taker.tier is not giver.tier:
        return f"its tier is {taker.tier}, not {giver.tier}"
    missing = ", ".join(sorted(giver.supports - taker.supports))
    return f"it does not support {missing}" if missing else ""
