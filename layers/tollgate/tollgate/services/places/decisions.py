"""Logs the grounds for each decision about a place that is carried out, in one line, `place decided`.

Nothing is logged while everything stays as it is, or by a function that lost the race to act.
"""

from collections.abc import Mapping
from datetime import datetime

from tollgate.domain.places.handing_on import Stays
from tollgate.domain.places.sleeping import Watched
from tollgate.ports.system import Telemetry
from tollgate.services.places.work import HandedOn, KeptPlace


def decided(telemetry: Telemetry, kept: KeptPlace, action: str, reason: str, now: datetime, **came_to: object) -> None:
    """Log a decision that has just been carried out.

    Args:
        telemetry: the log.
        kept: the place, with what this look has seen.
        action: `wake`, `sleep`, `grow` or `hand_on`.
        reason: the rule that called for it.
        now: the present.
        came_to: what was done, such as the number of instances.
    """
    seen = {} if kept.watched is None else _seen(kept.watched, now)
    why_here = {} if kept.handed_on is None or action == "hand_on" else _stayed(kept.handed_on)
    fields = {"place": kept.place.key, "action": action, "reason": reason, **seen, **why_here, **came_to}
    telemetry.log("INFO", "place decided", **fields)


def decided_to_hand_on(telemetry: Telemetry, kept: KeptPlace, done: HandedOn, now: datetime) -> None:
    """Log that jobs were handed on."""
    came_to = {
        "handed_on": done.handed_on,
        "gathered": len(done.left),
        "start_usd": _usd(done.usd_per_start),
        "tokens_extra_usd": _usd(done.usd_gone),
    }
    decided(telemetry, kept, "hand_on", "not worth a start", now, **came_to)


def _seen(watched: Watched, now: datetime) -> Mapping[str, object]:
    """What was observed, without values that are 0 or unknown."""
    due = watched.due
    found: dict[str, object] = {
        "phase": watched.phase.value,
        "phase_seconds": round((now - watched.since).total_seconds()),
        "asked": watched.asked,
        "waiting": watched.waiting,
        "gathered": len(due),
        "work_seconds": round(sum(work.place_seconds for work in due), 1),
        "first_runs_in_seconds": round(due[0].latest_start_at - now.timestamp(), 1) if due else 0,
        "given": 0 if watched.given is None else watched.given.count,
        "startup_seconds": round(watched.startup_seconds, 1),
    }
    return {name: value for name, value in found.items() if value}


def _stayed(handed_on: HandedOn) -> Mapping[str, object]:
    """Why jobs that could have been handed on were not."""
    if handed_on.stays is Stays.NOT_DUE:
        return {}
    return {
        "not_handed_on": handed_on.stays.value,
        "start_usd": _usd(handed_on.usd_per_start),
        "tokens_extra_usd": _usd(handed_on.usd_left),
    }


def _usd(amount: float) -> float:
    return round(amount, 6)
