"""What parameters of routes look like, where they are more than any text."""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.jobs.job import JobState
from tollgate.services.jobs.queries import MAX_PAGE
from tollgate.services.usage.queries import GROUPS

_NAMES = ("id", "model", "namespace", "key")
_TIME = {"type": "string", "examples": ["2026-11-22", "2026-11-22T09:00Z"]}


def _page(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}


_OF_ALL: Mapping[str, Mapping[str, Any]] = {
    "order": {"type": "string", "enum": ["asc", "desc"]},
    "purpose": {"type": "string", "enum": ["batch", "user_data", "batch_output"]},
    "status": {"type": "string", "enum": [state.value for state in JobState]},
    "from": _TIME,
    "to": _TIME,
    "all": {"type": "string", "enum": ["true"]},
    "group_by": {"type": "string", "pattern": f"^({'|'.join(GROUPS)})(,({'|'.join(GROUPS)}))*$"},
    "Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_LIMITS = {"/v1/files": 10_000, "/v1/batches": 100, "/v1/inferences": MAX_PAGE}


def path_names(path: str) -> list[str]:
    """Names of the parameters in a path."""
    return [name for name in _NAMES if f"{{{name}}}" in path]


def parameter(name: str, place: str, path: str) -> dict[str, Any]:
    """A parameter of the route with this path; those in the path are required."""
    schema = _page(_LIMITS[path]) if name == "limit" else dict(_OF_ALL.get(name, {"type": "string"}))
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
