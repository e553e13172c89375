"""Sends files of requests, dropped into the bucket or uploaded for a batch, through a transform job."""

import hashlib
from collections.abc import Iterator

from tollgate.domain.budgets.ledger import charge_of
from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Model, Road
from tollgate.domain.errors import BudgetExceededError, CapacityError
from tollgate.domain.jobs.batches import BatchRun, BatchState, FileCount
from tollgate.domain.jobs.dropped_files import DroppedFile, dropped_file
from tollgate.domain.jobs.file_batches import file_batch_of
from tollgate.domain.jobs.job import Bill
from tollgate.domain.money import ZERO
from tollgate.domain.roads.spreading import choose_deployment
from tollgate.ports.backends import TransformStatus
from tollgate.ports.dialects import Dialects
from tollgate.ports.jobs import BatchStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.drop_budget import DropBudget
from tollgate.services.batches.drop_chunks import (
    Chunk,
    count_lines,
    cut,
    last_stored,
    output_key,
    records_per_file,
    store,
    stored_bodies,
    stored_chunks,
)
from tollgate.services.batches.drop_results import DropResults
from tollgate.services.batches.output import answers_in
from tollgate.services.batches.run_results import RunResults
from tollgate.services.batches.start import BatchStarter, known_batch_way


class DroppedRuns:
    """Prepares runs of files. Every step can be repeated.

    `drops` refuses dropped files that have no run yet; `results` receives the outcome of every run.
    """

    def __init__(
        self,
        *,
        batches: BatchStore,
        objects: ObjectStore,
        catalogues: CatalogueSource,
        dialects: Dialects,
        starter: BatchStarter,
        budget: DropBudget,
        drops: DropResults,
        results: RunResults,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._objects = objects
        self._catalogues = catalogues
        self._dialects = dialects
        self._starter = starter
        self._budget = budget
        self._drops = drops
        self._results = results
        self._telemetry = telemetry
        self._clock = clock

    def dropped(self, key: str, version: str) -> None:
        """Run a dropped file. The same key and version run once, however often this is called.

        Args:
            key: of the file.
            version: tells one writing of the key from the next.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        if self._objects.stored_at(key) is None:
            self._telemetry.log("WARNING", "dropped file is gone")
            return
        file = dropped_file(key)
        if file is None:
            self._telemetry.log("WARNING", "dropped file has another name than batch-input/<model>/<name>.jsonl")
            self._telemetry.count("DroppedFileRefused")
            return
        deployment = self._deployment(file, key)
        if deployment is None:
            return
        usual = self._catalogues.current().model(file.model).batch.records_per_file
        digest = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()
        run = BatchRun(
            batch_id=f"tollgate-drop-{digest[:32]}",
            resource=deployment.resource,
            records=0,
            attempt=1,
            created_at=self._clock.now(),
            state=BatchState.PREPARING,
            source=key,
            per_file=records_per_file(count_lines(self._objects.lines(key) or ()), usual),
        )
        present = run if self._batches.add(run) else self._batches.get(run.batch_id)
        if present is not None and present.state is BatchState.PREPARING:
            self.prepare(present)

    def prepare(self, run: BatchRun) -> None:
        """Write the input files and start the transform job, or continue where an earlier call stopped.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        if self._starter.is_started(run):
            return
        way = known_batch_way(self._catalogues, run.resource)
        if way is None:
            self._refuse(run, "invalid_request", f"Deployment '{run.resource}' no longer has a batch road.")
            return
        if not self._results.wanted(run):
            self._finish_without_job(run, "Stopped")
        elif file_batch_of(run.source) is not None and run.parent is None:
            # Its lines were cut before the run was made.
            if not self._starter.start(run, way.road, largest_record=run.largest):
                self._refused(run)
        else:
            self._cut_and_start(run, *way)

    def _cut_and_start(self, run: BatchRun, model: Model, deployment: Deployment, road: Road) -> None:
        chunks = self._unanswered(run)
        if chunks is None:
            lines = self._objects.lines(run.source or "")
            if lines is None:
                self._refuse(run, "invalid_request", "The file was deleted before it could be run.")
                return
            per_file = run.per_file or model.batch.records_per_file
            chunks = enumerate(cut(lines, deployment, self._dialects, per_file), start=1)
        records = largest = 0
        done = last_stored(self._objects, run)
        for number, chunk in chunks:
            if number >= done:
                store(self._objects, run, number, chunk)
            records += len(chunk.valid)
            largest = max(largest, *map(len, chunk.valid), 0)
        run = self._starter.note_records(run, records)
        if not records:
            self._finish_without_job(run, "Completed")
            return
        if dropped_file(run.source or "") is not None:
            try:
                run = self._budget.hold(run, deployment, road, largest_record=largest)
            except BudgetExceededError as error:
                self._refuse(run, "insufficient_quota", error.message)
                return
        if not self._starter.start(run, road, largest_record=largest):
            self._refused(run)

    def _deployment(self, file: DroppedFile, key: str) -> Deployment | None:
        """A deployment of the model with a batch road, by weight; None if the file was refused."""
        catalogue: Catalogue = self._catalogues.current()
        model = catalogue.models.get(file.model)
        if model is None:
            known = ", ".join(sorted(catalogue.models)) or "none yet: apply a catalogue first"
            self._drops.refuse(file, "unknown_model", f"Unknown model '{file.model[:100]}'. Known models: {known}.")
            return None
        able = [d for d in model.deployments if InferenceType.BATCH in d.roads]
        position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        try:
            return choose_deployment(able, position)
        except CapacityError:
            self._drops.refuse(file, "invalid_request", f"Model '{file.model}' has no batch road.")
            return None

    def _unanswered(self, run: BatchRun) -> Iterator[tuple[int, Chunk]] | None:
        """For a second run: the lines of the first that have no answer, one a file, numbered by line."""
        first = self._batches.get(run.parent) if run.parent is not None else None
        if first is None:
            return None
        return self._single_lines(first)

    def _single_lines(self, first: BatchRun) -> Iterator[tuple[int, Chunk]]:
        for number, lines in stored_chunks(self._objects, first):
            answered = answers_in(self._objects, output_key(first, number)).keys()
            wanted = {line.number for line in lines if line.error is None} - answered
            if not wanted:
                continue
            for line_number, body in sorted(stored_bodies(self._objects, first, number).items()):
                if line_number in wanted:
                    yield line_number, Chunk(valid=[body])

    def _finish_without_job(self, run: BatchRun, outcome: str) -> None:
        """End a run of which no line could or should be run: its results are all errors and nothing more was spent."""
        now = self._clock.now()
        nothing = TransformStatus(run.batch_id, outcome, None, None, now)
        self._starter.end(run, self._results.write(run, nothing, run.prior_seconds))

    def _refused(self, run: BatchRun) -> None:
        message = "SageMaker refused the transform job for this file."
        if run.parent is None:
            self._refuse(run, "backend_refused", message)
            return
        # The first run's answers are good; only its unanswered lines have failed.
        failed = TransformStatus(run.batch_id, "Failed", message, None, self._clock.now())
        self._starter.end(run, self._results.write(run, failed, run.prior_seconds))

    def _refuse(self, run: BatchRun, code: str, message: str) -> None:
        self._results.refuse_run(run, code, message)
        # Only a second run has spent anything by now, and the amount is unknown.
        spent = ZERO if run.parent is None else None
        bill = Bill(self._clock.now(), charge_of(spent, run.reservation))
        dropped = dropped_file(run.source or "") is not None
        self._starter.end(run, FileCount(bill, effective=spent) if dropped else None)
