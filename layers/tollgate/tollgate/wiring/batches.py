"""What the three functions of the batch road need."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dynamodb.jobs.batches import DynamoDBBatchStore
from tollgate.adapters.dynamodb.jobs.files import DynamoDBFileBatchStore, DynamoDBFileStore
from tollgate.adapters.s3.objects import S3ObjectStore
from tollgate.adapters.sagemaker.transform import SageMakerTransform
from tollgate.services.batches.collect_batch import BatchCollector
from tollgate.services.batches.collect_drop import DropCollector
from tollgate.services.batches.collect_pool import PoolCollector
from tollgate.services.batches.drop_results import DropResults
from tollgate.services.batches.pooled import PooledRuns
from tollgate.services.batches.run_results import ResultsBySource
from tollgate.services.batches.start import BatchStarter
from tollgate.services.requests.admission import Admission
from tollgate.wiring.jobs import JobParts

if TYPE_CHECKING:
    from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
    from tollgate.api.openai.line_bodies import OpenAILineBodies
    from tollgate.services.batches.drop_batch import DroppedRuns
    from tollgate.services.batches.file_batch_finish import FileBatchFinisher
    from tollgate.services.batches.file_batch_results import FileBatchResults
    from tollgate.services.batches.file_batch_run import FileBatchRunner
    from tollgate.settings import BatchSettings


class BatchParts(JobParts):
    """Pools, dropped files and batches of files, on their way into transform jobs and out of them."""

    def __init__(
        self, settings: BatchSettings, *, webhook_queue_url: str = "", table_cache: str = "", refresh_function: str = ""
    ) -> None:
        super().__init__(
            settings, webhook_queue_url=webhook_queue_url, table_cache=table_cache, refresh_function=refresh_function
        )
        self._kept = timedelta(days=settings.file_retention_days)
        self._stack = settings.stack_name
        self.batch_queue = self.queue(settings.batch_queue_url)
        self.files = DynamoDBFileStore(self.tables, settings.table_jobs)
        self.file_batches = DynamoDBFileBatchStore(self.tables, settings.table_jobs, self.ledger)
        self.batches = DynamoDBBatchStore(self.tables, settings.table_jobs, self.ledger)

    @cached_property
    def objects(self) -> S3ObjectStore:
        """The bucket, whose files need not fit into memory."""
        return S3ObjectStore(self._bucket)

    @cached_property
    def outcomes(self) -> RegistryOutcomes:
        """One write for the many records of a transform job."""
        return self.outcome_store(flush_seconds=2)

    @cached_property
    def backend(self) -> SageMakerTransform:
        """Transform jobs."""
        return SageMakerTransform(self.objects, self._stack)

    @cached_property
    def admission(self) -> Admission:
        """Reserves what files may cost."""
        return Admission(ledger=self.ledger, telemetry=self.telemetry, clock=self.clock)

    @cached_property
    def starter(self) -> BatchStarter:
        """Where transform jobs start."""
        return BatchStarter(
            batches=self.batches, backend=self.backend, telemetry=self.telemetry, is_held_back=self.is_held_back
        )

    def is_held_back(self, resource: str) -> bool:
        """Whether the brakes keep transform jobs of a deployment from starting."""
        return self.gate.holds_back(self.catalogues.current(), resource)

    @cached_property
    def pooled(self) -> PooledRuns:
        """Runs of jobs."""
        return PooledRuns(
            jobs=self.jobs,
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            requests=self.requests,
            starter=self.starter,
            completer=self.completer,
            clock=self.clock,
        )

    @cached_property
    def line_bodies(self) -> OpenAILineBodies:
        """The lines of a batch of files, in OpenAI's words."""
        from tollgate.api.openai.line_bodies import OpenAILineBodies  # noqa: PLC0415 -- few runs are of files

        return OpenAILineBodies()

    @cached_property
    def file_batch_results(self) -> FileBatchResults:
        """Results of batches of files."""
        from tollgate.services.batches.file_batch_results import FileBatchResults  # noqa: PLC0415 -- few runs are of files

        return FileBatchResults(batches=self.file_batches, queue=self.batch_queue, telemetry=self.telemetry)

    @cached_property
    def run_results(self) -> ResultsBySource:
        """Results of whatever came in a file."""
        return ResultsBySource(drops=self.results, batches=self.file_batch_results)

    @cached_property
    def results(self) -> DropResults:
        """Results of dropped files."""
        return DropResults(
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def drops(self) -> DroppedRuns:
        """Runs of files."""
        from tollgate.services.batches.drop_batch import DroppedRuns  # noqa: PLC0415 -- few runs are of files
        from tollgate.services.batches.drop_budget import DropBudget  # noqa: PLC0415 -- as above

        return DroppedRuns(
            batches=self.batches,
            objects=self.objects,
            catalogues=self.catalogues,
            dialects=self.dialects,
            starter=self.starter,
            budget=DropBudget(
                batches=self.batches,
                catalogues=self.catalogues,
                admission=self.admission,
            ),
            drops=self.results,
            results=self.run_results,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def collector(self) -> BatchCollector:
        """Where runs end."""
        return BatchCollector(
            batches=self.batches,
            catalogues=self.catalogues,
            backend=self.backend,
            pooled=PoolCollector(
                jobs=self.jobs,
                batches=self.batches,
                objects=self.objects,
                runs=self.pooled,
                starter=self.starter,
                completer=self.completer,
                clock=self.clock,
            ),
            drops=DropCollector(
                batches=self.batches,
                objects=self.objects,
                runs=self.drops,
                results=self.run_results,
                starter=self.starter,
                clock=self.clock,
            ),
            telemetry=self.telemetry,
        )

    @cached_property
    def file_batch_runner(self) -> FileBatchRunner:
        """Takes batches of files on their way; `batch_dispatch` alone does."""
        from tollgate.api.openai.line_bodies import refusal_of  # noqa: PLC0415 -- see above
        from tollgate.services.batches.file_batch_cut import BatchCutter  # noqa: PLC0415 -- see above
        from tollgate.services.batches.file_batch_run import FileBatchRunner  # noqa: PLC0415 -- see above
        from tollgate.services.batches.file_part_admission import PartAdmission  # noqa: PLC0415 -- see above
        from tollgate.services.batches.file_part_run import PartRunner  # noqa: PLC0415 -- see above

        return FileBatchRunner(
            batches=self.file_batches,
            files=self.files,
            catalogues=self.catalogues,
            cutter=BatchCutter(
                objects=self.objects,
                capacities=self.capacities,
                dialects=self.dialects,
                bodies=self.line_bodies,
                refusal_of=refusal_of,
            ),
            admission=PartAdmission(batches=self.file_batches, catalogues=self.catalogues, admission=self.admission),
            parts=PartRunner(
                runs=self.batches,
                objects=self.objects,
                backend=self.backend,
                starter=self.drops,
                results=self.file_batch_results,
                refusal_of=refusal_of,
                clock=self.clock,
            ),
            finisher=self.file_batch_finisher,
            telemetry=self.telemetry,
            clock=self.clock,
            is_held_back=self.is_held_back,
        )

    @cached_property
    def file_batch_finisher(self) -> FileBatchFinisher:
        """Ends batches of files."""
        from tollgate.api.openai.line_bodies import refusal_of  # noqa: PLC0415 -- few runs are of files
        from tollgate.services.batches.file_batch_files import ResultFiles  # noqa: PLC0415 -- as above
        from tollgate.services.batches.file_batch_finish import FileBatchFinisher  # noqa: PLC0415 -- as above

        return FileBatchFinisher(
            batches=self.file_batches,
            files=ResultFiles(
                files=self.files,
                objects=self.objects,
                dialects=self.dialects,
                bodies=self.line_bodies,
                refusal_of=refusal_of,
                clock=self.clock,
                kept=self._kept,
            ),
            catalogues=self.catalogues,
            telemetry=self.telemetry,
            clock=self.clock,
        )
