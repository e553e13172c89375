"""What a call asks of the cache: the field `cache` of a body, and the header ``Cache-Control``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.domain.cache.control import CacheControl

MODES = ("default", "always", "refresh", "bypass", "only")
"""The values of `CacheMode`; a cold start without wishes does not import it."""

LONGEST_SECONDS = 86_400
NAMESPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


def wishes_of(headers: Mapping[str, str], wishes: Mapping[str, Any] | None) -> CacheControl | None:
    """The wishes of a call, None where it has none. `wishes` is the checked field of its body."""
    header = headers.get("cache-control")
    if not header and not wishes:
        return None
    from tollgate.domain.cache.control import control_of  # noqa: PLC0415 -- most calls have no wishes

    return control_of(header, wishes)
