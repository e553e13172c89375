"""Ends a batch: the output of its transform jobs becomes its result files, and its reservations become spend.

Everything is written in an order that can be repeated: files first, under names that are always the same; then each
part's reservation, together with its usage count and the note that it is settled; the final status last.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.gateway_parts import drop_usage
from tollgate.domain.costs.pricing import gateway_cost
from tollgate.domain.errors import StorageError
from tollgate.domain.foreign_words import quoted
from tollgate.domain.jobs.batches import BatchRun, FileCount
from tollgate.domain.jobs.file_batches import (
    FINAL_STATUSES,
    CountedPart,
    FileBatch,
    FileBatchStatus,
    FilePart,
    FilePurpose,
    StoredFile,
    file_batch_of,
)
from tollgate.domain.jobs.job import Bill, Usage
from tollgate.domain.money import ZERO, plus, usd
from tollgate.domain.records import RequestRecord
from tollgate.ports.backends import TransformStatus
from tollgate.ports.dialects import Dialects
from tollgate.ports.files import FileBatchStore, FileStore, LineBodies
from tollgate.ports.jobs import MessageQueue
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.file_batch_cut import RefusalOf
from tollgate.services.batches.file_batch_lines import BatchLineWriter, Tally
from tollgate.services.batches.file_batches import batch_message
from tollgate.services.budgets.settle_reservation import settle_with

_ROUNDS = 8
"""Attempts to change a batch that others are changing too: its parts end one by one."""

_STOPPING = frozenset({FileBatchStatus.CANCELLING})


@dataclass(slots=True)
class _Counted:
    """Counts the bytes of lines on their way into a file."""

    size: int = 0

    def through(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.size += len(line) + 1
            yield line


class FileBatchResults:
    """The `RunResults` of batches; also ends batches that have no run left.

    Args:
        queue: takes the order to end a batch once its last part has ended: writing the files takes a while, and not
            every function that learns of an end has the time.
        kept: how long result files stay.
    """

    def __init__(
        self,
        *,
        batches: FileBatchStore,
        files: FileStore,
        objects: ObjectStore,
        catalogues: CatalogueSource,
        dialects: Dialects,
        bodies: LineBodies,
        refusal_of: RefusalOf,
        queue: MessageQueue,
        telemetry: Telemetry,
        clock: Clock,
        kept: timedelta,
    ) -> None:
        self._batches = batches
        self._files = files
        self._objects = objects
        self._catalogues = catalogues
        self._dialects = dialects
        self._bodies = bodies
        self._refusal_of = refusal_of
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock
        self._kept = kept

    def wanted(self, run: BatchRun) -> bool:
        """See `RunResults`: not once the batch is being cancelled."""
        batch = self._batches.get(file_batch_of(run.source) or "")
        return batch is not None and batch.status is FileBatchStatus.IN_PROGRESS and batch.stop is None

    def refuse_run(self, run: BatchRun, code: str, message: str) -> None:
        """See `RunResults`."""
        self._telemetry.log("WARNING", "part of a batch refused", error_code=code, batch_id=run.batch_id)
        self._part_ended(run, TransformStatus(run.batch_id, "Refused", message, None, None), ZERO)

    def write(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        """See `RunResults`: when the last part has ended, this orders the end of the batch."""
        self._part_ended(run, status, share)

    def _part_ended(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        def ended(batch: FileBatch) -> FileBatch | None:
            part = batch.part(run.batch_id)
            if part is None or part.ended:
                return None
            return batch.with_part(
                replace(
                    part,
                    ended=True,
                    last_run=run.batch_id,
                    seconds=share,
                    earlier_seconds=run.prior_seconds,
                    outcome=status.status,
                    reason=None if status.failure_reason is None else quoted(status.failure_reason),
                )
            )

        batch = self.changed(file_batch_of(run.source) or "", ended)
        if batch is not None and batch.status not in FINAL_STATUSES and all(part.ended for part in batch.parts):
            self._queue.send(batch_message(batch.batch_id), trace=batch.traceparent, group=batch.owner.tenant)

    def changed(self, batch_id: str, change: Callable[[FileBatch], FileBatch | None]) -> FileBatch | None:
        """Change a batch, retrying when another writer was faster.

        Args:
            batch_id: of the batch; None is returned if there is none.
            change: gives the changed batch, or None to leave it as it is.

        Raises:
            StorageError: try again.
        """
        for _ in range(_ROUNDS):
            batch = self._batches.get(batch_id)
            wanted = None if batch is None else change(batch)
            if batch is None or wanted is None:
                return batch
            done = self._batches.change(wanted)
            if done is not None:
                return done
        raise StorageError("The batch is being changed by other calls. Try again.", retry_after=2)

    def finish(self, batch: FileBatch) -> None:
        """End the batch if no part of it is in progress.

        Raises:
            CatalogueError, StorageError: try again.
        """
        if batch.status in FINAL_STATUSES or not all(part.ended for part in batch.parts):
            return
        if batch.status not in {FileBatchStatus.FINALIZING, FileBatchStatus.CANCELLING}:
            now = self._clock.now()
            begun = self.changed(batch.batch_id, lambda b: _finalizing(b, now))
            if begun is None or begun.status in FINAL_STATUSES:
                return
            batch = begun
        catalogue = self._catalogues.newest()
        tallies, files = self._write_files(batch, catalogue)
        self._settle(batch, tallies)
        self._end(batch, tallies, files, catalogue)

    def _write_files(
        self, batch: FileBatch, catalogue: Catalogue
    ) -> tuple[dict[str, Tally], tuple[str | None, str | None]]:
        tallies = {part.run_id: Tally() for part in batch.parts} | {batch.invalid_id: Tally()}
        if not batch.cut:
            return tallies, (None, None)
        chunks = sum(part.admitted for part in batch.parts)
        runnable = batch.total - batch.failed
        own = gateway_cost(drop_usage(chunks), catalogue.gateway_prices)
        writer = BatchLineWriter(
            batch,
            catalogue,
            objects=self._objects,
            dialects=self._dialects,
            bodies=self._bodies,
            refusal_of=self._refusal_of,
            gateway_share=usd(own / max(1, runnable)),
        )
        answered = self._file(batch, batch.result_file_id, "output", writer.answered(tallies))
        refused = None
        if any(tally.failed for tally in tallies.values()):
            refused = self._file(batch, batch.fault_file_id, "errors", writer.refused(tallies))
        return tallies, (answered if any(tally.completed for tally in tallies.values()) else None, refused)

    def _file(self, batch: FileBatch, file_id: str, what: str, lines: Iterator[bytes]) -> str:
        now = self._clock.now()
        counted = _Counted()
        name = f"{batch.batch_id}_{what}.jsonl"
        kept = self._kept if batch.output_seconds is None else min(self._kept, timedelta(seconds=batch.output_seconds))
        file = StoredFile(file_id, batch.owner, name, FilePurpose.BATCH_OUTPUT, 0, now, now + kept)
        self._objects.put_lines(file.key, counted.through(lines))
        if counted.size:
            self._files.add(replace(file, size=counted.size))
        return file_id

    def _settle(self, batch: FileBatch, tallies: dict[str, Tally]) -> None:
        for part in batch.parts:
            tally, reservation = tallies[part.run_id], part.reservation
            if part.settled or (reservation is None and not tally.ran):
                continue
            held = ZERO if reservation is None else reservation.amount
            # Work that cannot be priced is charged at the amount held, never at nothing.
            actual = held if tally.effective is None else tally.effective
            write = partial(self._settled, _counted(batch, part, tally, actual, self._clock.now()))
            if reservation is None:
                write(())
            else:
                settle_with(reservation, actual, batch.ending.value, write)

    def _settled(self, part: CountedPart, charges: Sequence[LedgerWrite]) -> bool:
        """Record that a part is settled, together with the charges and its count; once, whoever does it."""
        for _ in range(_ROUNDS):
            present = self._batches.get(part.batch_id)
            found = None if present is None else present.part(part.run_id)
            if present is None or found is None or found.settled:
                return False
            done = present.with_part(replace(found, settled=True))
            if self._batches.change(done, charges, part if part.count.requests else None) is not None:
                return True
        raise StorageError("The batch is being changed by other calls. Try again.", retry_after=2)

    def _end(
        self,
        batch: FileBatch,
        tallies: dict[str, Tally],
        files: tuple[str | None, str | None],
        catalogue: Catalogue,
    ) -> None:
        effective: Decimal | None = ZERO
        avoided: Decimal | None = ZERO
        for tally in tallies.values():
            effective, avoided = plus(effective, tally.effective), plus(avoided, tally.avoided)
        now = self._clock.now()

        def end(present: FileBatch) -> FileBatch | None:
            if present.status in FINAL_STATUSES:
                return None
            return replace(
                present.at(present.ending, now),
                completed=sum(tally.completed for tally in tallies.values()),
                failed=sum(tally.failed for tally in tallies.values()),
                output_file_id=files[0],
                error_file_id=files[1],
                usage=Usage(
                    sum(tally.input_tokens for tally in tallies.values()),
                    sum(tally.output_tokens for tally in tallies.values()),
                ),
                effective_cost=effective,
                avoided_cost=avoided,
            )

        ended = self.changed(batch.batch_id, end)
        if ended is None or ended.times.get(ended.status) != now:
            return  # Another function ended it and reported that.
        for part in ended.parts:
            self._report(ended, part, tallies[part.run_id], catalogue)

    def _report(self, batch: FileBatch, part: FilePart, tally: Tally, catalogue: Catalogue) -> None:
        ended = batch.times[batch.status]
        self._telemetry.request(
            RequestRecord(
                request_id=part.run_id,
                owner=batch.owner,
                inference_type=InferenceType.BATCH,
                resource=part.resource,
                outcome="completed" if tally.completed or not tally.failed else "failed",
                latency_seconds=max(0.0, (ended - batch.created_at) / timedelta(seconds=1)),
                job_id=batch.batch_id,
                route_reason="file_batch",
                usage=Usage(tally.input_tokens, tally.output_tokens),
                estimated_cost=part.estimate,
                effective_cost=tally.effective,
                avoided_cost=tally.avoided,
                traceparent=batch.traceparent,
                catalogue_version=catalogue.version,
            )
        )


def _counted(batch: FileBatch, part: FilePart, tally: Tally, charged: Decimal, now: datetime) -> CountedPart:
    bill = Bill(
        settled_at=now,
        charged=charged,
        instance=tally.instance,
        avoided={} if tally.avoided is None else tally.reasons,
    )
    count = FileCount(
        bill=bill,
        requests=tally.ran,
        errors=tally.errors,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        effective=tally.effective,
        held_seconds=tally.held_seconds,
        unknown_tokens=tally.unknown_tokens,
    )
    return CountedPart(
        run_id=part.run_id,
        batch_id=batch.batch_id,
        owner=batch.owner,
        resource=part.resource,
        status=batch.ending,
        estimate=part.estimate,
        count=count,
    )


def _finalizing(batch: FileBatch, now: datetime) -> FileBatch | None:
    if batch.status in FINAL_STATUSES | _STOPPING | {FileBatchStatus.FINALIZING}:
        return None
    return batch.at(FileBatchStatus.FINALIZING, now)
