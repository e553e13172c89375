"""The output files of transform jobs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tollgate.domain.foreign_words import quoted
from tollgate.domain.jobs.job import JobFailure
from tollgate.domain.json_values import json_text, within_depth
from tollgate.ports.backends import TransformStatus
from tollgate.ports.objects import ObjectStore

_SHOWN_CHARACTERS = 500
_NO_ANSWER = "The transform job gave no answer for this request."
_KIND = re.compile(r"[A-Z][A-Za-z]*Error:")


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """One line of an output file; `body` is the container's answer as JSON, None where there is none."""

    record_id: Any
    body: bytes | None


def failure_of(status: TransformStatus, *, shared: bool = False) -> JobFailure:
    """Why a record has no answer.

    Args:
        status: of the transform job.
        shared: records of several requests went along. The job's reason is then about all of them, other tenants'
            among them: only its kind, such as ``ClientError``, is told.
    """
    if status.status == "Stopped":
        return JobFailure("batch_stopped", "The transform job was stopped before it answered this request.")
    reason = status.failure_reason or _NO_ANSWER
    if shared and reason != _NO_ANSWER:
        kind = _KIND.match(reason)
        reason = f"{kind[0]} {_NO_ANSWER}" if kind else _NO_ANSWER
    return JobFailure("model_failed", quoted(reason, most=_SHOWN_CHARACTERS))


def read_output(objects: ObjectStore, key: str) -> Iterator[OutputRecord]:
    """The records of an output file; none if there is no such file. A line that is not ours is passed over."""
    for line in objects.lines(key) or ():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "id" in record:
            yield OutputRecord(record["id"], _answer(record, line))


def _answer(record: dict[str, Any], line: bytes) -> bytes | None:
    if "SageMakerOutput" not in record or not within_depth(record["SageMakerOutput"], line):
        # One that no dialect would read must not keep those of the other records from being written down.
        return None
    try:
        return json_text(record["SageMakerOutput"]).encode()
    except ValueError:
        # NaN or an infinity: let the dialect see it and the completer refuse it.
        return json.dumps(record["SageMakerOutput"]).encode()
