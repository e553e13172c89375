"""A dropped file in chunks: as many lines as a transform job's input file holds, and the errors of invalid ones.

At most one chunk is in memory. Chunks also hold the line numbers and the callers' own ids, so that the results can be
put together without the dropped file, which may be replaced meanwhile.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tollgate.domain.catalogue import Deployment
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.batches import BatchRun
from tollgate.domain.jobs.dropped_files import dropped_line
from tollgate.domain.json_values import json_text
from tollgate.ports.dialects import Dialects
from tollgate.ports.objects import ObjectStore

MOST_FILES = 1_000

_MOST_INVALID = 500
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Chunk:
    """Consecutive lines: valid ones as JSON lines for the model, invalid ones with their errors."""

    valid: list[bytes] = field(default_factory=list)
    invalid: list[bytes] = field(default_factory=list)
    size: int = 0

    def is_full(self, per_file: int) -> bool:
        """Whether the next line belongs to the next chunk."""
        return len(self.valid) >= per_file or len(self.invalid) >= _MOST_INVALID or self.size >= _MOST_BYTES


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line as it was stored: its number in the file and the caller's id, if it has one.

    Attributes:
        error: what is wrong with it, if it cannot be run.
        kept: request details that determine the shape of its answer.
    """

    number: int
    name: str | None
    error: dict[str, Any] | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> dict[str, Any]:
        """How results identify the line."""
        return {"line": self.number} if self.name is None else {"id": self.name}


def input_key(run: BatchRun, number: int) -> str:
    """Key of the input file with this number."""
    return f"{run.input_prefix}{number:010d}.jsonl"


def output_key(run: BatchRun, number: int) -> str:
    """Key under which SageMaker stores that file's output."""
    return f"{run.output_prefix}{number:010d}.jsonl.out"


def invalid_key(run: BatchRun, number: int) -> str:
    """Key of the invalid lines that belong beside that file."""
    return f"{_invalid_prefix(run)}{number:010d}.jsonl"


def _invalid_prefix(run: BatchRun) -> str:
    # Beside the input prefix, not below it: the transform job would read it as input.
    return f"transform-input/{run.batch_id}.invalid/"


def cut(lines: Iterable[bytes], deployment: Deployment, dialects: Dialects, per_file: int) -> Iterator[Chunk]:
    """Render the lines of a dropped file for the model's container, in chunks. Empty lines are skipped."""
    chunk = Chunk()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name = None
        try:
            wanted = dropped_line(line)
            name = wanted.name
            rendered = dialects.of(deployment).render(wanted.input, wanted.parameters)
            stored = json_text({"id": number, "name": name, "body": json.loads(rendered.body)}).encode()
            chunk.valid.append(stored)
        except InvalidRequestError as error:
            said = {"code": "invalid_request", "message": error.message}
            stored = json_text({"id": number, "name": name, "error": said}).encode()
            chunk.invalid.append(stored)
        chunk.size += len(stored)
        if chunk.is_full(per_file):
            yield chunk
            chunk = Chunk()
    if chunk.valid or chunk.invalid:
        yield chunk


def store(objects: ObjectStore, run: BatchRun, number: int, chunk: Chunk) -> None:
    """Write a chunk; repeating it writes the same."""
    if chunk.invalid:
        objects.put_lines(invalid_key(run, number), chunk.invalid)
    if chunk.valid:
        objects.put_lines(input_key(run, number), chunk.valid)


def last_stored(objects: ObjectStore, run: BatchRun) -> int:
    """Number of the last chunk with anything stored, 0 before the first; earlier ones are complete."""
    prefixes = (run.input_prefix, _invalid_prefix(run))
    return max((_number(key) for prefix in prefixes for key in objects.list_keys(prefix)), default=0)


def count_lines(lines: Iterable[bytes]) -> int:
    """Count the lines that are not empty."""
    return sum(1 for line in lines if line.strip())


def records_per_file(count: int, usual: int) -> int:
    """Lines per chunk: the usual number, or as many as keep the number of chunks within `MOST_FILES`.

    Every chunk costs a request or two, and a function has minutes, not hours, to write them all.
    """
    return max(usual, -(-count // MOST_FILES))


def stored_chunks(objects: ObjectStore, run: BatchRun) -> Iterator[tuple[int, list[StoredLine]]]:
    """Number and lines of every stored chunk, in the order of the dropped file."""
    valid = ((_number(key), key) for key in objects.list_keys(run.input_prefix))
    invalid = ((_number(key), key) for key in objects.list_keys(_invalid_prefix(run)))
    current, lines = 0, list[StoredLine]()
    for number, key in heapq.merge(valid, invalid):
        if lines and number != current:
            yield current, sorted(lines, key=lambda line: line.number)
            lines = []
        current = number
        lines += [_stored(line) for line in objects.lines(key) or ()]
    if lines:
        yield current, sorted(lines, key=lambda line: line.number)


def stored_bodies(objects: ObjectStore, run: BatchRun, number: int) -> dict[int, bytes]:
    """The stored lines of one input file, whole, by line number."""
    return {int(json.loads(line)["id"]): line for line in objects.lines(input_key(run, number)) or ()}


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].partition(".")[0])


def _stored(line: bytes) -> StoredLine:
    record = json.loads(line)
    return StoredLine(
        number=int(record["id"]), name=record["name"], error=record.get("error"), kept=record.get("as", {})
    )
