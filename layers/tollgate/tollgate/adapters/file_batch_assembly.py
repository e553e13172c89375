"""The parts that run batches of files on AWS, beside those of the batch road."""

from dataclasses import dataclass
from functools import cached_property

from tollgate.adapters.batch_assembly import BatchAssembly
from tollgate.adapters.registry_capacity import RegistryCapacity
from tollgate.services.admission import Admission
from tollgate.services.file_batch_cut import BatchCutter
from tollgate.services.file_batch_run import FileBatchRunner


@dataclass(frozen=True)
class FileBatchAssembly:
    """What `batch_dispatch` needs to take batches on their way; the rest of the road ends them."""

    parts: BatchAssembly

    @cached_property
    def runner(self) -> FileBatchRunner:
        """Batches on their way."""
        parts = self.parts
        capacities = RegistryCapacity(
            parts.tables, parts.table_registry, now=parts.clock.now, monotonic=parts.clock.monotonic
        )
        return FileBatchRunner(
            batches=parts.file_batches,
            files=parts.files,
            runs=parts.batches,
            objects=parts.objects,
            catalogues=parts.catalogues,
            backend=parts.backend,
            cutter=BatchCutter(
                objects=parts.objects,
                capacities=capacities,
                dialects=parts.dialects,
                bodies=parts.line_bodies,
                refusal_of=parts.refusal_of,
            ),
            admission=Admission(ledger=parts.ledger, telemetry=parts.telemetry, clock=parts.clock),
            starter=parts.drops,
            results=parts.file_batch_results,
            refusal_of=parts.refusal_of,
            telemetry=parts.telemetry,
            clock=parts.clock,
            is_held_back=parts.is_held_back,
        )
