"""Whether a model can serve what a route and a request need of it."""

from collections.abc import Mapping
from copy import replace
from types import MappingProxyType
from typing import NamedTuple

from tollgate.domain.catalogue import Model, ModelKind
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError


class Needs(NamedTuple):
    """What a request needs.

    Attributes:
        kind: what the route is for, `CHAT` or `EMBEDDING`.
        parameters: from each optional parameter of the request to the capability that it needs, as deployments name it
            under `supports`.
    """

    kind: ModelKind
    parameters: Mapping[str, str] = MappingProxyType({})


def offering(model: Model, needs: Needs) -> Model:
    """The model, with only those of its deployments that understand everything in the request.

    Raises:
        InvalidRequestError: the model is for something else.
        UnsupportedParameterError: no deployment understands one of the parameters, or all of them together.
    """
    if model.kind not in {ModelKind.ANY, needs.kind}:
        raise InvalidRequestError(f"Model '{model.name}' is not for this: it is {_WHAT[model.kind]}.", param="model")
    if not needs.parameters:
        return model
    wanted = frozenset(needs.parameters.values())
    able = tuple(deployment for deployment in model.deployments if wanted <= deployment.supports)
    if len(able) == len(model.deployments):
        return model
    if not able:
        raise _unsupported(model, needs.parameters)
    return replace(model, deployments=able)


_WHAT: Mapping[ModelKind, str] = {
    ModelKind.CHAT: "a chat model; use /v1/chat/completions",
    ModelKind.EMBEDDING: "an embedding model; use /v1/embeddings",
    ModelKind.CUSTOM: "neither for chat nor for embeddings; use /v1/inferences",
}


def _unsupported(model: Model, parameters: Mapping[str, str]) -> UnsupportedParameterError:
    offered = frozenset[str]().union(*(deployment.supports for deployment in model.deployments))
    for parameter, capability in parameters.items():
        if capability not in offered:
            known = ", ".join(sorted(offered)) or "none"
            what = f"'{parameter}'" if capability == parameter else f"'{parameter}' ({capability})"
            return UnsupportedParameterError(
                f"Model '{model.name}' does not support {what}. Optional parameters that it supports: {known}.",
                param=parameter,
            )
    together = ", ".join(f"'{parameter}'" for parameter in parameters)
    return UnsupportedParameterError(
        f"No deployment of model '{model.name}' supports {together} together.", param=next(iter(parameters))
    )
