"""The steps of the brakes beside their record; only the functions that show or change them import this."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tollgate.adapters.documents.standing import standing_document, standing_from
from tollgate.adapters.dynamodb.registry.control import RegistryControlStore, moment_of, text_of
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.brakes.plan import BrakeEntry, EntryState

_KEPT = timedelta(days=400)
"""Longer than a year, so that last year's brakes can be looked up."""


class RegistryBrakes(RegistryControlStore):
    """The `ControlStore` of AWS."""

    def entries(self, episode: str) -> Sequence[BrakeEntry]:
        """See `ControlStore`."""
        return [_entry(item) for item in self.query(_partition(episode))] if episode else []

    def put(self, entry: BrakeEntry) -> None:
        """See `ControlStore`. One function holds the lease, so nobody else writes the step at the same time."""
        self.put_item(_item(entry))


def _partition(episode: str) -> str:
    return f"control#{episode}"


def _item(entry: BrakeEntry) -> dict[str, Any]:
    before = None if entry.before is None else json.dumps(standing_document(entry.before), sort_keys=True)
    item = {
        "pk": _partition(entry.episode),
        "sk": f"{entry.number:04d}",
        "level": entry.level.word,
        "target": entry.target,
        "what": entry.what,
        "state": entry.state.value,
        "planned_at": entry.planned_at.isoformat(),
        "usd_per_hour": None if entry.usd_per_hour is None else str(entry.usd_per_hour),
        "before": before,
        "changes": list(entry.changes),
        "done_at": text_of(entry.done_at),
        "undone": list(entry.undone),
        "undone_at": text_of(entry.undone_at),
        "problem": entry.problem or None,
        "ttl": int((entry.undone_at + _KEPT).timestamp()) if entry.undone_at is not None else None,
    }
    return {name: value for name, value in item.items() if value is not None}


def _entry(item: Mapping[str, Any]) -> BrakeEntry:
    usd, before = item.get("usd_per_hour"), item.get("before")
    return BrakeEntry(
        episode=item["pk"].partition("#")[2],
        number=int(item["sk"]),
        level=BrakeLevel.of(item["level"]),
        target=item["target"],
        what=item["what"],
        state=EntryState(item["state"]),
        planned_at=datetime.fromisoformat(item["planned_at"]),
        usd_per_hour=None if usd is None else Decimal(usd),
        before=None if before is None else standing_from(json.loads(before)),
        changes=tuple(item["changes"]),
        done_at=moment_of(item.get("done_at")),
        undone=tuple(item["undone"]),
        undone_at=moment_of(item.get("undone_at")),
        problem=item.get("problem", ""),
    )
