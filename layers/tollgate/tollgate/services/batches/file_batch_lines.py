"""The lines of a batch's two result files, made from its transform jobs' output in constant memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tollgate.domain.catalogue import Catalogue, InferenceType, Way
from tollgate.domain.costs.settlement import Settlement, settle
from tollgate.domain.errors import BackendError, BudgetExceededError, ModelFailedError, TollgateError
from tollgate.domain.jobs.file_batches import FileBatch, FileBatchStatus, FilePart
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO, money_text
from tollgate.ports.dialects import Dialects
from tollgate.ports.files import LineAnswer, LineBodies
from tollgate.ports.objects import ObjectStore
from tollgate.services.batches.drop_chunks import StoredLine, output_key, stored_chunks
from tollgate.services.batches.file_batch_cut import RefusalOf, run_of
from tollgate.services.batches.output import answers_in
from tollgate.services.batches.tally import LineTally

_UNDONE: Mapping[FileBatchStatus, tuple[str, str]] = {
    FileBatchStatus.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    FileBatchStatus.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request was executed."),
}


@dataclass(slots=True)
class PartTally(LineTally):
    """The totals of a part, or of the lines that cannot be run.

    Attributes:
        faulty: the input files with a failed line.
        ran: lines that the budgets admitted; `errors` of them have no answer, though nobody cancelled them.
    """

    faulty: set[int] = field(default_factory=set)
    ran: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class _Result:
    good: bool
    text: bytes


class BatchLineWriter:
    """Makes result lines.

    Args:
        gateway_share: dollars of the gateway's own parts that each line bears.
    """

    def __init__(
        self,
        batch: FileBatch,
        catalogue: Catalogue,
        *,
        objects: ObjectStore,
        dialects: Dialects,
        bodies: LineBodies,
        refusal_of: RefusalOf,
        gateway_share: Decimal,
    ) -> None:
        self._batch = batch
        self._catalogue = catalogue
        self._objects = objects
        self._dialects = dialects
        self._bodies = bodies
        self._refusal_of = refusal_of
        self._gateway_share = gateway_share
        self._name = batch.batch_id.removeprefix("batch_")

    def answered(self, tallies: Mapping[str, PartTally]) -> Iterator[bytes]:
        """Lines with an answer; each is counted in the tally of its run as it is read."""
        for part in self._batch.parts:
            yield from self._part(part, tallies[part.run_id], good=True)
        tally = tallies[self._batch.invalid_id]
        for _, lines in self._invalid():
            tally.failed += len(lines)

    def refused(self, tallies: Mapping[str, PartTally]) -> Iterator[bytes]:
        """Lines with an error; read `answered` to its end first."""
        for part in self._batch.parts:
            tally = PartTally(faulty=set(tallies[part.run_id].faulty))
            yield from self._part(part, tally, good=False)
        for _, lines in self._invalid():
            for line in lines:
                yield self._refusal_line(line, line.error or {})

    def _invalid(self) -> Iterator[tuple[int, list[StoredLine]]]:
        return stored_chunks(self._objects, run_of(self._batch, "", self._batch.invalid_id))

    def _part(self, part: FilePart, tally: PartTally, *, good: bool) -> Iterator[bytes]:
        first = run_of(self._batch, part.resource, part.run_id)
        way = self._catalogue.way(part.resource, InferenceType.BATCH)
        for number, lines in stored_chunks(self._objects, first):
            if not good and number not in tally.faulty:
                continue
            answers = answers_in(self._objects, output_key(first, number))
            for line in lines:
                result = self._line(part, way, line, answers.get(line.number), tally)
                if not result.good:
                    tally.faulty.add(number)
                if result.good is good:
                    yield result.text

    def _line(self, part: FilePart, way: Way | None, line: StoredLine, body: bytes | None, tally: PartTally) -> _Result:
        if line.error is not None:
            tally.failed += 1
            return _Result(good=False, text=self._refusal_line(line, line.error))
        spent = part.seconds
        if part.last_run != part.run_id:
            if body is None:
                body = self._second_answer(part, line)
            else:
                spent = part.earlier_seconds
        usage = Usage()
        document: dict[str, Any] | None = None
        failure: TollgateError | None = None
        if body is None:
            failure = _failure(part)
        else:
            try:
                document, usage = self._answer(part, way, line, body)
            except TollgateError as error:
                failure = error
            except ValueError:
                failure = ModelFailedError("The model container's answer could not be read.", original_status=502)
        settled = self._price(part, way, spent, usage, tally)
        tally.ran += part.admitted > 0
        if document is not None:
            tally.complete(usage)
            return _Result(good=True, text=self._text(line, document, None, self._priced(part, settled)))
        tally.failed += 1
        undone = _UNDONE.get(self._batch.ending) if body is None and part.outcome == "Stopped" else None
        cancelled = undone is not None and self._batch.ending is FileBatchStatus.CANCELLED
        tally.errors += part.admitted > 0 and not cancelled
        if undone is not None:
            said = {"code": undone[0], "message": undone[1]}
            return _Result(good=False, text=self._text(line, None, said, self._priced(part, settled)))
        refusal = self._refusal_of(failure or BackendError("The request was not run."))
        return _Result(good=False, text=self._refusal_line(line, refusal, self._priced(part, settled)))

    def _answer(self, part: FilePart, way: Way | None, line: StoredLine, body: bytes) -> tuple[dict[str, Any], Usage]:
        if way is None:
            raise BackendError(f"Deployment '{part.resource}' is no longer in the catalogue.")
        parsed = self._dialects.of(way.deployment).parse(body)
        usage = Usage(parsed.input_tokens, parsed.output_tokens)
        answer = LineAnswer(
            inference_id=f"inf_{self._name}_{line.number}",
            created_at=self._batch.created_at,
            model=way.model.name,
            resource=part.resource,
            catalogue_version=self._catalogue.version,
            output=parsed.output,
            usage=usage,
            kept=line.kept,
        )
        shown = self._bodies.answer(self._batch.endpoint, answer)
        # What cannot be written as JSON must fail here and not in the middle of the file.
        json_text(shown)
        return {"status_code": 200, "request_id": self._request_id(line), "body": shown}, usage

    def _price(
        self, part: FilePart, way: Way | None, spent: Decimal | None, usage: Usage, tally: PartTally
    ) -> Settlement:
        settled = Settlement(effective=None, avoided=None)
        if way is not None and spent is not None:
            # A line that was never admitted never ran, and costs its owner nothing.
            own = self._gateway_share if part.admitted else ZERO
            settled = settle(*way, held_seconds=spent, usage=usage, gateway=own)
        tally.spend(settled, spent, usage)
        return settled

    def _second_answer(self, part: FilePart, line: StoredLine) -> bytes | None:
        # In the second run every line has a file of its own.
        second = run_of(self._batch, part.resource, part.last_run)
        return answers_in(self._objects, output_key(second, line.number)).get(line.number)

    @staticmethod
    def _priced(part: FilePart, settled: Settlement) -> Mapping[str, Any]:
        return {
            "deployment": part.resource,
            "inference_type": "batch",
            "effective_cost_usd": money_text(settled.effective),
            "avoided_cost_usd": money_text(settled.avoided),
        }

    def _refusal_line(
        self, line: StoredLine, refusal: Mapping[str, Any], priced: Mapping[str, Any] | None = None
    ) -> bytes:
        response = {
            "status_code": refusal.get("status", 500),
            "request_id": self._request_id(line),
            "body": refusal.get("body"),
        }
        return self._text(line, response, None, priced)

    def _request_id(self, line: StoredLine) -> str:
        return f"{self._batch.batch_id}-{line.number}"

    def _text(
        self,
        line: StoredLine,
        response: Mapping[str, Any] | None,
        error: Mapping[str, str] | None,
        priced: Mapping[str, Any] | None,
    ) -> bytes:
        document: dict[str, Any] = {
            "id": f"batch_req_{self._name}_{line.number}",
            "custom_id": line.name,
            "response": response,
            "error": error,
            "tollgate": {"line": line.number} | dict(priced or {}),
        }
        return json_text(document).encode()


def _failure(part: FilePart) -> TollgateError:
    """Why a line has no answer."""
    if part.refusal and not part.admitted:
        return BudgetExceededError(part.refusal)
    if part.outcome == "Refused":
        return BackendError(part.reason or "SageMaker refused the transform job.")
    return ModelFailedError(part.reason or "The transform job gave no answer for this request.", original_status=502)
