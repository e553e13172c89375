"""Cuts a batch's file into transform-job input files, one series for each deployment, in constant memory.

Lines that cannot be run are stored with their errors. Names of runs carry the catalogue's version, so an interrupted
attempt that is repeated under another catalogue mixes nothing up.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from copy import replace
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Model
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.errors import BodyTooLargeError, PriceUnknownError, StorageError, TollgateError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.file_batches import (
    MOST_FILE_BYTES,
    MOST_LINES,
    BatchFault,
    BatchLine,
    BatchLineError,
    FileBatch,
    FilePart,
    batch_line,
    source_of,
)
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO, seconds, usd
from tollgate.domain.roads.capabilities import offering
from tollgate.domain.roads.estimates import Blocker, RequestSize, RoadEstimates, choices_made, output_limit
from tollgate.domain.roads.spreading import choose_deployment
from tollgate.ports.dialects import Dialects
from tollgate.ports.files import LineBodies, ReadBody
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CapacitySource
from tollgate.services.batches.drop_chunks import Chunk, input_key, invalid_key, records_per_file, store

_MOST_CHUNK_BYTES = 4 * 1024 * 1024
"""Every deployment has one chunk open at the same time."""


RefusalOf = Callable[[TollgateError], Mapping[str, Any]]
"""Gives an error as the line's answer would have it: status and body."""


@dataclass(slots=True)
class _Row:
    """The input files of one deployment so far."""

    part: FilePart
    chunk: Chunk = field(default_factory=Chunk)
    estimate: Decimal = ZERO


class BatchCutter:
    """Cuts files. Repeating it writes the same."""

    def __init__(
        self,
        *,
        objects: ObjectStore,
        capacities: CapacitySource,
        dialects: Dialects,
        bodies: LineBodies,
        refusal_of: RefusalOf,
    ) -> None:
        self._objects = objects
        self._capacities = capacities
        self._dialects = dialects
        self._bodies = bodies
        self._refusal_of = refusal_of

    def cut(self, batch: FileBatch, key: str, catalogue: Catalogue) -> FileBatch:
        """The batch with its parts, whose input files are in the bucket; or with what is wrong with the whole file.

        Raises:
            StorageError: try again.
        """
        lines = self._objects.lines(key)
        if lines is None:
            return missing_input(batch)
        size = count = 0
        for line in lines:
            size += len(line) + 1
            count += 1 if line.strip() else 0
            if count > MOST_LINES:
                return _faulty(batch, "too_many_requests", f"A batch may have {MOST_LINES} requests.")
            if size > MOST_FILE_BYTES + 1:
                return _faulty(batch, "file_too_large", f"A file for a batch may have {MOST_FILE_BYTES} bytes.")
        if not count:
            return _faulty(batch, "empty_file", "The input file has no request in it.")
        return _Cut(self, batch, catalogue, count).through(self._objects.lines(key) or iter(()))

    # Called by the cut in progress.

    def read(self, line: BatchLine, endpoint: str) -> ReadBody:
        """Parse a line's body. Raises InvalidRequestError."""
        return self._bodies.read(endpoint, line.body)

    def refusal(self, error: TollgateError) -> Mapping[str, Any]:
        """An error as it is stored with its line."""
        return self._refusal_of(error)

    def rendered(self, deployment: Deployment, asked: ReadBody) -> bytes:
        """Render a line's body for its container. Raises InvalidRequestError."""
        return self._dialects.of(deployment).render(asked.input, asked.parameters).body

    def estimate(self, model: Model, deployment: Deployment, asked: ReadBody, body: bytes, cat: Catalogue) -> Decimal:
        """Dollars of instance time that a line is expected to cost.

        Raises:
            PriceUnknownError: the price is unknown, and there is no ceiling.
            BodyTooLargeError: for a transform job.
        """
        size = RequestSize(len(body), max(1, len(body) // 4), output_limit(asked.parameters))
        road = deployment.roads[InferenceType.BATCH]
        found = RoadEstimates(size, model, deployment, self._capacities.snapshot(), cat.gateway_prices)[
            InferenceType.BATCH
        ]
        if found.blocker is Blocker.BODY:
            raise BodyTooLargeError("The request is too large for a transform job.")
        if road.usd_per_hour is not None:
            held = seconds(found.held_seconds) * choices_made(asked.parameters)
            return instance_cost(held, road.usd_per_hour, road.concurrency)
        if road.ceiling_usd is not None:
            return road.ceiling_usd
        raise PriceUnknownError(f"Deployment '{deployment.resource}' has no known price for its batch road.")

    def keep(self, run: BatchRun, number: int, chunk: Chunk) -> None:
        """Store a chunk, unless an earlier attempt did."""
        there = input_key(run, number) if chunk.valid else invalid_key(run, number)
        if self._objects.stored_at(there) is None:
            store(self._objects, run, number, chunk)


class _Cut:
    """One pass over a file."""

    def __init__(self, cutter: BatchCutter, batch: FileBatch, catalogue: Catalogue, count: int) -> None:
        self._cutter = cutter
        self._batch = batch
        self._catalogue = catalogue
        self._count = count
        self._rows: dict[str, _Row] = {}
        self._models: dict[str, Model] = {}
        # Not the names themselves: those of a whole file may take more memory than there is.
        self._names: set[bytes] = set()
        self._invalid = Chunk()
        self._invalid_chunks = 0
        self._invalid_run = run_of(batch, "", self._run_id(""))

    def through(self, lines: Iterator[bytes]) -> FileBatch:
        total = failed = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            total += 1
            name = None
            try:
                wanted = batch_line(line, self._batch.endpoint)
                name = wanted.custom_id
                seen = hashlib.sha256(name.encode()).digest()
                if seen in self._names:
                    raise BatchLineError("An earlier line has the same 'custom_id'.", param="custom_id")
                self._names.add(seen)
                self._place(number, wanted)
            except StorageError:
                raise  # The line is as good as it was; the whole cut is tried again.
            except TollgateError as error:
                failed += 1
                name = error.custom_id if isinstance(error, BatchLineError) and name is None else name
                self._put_aside(number, name, error)
        for row in self._rows.values():
            self._close(row)
        self._close_invalid()
        parts = tuple(row.part for row in self._rows.values())
        expected = sum((part.estimate for part in parts), ZERO)
        return replace(
            self._batch,
            cut=True,
            invalid_id=self._invalid_run.batch_id,
            parts=parts,
            total=total,
            failed=failed,
            estimated_cost=usd(expected),
        )

    def _place(self, number: int, line: BatchLine) -> None:
        asked = self._cutter.read(line, self._batch.endpoint)
        model = offering(self._catalogue.model(asked.model), asked.needs)
        deployment = self._deployment(model)
        body = self._cutter.rendered(deployment, asked)
        estimate = self._cutter.estimate(model, deployment, asked, body, self._catalogue)
        stored = json_text({"id": number, "name": line.custom_id, "body": json.loads(body), "as": asked.kept}).encode()
        row = self._row(deployment)
        row.chunk.valid.append(stored)
        row.chunk.size += len(stored)
        row.estimate += estimate
        row.part = replace(row.part, lines=row.part.lines + 1, largest=max(row.part.largest, len(stored)))
        per_file = records_per_file(self._count, model.batch.records_per_file)
        if len(row.chunk.valid) >= per_file or row.chunk.size >= _MOST_CHUNK_BYTES:
            self._close(row)

    def _deployment(self, model: Model) -> Deployment:
        """One deployment for all lines of a batch that can go there, because each transform job has to start first."""
        able = [d for d in model.deployments if InferenceType.BATCH in d.roads]
        if not able:
            raise BatchLineError(f"Model '{model.name}' has no batch road.", param="model")
        digest = hashlib.sha256(f"{self._batch.batch_id}/{model.name}".encode()).digest()
        return choose_deployment(able, int.from_bytes(digest[:8]) / 2**64)

    def _row(self, deployment: Deployment) -> _Row:
        resource = deployment.resource
        row = self._rows.get(resource)
        if row is None:
            part = FilePart(resource, self._run_id(resource), lines=0, chunks=0, largest=0, estimate=ZERO)
            row = self._rows[resource] = _Row(part)
            road = deployment.roads[InferenceType.BATCH]
            if road.usd_per_hour is not None:
                started = instance_cost(seconds(road.startup_seconds), road.usd_per_hour, 1) * road.instance_count
                row.estimate += started
        return row

    def _close(self, row: _Row) -> None:
        if not row.chunk.valid:
            return
        number = row.part.chunks + 1
        self._cutter.keep(run_of(self._batch, row.part.resource, row.part.run_id), number, row.chunk)
        row.part = replace(row.part, chunks=number, estimate=usd(row.estimate))
        row.chunk = Chunk()

    def _put_aside(self, number: int, name: str | None, error: TollgateError) -> None:
        said = self._cutter.refusal(error)
        self._invalid.invalid.append(json_text({"id": number, "name": name, "error": said}).encode())
        if self._invalid.is_full(self._count):
            self._close_invalid()

    def _close_invalid(self) -> None:
        if not self._invalid.invalid:
            return
        self._invalid_chunks += 1
        self._cutter.keep(self._invalid_run, self._invalid_chunks, self._invalid)
        self._invalid = Chunk()

    def _run_id(self, resource: str) -> str:
        said = f"{self._batch.batch_id}\n{resource}\n{self._catalogue.version}"
        return f"tollgate-file-{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def run_of(batch: FileBatch, resource: str, run_id: str) -> BatchRun:
    """The first run of a part, in its initial state."""
    return BatchRun(
        batch_id=run_id,
        resource=resource,
        records=0,
        attempt=1,
        created_at=batch.created_at,
        state=BatchState.PREPARING,
        source=source_of(batch.batch_id),
        traceparent=batch.traceparent,
    )


def missing_input(batch: FileBatch) -> FileBatch:
    """Fail a batch whose file is no longer there."""
    return _faulty(batch, "input_file_missing", "The input file was deleted before the batch could begin.")


def _faulty(batch: FileBatch, code: str, message: str) -> FileBatch:
    return replace(batch, faults=(BatchFault(code, message),))
