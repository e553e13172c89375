"""The records of the brakes and of sleeping places as JSON: what `GET /v1/control` and the command line show."""

from collections.abc import Sequence
from typing import Any

from tollgate.api.job_rendering import time_text
from tollgate.domain.brakes.level import Control
from tollgate.domain.brakes.plan import BrakeEntry
from tollgate.domain.money import ZERO, money_text, usd_text
from tollgate.domain.places.record import PlaceRecord


def control_document(control: Control, entries: Sequence[BrakeEntry]) -> dict[str, Any]:
    """The whole record; `entries` are the steps of the present episode, in order."""
    saved = sum((e.usd_per_hour or ZERO for e in entries if e.is_in_force), start=ZERO)
    return {
        "object": "control",
        "level": control.level.word,
        "reason": control.reason or None,
        "since": time_text(control.since),
        "until": time_text(control.until),
        "announced": control.announced.word,
        "revision": control.revision,
        "episode": control.episode or None,
        "saves_usd_per_hour": usd_text(saved),
        "causes": [
            {
                "cause": name,
                "level": cause.level.word,
                "reason": cause.reason,
                "observed_at": time_text(cause.observed_at),
                "until": time_text(cause.until),
                "dismissed": cause.dismissed,
            }
            for name, cause in sorted(control.causes.items())
        ],
        "steps": [_entry(entry) for entry in entries],
    }


def place_document(record: PlaceRecord) -> dict[str, Any]:
    """A place that may sleep: its phase, why it is in it, and what is in the way of leaving it."""
    return {
        "place": record.place.key,
        "phase": record.phase.value,
        "since": time_text(record.since),
        "held_by": record.held_by or None,
        "problem": record.problem or None,
        "retry_at": time_text(record.retry_at),
        "history": [
            {"at": time_text(line.at), "phase": line.phase.value, "reason": line.reason} for line in record.history
        ],
    }


def _entry(entry: BrakeEntry) -> dict[str, Any]:
    before = entry.before
    return {
        "number": entry.number,
        "level": entry.level.word,
        "target": entry.target,
        "what": entry.what,
        "state": entry.state.value,
        "planned_at": time_text(entry.planned_at),
        "done_at": time_text(entry.done_at),
        "undone_at": time_text(entry.undone_at),
        "saves_usd_per_hour": money_text(entry.usd_per_hour),
        "before": None
        if before is None
        else {
            "status": before.status.value,
            "configuration": before.configuration,
            "variants": [
                {"name": v.name, "current": v.current, "desired": v.desired, "weight": v.weight}
                for v in before.variants
            ],
            "scaling": [
                {"resource_id": t.resource_id, "minimum": t.minimum, "maximum": t.maximum} for t in before.scaling
            ],
            "jobs": list(before.jobs),
        },
        "changes": list(entry.changes),
        "undone": list(entry.undone),
        "problem": entry.problem or None,
    }
