"""The cache policy of a stored catalogue; imported only where a model has one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tollgate.domain.cache.policy import CachePolicy, WhenDown

if TYPE_CHECKING:
    from tollgate.domain.near.policy import NearPolicy


def cache_policy_document(policy: CachePolicy | None) -> dict[str, Any] | None:
    """A cache policy as it is stored; `cache_policy_of` reads it back."""
    if policy is None:
        return None
    found = policy._asdict()
    found |= {"shared_namespaces": sorted(policy.shared_namespaces), "when_down": policy.when_down.value}
    return found | {"near": _near_document(policy.near)}


def _near_document(policy: "NearPolicy | None") -> dict[str, Any] | None:
    if policy is None:
        return None
    found = {name: getattr(policy, name) for name in type(policy).__slots__}
    return found | {"strictness": policy.strictness.value, "likeness": policy.likeness.value}


def _near_of(document: Mapping[str, Any] | None) -> "NearPolicy | None":
    if document is None:
        return None
    # Caches of exact matches need not pay for the import.
    from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness  # noqa: PLC0415 -- see above

    return NearPolicy(
        strictness=Strictness(document["strictness"]),
        wrong_hits=float(document["wrong_hits"]),
        sample=float(document["sample"]),
        candidates=int(document["candidates"]),
        # Catalogues that were stored before there was a choice have none.
        likeness=Likeness(document.get("likeness", "words")),
    )


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
            "near": _near_of(document.get("near")),
        }
    )
