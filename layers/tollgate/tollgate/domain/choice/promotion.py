"""Puts another variant of a model in place of the one that serves."""

from copy import replace

from tollgate.domain.catalogue import Catalogue, Deployment, Model
from tollgate.domain.choice.policy import DeploymentRole
from tollgate.domain.errors import CatalogueError


def promoted(catalogue: Catalogue, model_name: str, deployment_name: str, *, version: int) -> Catalogue:
    """The catalogue in which a deployment serves all the traffic of its tier.

    The tier's other deployments keep their entries with weight 0 and become challengers, so promoting one of them again
    undoes this.

    Args:
        catalogue: in force.
        model_name: of the deployment.
        deployment_name: to promote.
        version: number of the new catalogue.

    Raises:
        UnknownModelError: no such model.
        CatalogueError: no such deployment; it serves everything already; or it lacks a road that its tier has.
    """
    model = catalogue.model(model_name)
    chosen = model.deployment(deployment_name)
    if chosen is None:
        raise CatalogueError(f"Model '{model_name}' has no deployment '{deployment_name}'.")
    rivals = [d for d in model.deployments if d.tier is chosen.tier and d.name != chosen.name and d.weight > 0]
    if chosen.role is None and not rivals:
        raise CatalogueError(f"'{chosen.resource}' serves all the traffic of its tier already.")
    missing = {road for rival in rivals for road in rival.roads} - chosen.roads.keys()
    if missing:
        lacking = ", ".join(sorted(missing))
        raise CatalogueError(f"'{chosen.resource}' lacks a road that its tier has: {lacking}.")
    weight = max(1, chosen.weight + sum(rival.weight for rival in rivals))
    deployments = tuple(_after(d, chosen, rivals, weight) for d in model.deployments)
    models = {**catalogue.models, model_name: _without_idle_shadow(replace(model, deployments=deployments))}
    return replace(catalogue, version=version, models=models)


def _after(deployment: Deployment, chosen: Deployment, rivals: list[Deployment], weight: int) -> Deployment:
    if deployment.name == chosen.name:
        return replace(deployment, role=None, weight=weight)
    if deployment in rivals:
        return replace(deployment, role=DeploymentRole.CHALLENGER, weight=0)
    return deployment


def _without_idle_shadow(model: Model) -> Model:
    """A policy of shadow traffic needs a shadow; the former shadow may serve now."""
    if model.choice is None or any(d.role is DeploymentRole.SHADOW for d in model.deployments):
        return model
    return replace(model, choice=replace(model.choice, shadow=None))
