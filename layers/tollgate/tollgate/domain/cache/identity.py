"""The cache key of an inference request: who may share its answer, what would answer, and what is asked.

The tenant comes from the API key and from nowhere else. A namespace that a request names is the tenant's own, unless
the operator has declared it as shared.
"""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.key import CacheIdentity, CacheScope, cache_key
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Deployment

_OPERATION = "inference"


def scope_of(tenant: str, control: CacheControl, policy: CachePolicy) -> CacheScope:
    """Who may read a request's entry.

    Raises:
        ValueError: there is no tenant.
    """
    if control.namespace in policy.shared_namespaces and control.namespace:
        return CacheScope.shared(control.namespace)
    return CacheScope.private(tenant, control.namespace)


def scope_name(scope: CacheScope) -> str:
    """The name under which a scope's entries are forgotten: a tenant, or a shared namespace."""
    return f"shared#{scope.namespace}" if scope.tenant == "" else f"private#{scope.tenant}"


_VERSIONS: dict[int, tuple[Deployment, str, str]] = {}
_VERSIONS_KEPT = 256


def model_version(deployment: Deployment, policy: CachePolicy) -> str:
    """What would answer, as the catalogue names it; prices and budgets may change without emptying the cache."""
    # A catalogue's deployments stay the same objects until the next catalogue is read, and every request calls this.
    known = _VERSIONS.get(id(deployment))
    if known is None or known[0] is not deployment or known[1] != policy.version:
        if len(_VERSIONS) >= _VERSIONS_KEPT:
            _VERSIONS.clear()
        known = _VERSIONS[id(deployment)] = deployment, policy.version, _version_of(deployment, policy)
    return known[2]


def _version_of(deployment: Deployment, policy: CachePolicy) -> str:
    roads = sorted(
        "\t".join(
            (
                road_type,
                road.target,
                road.target_model or "",
                road.target_variant or "",
                road.inference_component or "",
                *(() if road.tokens is None else (road.tokens.provider, road.tokens.url)),
            )
        )
        for road_type, road in deployment.roads.items()
    )
    return "\n".join((deployment.resource, deployment.dialect, policy.version, *roads))


def request_body(value: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Input and parameters in a shape whose texts `cache.key` can hash fast; different for different requests."""
    match value:
        case {"messages": messages}:
            others = {name: field for name, field in value.items() if name != "messages"}
            return {"form": "messages", "messages": messages, "others": others, "parameters": parameters}
        case {"inputs": inputs} if len(value) == 1:
            return {"form": "inputs", "input": inputs, "parameters": parameters}
        case _:
            return {"form": "plain", "input": value, "parameters": parameters}


def request_identity(
    tenant: str, control: CacheControl, policy: CachePolicy, deployment: Deployment, *, choosing: str = ""
) -> CacheIdentity:
    """Everything outside the request that decides whether an answer may be reused.

    Args:
        tenant: from the API key.
        control: for its namespace.
        policy: the model's.
        deployment: that would answer.
        choosing: the other rules for who answers, and the checks that the answer must pass.

    Raises:
        ValueError: there is no tenant.
    """
    return CacheIdentity(
        scope=scope_of(tenant, control, policy),
        operation=_OPERATION,
        model_version=model_version(deployment, policy),
        policy_fingerprint=choosing,
    )


def request_key(identity: CacheIdentity, value: Any, parameters: Mapping[str, Any]) -> str:
    """The key of a request that is sent with this input and these parameters."""
    return cache_key(identity, request_body(value, parameters))
