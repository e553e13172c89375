"""A sleep policy as part of the stored catalogue, and back."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tollgate.domain.sleeping import SleepPolicy, WarmHours


def sleep_document(policy: SleepPolicy) -> dict[str, Any]:
    """The stored form."""
    document = {field.name: getattr(policy, field.name) for field in fields(policy)}
    hours = [[sorted(h.days), h.start_minute, h.end_minute, h.utc_offset_minutes] for h in policy.warm_hours]
    return document | {"warm_hours": hours}


def sleep_from(document: Mapping[str, Any]) -> SleepPolicy:
    """The policy of a stored document."""
    hours = tuple(WarmHours(frozenset(days), start, end, offset) for days, start, end, offset in document["warm_hours"])
    return SleepPolicy(**{**document, "warm_hours": hours})
