"""The two result files of a batch: answered lines, and those with an error."""

from collections.abc import Iterator, Mapping
from copy import replace
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.gateway_parts import drop_usage
from tollgate.domain.costs.pricing import gateway_cost
from tollgate.domain.jobs.file_batches import FileBatch, FilePurpose, StoredFile
from tollgate.domain.money import usd
from tollgate.ports.dialects import Dialects
from tollgate.ports.files import FileStore, LineBodies
from tollgate.ports.objects import ObjectStore
from tollgate.ports.system import Clock
from tollgate.services.batches.file_batch_cut import RefusalOf
from tollgate.services.batches.file_batch_lines import BatchLineWriter, PartTally


class Written(NamedTuple):
    """What was written.

    Attributes:
        tallies: of each run, and of the lines that could not be run.
        output_file_id: None where no line has an answer.
        error_file_id: None where no line has an error.
    """

    tallies: Mapping[str, PartTally]
    output_file_id: str | None = None
    error_file_id: str | None = None


@dataclass(slots=True)
class _Counted:
    """Counts the bytes of lines on their way into a file."""

    size: int = 0

    def through(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.size += len(line) + 1
            yield line


class ResultFiles:
    """Writes result files.

    Args:
        kept: how long they stay.
    """

    def __init__(
        self,
        *,
        files: FileStore,
        objects: ObjectStore,
        dialects: Dialects,
        bodies: LineBodies,
        refusal_of: RefusalOf,
        clock: Clock,
        kept: timedelta,
    ) -> None:
        self._files = files
        self._objects = objects
        self._dialects = dialects
        self._bodies = bodies
        self._refusal_of = refusal_of
        self._clock = clock
        self._kept = kept

    def write(self, batch: FileBatch, catalogue: Catalogue) -> Written:
        """Write the files, as far as they have lines. Repeating it writes the same.

        Raises:
            StorageError: try again.
        """
        tallies = {part.run_id: PartTally() for part in batch.parts} | {batch.invalid_id: PartTally()}
        if not batch.cut:
            return Written(tallies)
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
        output: str | None = self._file(batch, batch.result_file_id, "output", writer.answered(tallies))
        errors: str | None = None
        if any(tally.failed for tally in tallies.values()):
            errors = self._file(batch, batch.fault_file_id, "errors", writer.refused(tallies))
        if not any(tally.completed for tally in tallies.values()):
            output = None
        return Written(tallies, output, errors)

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
