"""The cache policy of a stored catalogue; imported only where a model has one."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tollgate.domain.cache_policy import CachePolicy, WhenDown


def cache_policy_document(policy: CachePolicy | None) -> dict[str, Any] | None:
    """The stored form."""
    if policy is None:
        return None
    found = {field.name: getattr(policy, field.name) for field in fields(policy)}
    return found | {"shared_namespaces": sorted(policy.shared_namespaces), "when_down": policy.when_down.value}


def cache_policy_of(document: Mapping[str, Any]) -> CachePolicy:
    """The policy of a stored document."""
    return CachePolicy(
        **{
            **document,
            "max_temperature": float(document["max_temperature"]),
            "wait_seconds": float(document["wait_seconds"]),
            "uncached_share": float(document["uncached_share"]),
            "shared_namespaces": frozenset(document["shared_namespaces"]),
            "when_down": WhenDown(document["when_down"]),
        }
    )
