"""A sleep policy as part of the stored catalogue, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tollgate.domain.places.sleeping import SleepPolicy, WarmHours


def sleep_document(policy: SleepPolicy) -> dict[str, Any]:
    """The stored form."""
    document = {field.name: getattr(policy, field.name) for field in fields(policy)}
    hours = [[sorted(h.days), h.start_minute, h.end_minute, h.utc_offset_minutes, h.zone] for h in policy.warm_hours]
    return document | {"warm_hours": hours}


def sleep_from(document: Mapping[str, Any]) -> SleepPolicy:
    """The policy of a stored document."""
    # Catalogues that were stored before hours could have a zone end with the offset.
    hours = tuple(WarmHours(frozenset(days), *rest) for days, *rest in document["warm_hours"])
    return SleepPolicy(**{**document, "warm_hours": hours})
