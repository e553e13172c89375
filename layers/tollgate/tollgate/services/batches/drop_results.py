"""The results of a dropped file: one line for each of its lines, in its order, and a summary."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tollgate.domain.budgets.ledger import charge_of
from tollgate.domain.catalogue import InferenceType, Way
from tollgate.domain.costs.avoided import AvoidedReason, add_reasons
from tollgate.domain.costs.gateway_parts import drop_usage
from tollgate.domain.costs.pricing import gateway_cost
from tollgate.domain.costs.settlement import Settlement, settle
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.jobs.batches import BatchRun, FileCount
from tollgate.domain.jobs.dropped_files import DroppedFile, dropped_file
from tollgate.domain.jobs.job import Bill, Usage
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO, money_text, plus, usd_text
from tollgate.domain.records import RequestRecord
from tollgate.ports.backends import TransformStatus
from tollgate.ports.dialects import Dialects
from tollgate.ports.jobs import BatchStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.drop_chunks import StoredLine, output_key, stored_chunks
from tollgate.services.batches.output import answers_in, failure_of
from tollgate.services.batches.start import known_batch_way
from tollgate.services.batches.tally import LineTally


@dataclass(slots=True)
class _Tally(LineTally):
    """The totals of a file. Of its lines, those that are `invalid` were never run; it was cut into `files`."""

    files: int = 0
    invalid: int = 0


@dataclass(frozen=True, slots=True)
class _Ending:
    """The runs that results are made of: `last` repeats the unanswered lines of `first`, or is the same run."""

    first: BatchRun
    last: BatchRun
    status: TransformStatus
    share: Decimal | None
    way: Way


class DropResults:
    """Writes results. Repeating it writes the same."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        objects: ObjectStore,
        catalogues: CatalogueSource,
        dialects: Dialects,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._objects = objects
        self._catalogues = catalogues
        self._dialects = dialects
        self._telemetry = telemetry
        self._clock = clock

    def refuse(self, file: DroppedFile, code: str, message: str) -> None:
        """Write beside the results why the file as a whole was not run."""
        body = json_text({"error": {"code": code, "message": message}})
        self._objects.put(file.error_key, body.encode())
        self._telemetry.log("WARNING", "dropped file refused", error_code=code, error=message)
        self._telemetry.count("DroppedFileRefused")

    def wanted(self, run: BatchRun) -> bool:
        """See `RunResults`: dropped files are never cancelled."""
        return bool(run.source)

    def refuse_run(self, run: BatchRun, code: str, message: str) -> None:
        """See `RunResults`."""
        file = dropped_file(run.source or "")
        if file is not None:
            self.refuse(file, code, message)

    def write(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> FileCount:
        """Write results and summary of a run and of the earlier run that it partly repeats.

        Args:
            run: the last run of the file.
            status: of its transform job.
            share: instance seconds of each of its records, including those in the earlier run.

        Returns:
            The counts for the file.

        Raises:
            CatalogueError, StorageError: try again.
        """
        file = dropped_file(run.source or "")
        way = known_batch_way(self._catalogues, run.resource)
        first = run if run.parent is None else self._batches.get(run.parent) or run
        if file is None or way is None:
            # Asking again would not bring it back, and the money would stay held.
            self.refuse_run(run, "invalid_request", f"Deployment '{run.resource}' is no longer in the catalogue.")
            return self._unpriced(run, first.records)
        ending = _Ending(first, run, status, share, way)
        tally = _Tally()
        self._objects.put_lines(file.result_key, self._lines(ending, tally))
        own = gateway_cost(drop_usage(tally.files), self._catalogues.current().gateway_prices)
        tally.effective = plus(tally.effective, own)
        tally.avoided = plus(tally.avoided, -own)
        tally.reasons = add_reasons(tally.reasons, {AvoidedReason.BATCH: -own})
        self._objects.put(file.summary_key, json.dumps(self._summary(run, status, tally), indent=2).encode())
        self._report(run, first, status, tally)
        return tally.count(
            self._clock.now(),
            charged=charge_of(tally.effective, run.reservation),
            requests=tally.completed + tally.failed,
            errors=tally.failed,
        )

    def _unpriced(self, run: BatchRun, records: int) -> FileCount:
        """The counts of a file whose answers nobody can read or price: the amount held for it is charged."""
        held = charge_of(None, run.reservation)
        self._telemetry.count("UnknownCost")
        self._telemetry.log(
            "WARNING", "dropped file of unknown cost", batch_id=run.batch_id, charged_usd=usd_text(held)
        )
        bill = Bill(settled_at=self._clock.now(), charged=held)
        return FileCount(bill, requests=records, errors=records, effective=None, held_seconds=None)

    def _lines(self, ending: _Ending, tally: _Tally) -> Iterator[bytes]:
        first, last = ending.first, ending.last
        earlier_share = ending.share if last is first else last.prior_seconds
        for number, lines in stored_chunks(self._objects, first):
            tally.files += 1
            answers = answers_in(self._objects, output_key(first, number))
            for line in lines:
                if line.error is not None:
                    tally.invalid += 1
                    yield json_text(line.label | {"error": line.error}).encode()
                    continue
                body, spent = answers.get(line.number), earlier_share
                if body is None and last is not first:
                    # In the second run every line has a file of its own.
                    again = answers_in(self._objects, output_key(last, line.number))
                    body, spent = again.get(line.number), ending.share
                yield self._result(line, body, spent, ending, tally)

    def _result(
        self, line: StoredLine, body: bytes | None, spent: Decimal | None, ending: _Ending, tally: _Tally
    ) -> bytes:
        usage = Usage()
        result: dict[str, Any]
        try:
            if body is None:
                failure = failure_of(ending.status)
                result = {"error": {"code": failure.code, "message": failure.message}}
            else:
                parsed = self._dialects.of(ending.way.deployment).parse(body)
                usage = Usage(parsed.input_tokens, parsed.output_tokens)
                result = {"output": parsed.output}
            text = json_text(line.label | result).encode()
        except (ModelFailedError, ValueError):
            said = {"code": "model_answer_invalid", "message": "The model container's answer could not be read."}
            result = {"error": said}
            text = json_text(line.label | result).encode()
        if "error" in result:
            tally.failed += 1
        else:
            tally.complete(usage)
        cost = Settlement(effective=None, avoided=None)
        if spent is not None:
            cost = settle(*ending.way, held_seconds=spent, usage=usage, gateway=ZERO)
        tally.spend(cost, spent, usage)
        return text

    def _summary(self, run: BatchRun, status: TransformStatus, tally: _Tally) -> dict[str, Any]:
        return {
            "batch_id": run.batch_id,
            "source": run.source,
            "deployment": run.resource,
            "records": tally.completed + tally.failed + tally.invalid,
            "completed": tally.completed,
            "failed": tally.failed,
            "invalid": tally.invalid,
            "input_tokens": tally.input_tokens,
            "output_tokens": tally.output_tokens,
            "instance_seconds": None if tally.held_seconds is None else str(tally.held_seconds),
            "effective_cost_usd": money_text(tally.effective),
            "avoided_cost_usd": money_text(tally.avoided),
            "finished_at": (status.ended_at or self._clock.now()).isoformat(),
        }

    def _report(self, run: BatchRun, first: BatchRun, status: TransformStatus, tally: _Tally) -> None:
        ended = status.ended_at or self._clock.now()
        self._telemetry.request(
            RequestRecord(
                request_id=run.batch_id,
                owner=None,
                inference_type=InferenceType.BATCH,
                resource=run.resource,
                outcome="completed" if tally.completed or not tally.failed else "failed",
                latency_seconds=max(0.0, (ended - first.created_at) / timedelta(seconds=1)),
                route_reason="dropped_file",
                usage=Usage(tally.input_tokens, tally.output_tokens),
                effective_cost=tally.effective,
                avoided_cost=tally.avoided,
                traceparent=run.traceparent,
            )
        )
