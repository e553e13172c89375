"""Jobs as items of the Jobs table.

Times are ISO 8601 in UTC with six decimals, so that their order as text is their order in time. Values whose shape the
client chose are JSON text: they contain floats, which DynamoDB's numbers would change.

`open_group` puts a job into the sparse index `open` as long as something is left to do for it:

| group                           | jobs                                        |
|---------------------------------|---------------------------------------------|
| ``async#<resource>#<shard>``    | queued or submitted, asynchronous road      |
| ``batch#<resource>``            | queued, waiting for a transform job         |
| ``running#<resource>``          | submitted in a transform job                |
| ``webhook#<shard>``             | ended, webhook not yet delivered            |

`settled_group` puts it into the sparse index `settled` when it has ended; see `documents.bill`.

One partition of an index takes 1,000 writes a second, so groups that every request passes through are sharded.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
"""

import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.adapters.documents.reservation import reservation_document, reservation_of
from tollgate.domain.catalogue import InferenceType, Priority
from tollgate.domain.jobs.job import FINAL_STATES, Bill, Job, JobFailure, JobState, Owner, Payload, Usage
from tollgate.domain.json_values import json_text

if TYPE_CHECKING:
    from tollgate.domain.cache.ticket import CacheTicket

SHARDS = 4
KEPT = timedelta(days=30)
"""How long a job that has ended can be asked for."""

_TEXT = (
    "job_id",
    "model",
    "deployment",
    "route_reason",
    "traceparent",
    "webhook_url",
    "output_location",
    "failure_location",
    "batch_id",
)
_NUMBERS = ("estimated_cost", "effective_cost", "avoided_cost", "held_seconds", "earlier_parts", "catalogue_version")
_TIMES = ("created_at", "deadline_at", "submit_lease_until", "submitted_at", "started_at", "finished_at")
_JSON = ("parameters", "metadata")


def time_text(moment: datetime) -> str:
    """ISO 8601, UTC, microseconds, `Z`: 27 characters that sort by time."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def time_of(text: str) -> datetime:
    """The time that `time_text` wrote."""
    return datetime.fromisoformat(text)


def shard_of(job_id: str) -> int:
    """Which of the shards of a group a job belongs to."""
    return zlib.crc32(job_id.encode()) % SHARDS


def open_group(job: Job) -> str | None:
    """The group of the index `open` that the job belongs to now."""
    if job.state in FINAL_STATES:
        return f"webhook#{shard_of(job.job_id)}" if job.webhook_pending else None
    if job.inference_type is InferenceType.BATCH:
        return f"{'batch' if job.state is JobState.QUEUED else 'running'}#{job.resource}"
    return f"{job.inference_type}#{job.resource}#{shard_of(job.job_id)}"


def groups_of(resource: str, inference_type: InferenceType) -> tuple[str, ...]:
    """All groups with unfinished jobs of one road of a deployment."""
    if inference_type is InferenceType.BATCH:
        return (f"batch#{resource}", f"running#{resource}")
    return tuple(f"{inference_type}#{resource}#{shard}" for shard in range(SHARDS))


WEBHOOK_GROUPS = tuple(f"webhook#{shard}" for shard in range(SHARDS))


def to_item(job: Job) -> dict[str, Any]:
    """The item; attributes without a value are left out."""
    item: dict[str, Any] = {name: getattr(job, name) for name in (*_TEXT, *_NUMBERS)}
    item |= {name: None if (at := getattr(job, name)) is None else time_text(at) for name in _TIMES}
    item |= {name: json_text(value) if (value := getattr(job, name)) else None for name in _JSON}
    item |= {
        "tenant": job.owner.tenant,
        "key_id": job.owner.key_id,
        "team": job.owner.team or None,
        "scopes": sorted(job.owner.scopes) or None,
        "inference_type": job.inference_type.value,
        "state": job.state.value,
        "rates_version": job.rates_version or None,
        "priority": None if job.priority is None else job.priority.value,
        "webhook_pending": True if job.webhook_pending else None,
        "input_tokens": job.usage.input_tokens,
        "output_tokens": job.usage.output_tokens,
        "cached_input_tokens": job.usage.cached_input_tokens,
        "reasoning_tokens": job.usage.reasoning_tokens,
        "failure_code": None if job.failure is None else job.failure.code,
        "failure_message": None if job.failure is None else job.failure.message,
        "open_group": open_group(job),
        "reservation": None if job.reservation is None else json.dumps(reservation_document(job.reservation)),
        "cache": None if job.cache is None else _ticket_text(job.cache),
    }
    if job.bill is not None:
        item |= {"settled_at": time_text(job.bill.settled_at), **_bill_attributes(job.job_id, job.bill)}
    for name, payload in (("input", job.input), ("output", job.output)):
        item[name] = None if payload.inline is None else json_text(payload.inline)
        item[f"{name}_key"] = payload.key
    if job.state in FINAL_STATES:
        item["ttl"] = int(((job.finished_at or job.created_at) + KEPT).timestamp())
    return {name: value for name, value in item.items() if value is not None and value != ""}


LATE = "late"
"""`run_state` of what a job cost after its end: neither a job, which callers could ask for, nor a run."""


def late_item(late: Job) -> dict[str, Any]:
    """The item of a late charge; the index `settled` finds it, and `late_of` reads it."""
    item = to_item(late)
    kind = item.pop("inference_type")
    return item | {"run_state": LATE, "counted": json.dumps({"inference_type": kind})}


def late_of(item: Mapping[str, Any]) -> Job:
    """The charge of an item that `late_item` wrote."""
    return from_item({**item, **json.loads(item["counted"])})


def from_item(item: Mapping[str, Any]) -> Job:
    """The job of an item that `to_item` wrote."""
    known: dict[str, Any] = {name: item[name] for name in (*_TEXT, *_NUMBERS) if name in item}
    known |= {name: time_of(item[name]) for name in _TIMES if name in item}
    known |= {name: json.loads(item[name]) for name in _JSON if name in item}
    return Job(
        **_DEFAULTS
        | known
        | {
            "owner": owner_of(item),
            "inference_type": InferenceType(item["inference_type"]),
            "state": JobState(item["state"]),
            "priority": Priority(item["priority"]) if "priority" in item else None,
            "catalogue_version": int(item["catalogue_version"]),
            "rates_version": int(item.get("rates_version", 0)),
            "webhook_pending": bool(item.get("webhook_pending", False)),
            "usage": Usage(*(_whole(item.get(name)) for name in Usage._fields)),
            "failure": JobFailure(item["failure_code"], item.get("failure_message", ""))
            if "failure_code" in item
            else None,
            "reservation": reservation_of(json.loads(item["reservation"])) if "reservation" in item else None,
            "cache": _ticket(item["cache"]) if "cache" in item else None,
            "bill": _bill(item),
            "input": _payload(item, "input"),
            "output": _payload(item, "output"),
        }
    )


def owner_of(item: Mapping[str, Any]) -> Owner:
    """Whose job it is."""
    return Owner(
        tenant=item["tenant"],
        key_id=item["key_id"],
        team=item.get("team", ""),
        scopes=frozenset(item.get("scopes", ())),
    )


def _bill_attributes(job_id: str, bill: Bill) -> dict[str, str]:
    # The gateway writes jobs that are just beginning and need not pay for the import.
    from tollgate.adapters.documents.bill import bill_text, settled_group  # noqa: PLC0415 -- see above

    return {"bill": bill_text(bill), "settled_group": settled_group(job_id, bill)}


def _bill(item: Mapping[str, Any]) -> Bill | None:
    if "bill" not in item:
        return None
    from tollgate.adapters.documents.bill import bill_of  # noqa: PLC0415 -- as above

    return bill_of(item["bill"], time_of(item["settled_at"]))


# An empty text is not stored, and must come back as an empty text.
_DEFAULTS: dict[str, Any] = {name: "" for name, kind in Job.__annotations__.items() if kind is str}


def _whole(number: Decimal | None) -> int | None:
    return None if number is None else int(number)


def _ticket_text(ticket: "CacheTicket") -> str:
    return json.dumps(ticket._asdict())


def _ticket(text: str) -> "CacheTicket":
    # Few jobs belong to a model with a cache.
    from tollgate.domain.cache.ticket import CacheTicket  # noqa: PLC0415 -- see above

    return CacheTicket(**json.loads(text))


def _payload(item: Mapping[str, Any], name: str) -> Payload:
    text = item.get(name)
    return Payload(inline=None if text is None else json.loads(text), key=item.get(f"{name}_key"))
