"""Ends a batch: the output of its transform jobs becomes its result files, and its reservations become spend.

Everything is written in an order that can be repeated: files first, under names that are always the same; then each
part's reservation, together with its usage count and the note that it is settled; the final status last.
"""

from collections.abc import Mapping, Sequence
from copy import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from tollgate.domain.budgets.ledger import LedgerWrite, charge_of
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.jobs.file_batches import FINAL_STATUSES, CountedPart, FileBatch, FileBatchStatus, FilePart
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO, plus
from tollgate.domain.records import RequestRecord
from tollgate.ports.files import FileBatchStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.file_batch_changes import ROUNDS, busy, changed
from tollgate.services.batches.file_batch_files import ResultFiles, Written
from tollgate.services.batches.file_batch_lines import PartTally
from tollgate.services.budgets.settle_reservation import settle_with

_STOPPING = frozenset({FileBatchStatus.CANCELLING})


class FileBatchFinisher:
    """Ends batches that have no run left."""

    def __init__(
        self,
        *,
        batches: FileBatchStore,
        files: ResultFiles,
        catalogues: CatalogueSource,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._files = files
        self._catalogues = catalogues
        self._telemetry = telemetry
        self._clock = clock

    def finish(self, batch: FileBatch) -> None:
        """End the batch if no part of it is in progress.

        Raises:
            CatalogueError, StorageError: try again.
        """
        if batch.status in FINAL_STATUSES or not all(part.ended for part in batch.parts):
            return
        if batch.status not in {FileBatchStatus.FINALIZING, FileBatchStatus.CANCELLING}:
            now = self._clock.now()
            begun = changed(self._batches, batch.batch_id, lambda b: _finalizing(b, now))
            if begun is None or begun.status in FINAL_STATUSES:
                return
            batch = begun
        catalogue = self._catalogues.newest()
        done = self._files.write(batch, catalogue)
        self._settle(batch, done.tallies)
        self._end(batch, done, catalogue)

    def _settle(self, batch: FileBatch, tallies: Mapping[str, PartTally]) -> None:
        for part in batch.parts:
            tally, reservation = tallies[part.run_id], part.reservation
            if part.settled or (reservation is None and not tally.ran):
                continue
            actual = charge_of(tally.effective, reservation)
            write = partial(self._settled, _counted(batch, part, tally, actual, self._clock.now()))
            if reservation is None:
                write(())
            else:
                settle_with(reservation, actual, batch.ending.value, write)

    def _settled(self, part: CountedPart, charges: Sequence[LedgerWrite]) -> bool:
        """Record that a part is settled, together with the charges and its count; once, whoever does it."""
        for _ in range(ROUNDS):
            present = self._batches.get(part.batch_id)
            found = None if present is None else present.part(part.run_id)
            if present is None or found is None or found.settled:
                return False
            settled = present.with_part(replace(found, settled=True))
            if self._batches.change(settled, charges, part if part.count.requests else None) is not None:
                return True
        raise busy()

    def _end(self, batch: FileBatch, done: Written, catalogue: Catalogue) -> None:
        tallies = done.tallies.values()
        effective: Decimal | None = ZERO
        avoided: Decimal | None = ZERO
        for tally in tallies:
            effective, avoided = plus(effective, tally.effective), plus(avoided, tally.avoided)
        now = self._clock.now()

        def end(present: FileBatch) -> FileBatch | None:
            if present.status in FINAL_STATUSES:
                return None
            return replace(
                present.at(present.ending, now),
                completed=sum(tally.completed for tally in tallies),
                failed=sum(tally.failed for tally in tallies),
                output_file_id=done.output_file_id,
                error_file_id=done.error_file_id,
                usage=Usage(
                    sum(tally.input_tokens for tally in tallies),
                    sum(tally.output_tokens for tally in tallies),
                ),
                effective_cost=effective,
                avoided_cost=avoided,
            )

        ended = changed(self._batches, batch.batch_id, end)
        if ended is None or ended.times.get(ended.status) != now:
            return  # Another function ended it and reported that.
        for part in ended.parts:
            self._report(ended, part, done.tallies[part.run_id], catalogue)

    def _report(self, batch: FileBatch, part: FilePart, tally: PartTally, catalogue: Catalogue) -> None:
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


def _counted(batch: FileBatch, part: FilePart, tally: PartTally, charged: Decimal, now: datetime) -> CountedPart:
    return CountedPart(
        run_id=part.run_id,
        batch_id=batch.batch_id,
        owner=batch.owner,
        resource=part.resource,
        status=batch.ending,
        estimate=part.estimate,
        count=tally.count(now, charged=charged, requests=tally.ran, errors=tally.errors),
    )


def _finalizing(batch: FileBatch, now: datetime) -> FileBatch | None:
    if batch.status in FINAL_STATUSES | _STOPPING | {FileBatchStatus.FINALIZING}:
        return None
    return batch.at(FileBatchStatus.FINALIZING, now)
