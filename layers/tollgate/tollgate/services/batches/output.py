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
    """One line of an output file; `body` is the container's answer as JSON, None if there is none."""

    record_id: Any
    body: bytes | None


def failure_of(status: TransformStatus, *, shared: bool = False) -> JobFailure:
    """Why a record has no answer.

    Args:
        status: of the transform job.
        shared: the job held records of several requests, perhaps of other tenants. Only the kind of its failure, such
            as ``ClientError``, is then disclosed.
    """
    if status.status == "Stopped":
        return JobFailure("batch_stopped", "The transform job was stopped before it answered this request.")
    reason = status.failure_reason or _NO_ANSWER
    if shared and reason != _NO_ANSWER:
        kind = _KIND.match(reason)
        reason = f"{kind[0]} {_NO_ANSWER}" if kind else _NO_ANSWER
    return JobFailure("model_failed", quoted(reason, most=_SHOWN_CHARACTERS))


def read_output(objects: ObjectStore, key: str) -> Iterator[OutputRecord]:
    """The records of an output file; none if there is no such file. Lines that are not ours are skipped."""
    for line in objects.lines(key) or ():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and "id" in record:
            yield OutputRecord(record["id"], _answer(record, line))


def answers_in(objects: ObjectStore, key: str) -> dict[Any, bytes]:
    """The answers of an output file, by record."""
    return {record.record_id: record.body for record in read_output(objects, key) if record.body is not None}


def _answer(record: dict[str, Any], line: bytes) -> bytes | None:
    if "SageMakerOutput" not in record or not within_depth(record["SageMakerOutput"], line):
        # A record that no dialect can read must not keep those of the others from being stored.
        return None
    try:
        return json_text(record["SageMakerOutput"]).encode()
    except ValueError:
        # NaN or an infinity: let the dialect see it and the completer refuse it.
        return json.dumps(record["SageMakerOutput"]).encode()
