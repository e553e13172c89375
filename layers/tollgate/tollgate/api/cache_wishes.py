"""What a call asks of the cache: the field `cache` of a body, and the header ``Cache-Control``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema as rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.domain.cache.control import CacheControl

MODES = ("default", "always", "refresh", "bypass", "only")
"""The values of `CacheMode`; a cold start without wishes does not import it."""

LONGEST_SECONDS = 86_400
NAMESPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


def _optional(schema: rules.CoreSchema) -> rules.TypedDictField:
    return rules.typed_dict_field(rules.nullable_schema(schema), required=False)


def cache_wishes_schema() -> rules.CoreSchema:
    """Rules for the field `cache`."""
    return rules.typed_dict_schema(
        {
            "ttl": _optional(rules.int_schema(ge=1, le=LONGEST_SECONDS)),
            "namespace": _optional(rules.str_schema(pattern=NAMESPACE_PATTERN)),
            "mode": _optional(rules.literal_schema(list(MODES))),
        },
        extra_behavior="forbid",
        ref="CacheWishes",
        config=rules.CoreConfig(strict=True, title="CacheWishes"),
    )


def wishes_of(headers: Mapping[str, str], wishes: Mapping[str, Any] | None) -> CacheControl | None:
    """The wishes of a call, None where it has none. `wishes` is the checked field of its body."""
    header = headers.get("cache-control")
    if not header and not wishes:
        return None
    from tollgate.domain.cache.control import control_of  # noqa: PLC0415 -- most calls have no wishes

    return control_of(header, wishes)
