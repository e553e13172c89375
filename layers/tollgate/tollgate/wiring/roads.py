"""What the functions need that run requests or move jobs along, on any road."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.registry.capacity import RegistryCapacity, RegistryDurations
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.messaging.sqs_client import SqsClient
from tollgate.adapters.messaging.sqs_queue import SqsQueue
from tollgate.adapters.s3.client import S3Client
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.services.brakes.gate import BrakeGate
from tollgate.wiring.parts import Parts

if TYPE_CHECKING:
    from tollgate.adapters.dynamodb.registry.control import RegistryControl
    from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
    from tollgate.adapters.providers.token_backends import ProviderBackends
    from tollgate.ports.objects import WholeObjectStore
    from tollgate.settings import RoadSettings


class RoadParts(Parts):
    """Catalogue, jobs, ledger, bodies and brakes."""

    def __init__(self, settings: RoadSettings) -> None:
        super().__init__(settings)
        self._registry = settings.table_registry
        self._bucket = settings.bucket
        self.dialects = ContainerDialects()
        self.catalogues = RegistryCatalogue(self.tables, self._registry, self.clock.monotonic)
        self.ledger = DynamoDBLedger(self.tables, settings.table_ledger)
        self.jobs = DynamoDBJobStore(self.tables, settings.table_jobs, self.ledger)

    @cached_property
    def objects(self) -> WholeObjectStore:
        """The bucket."""
        return S3DirectObjects(S3Client(self.transport), self._bucket)

    @cached_property
    def capacities(self) -> RegistryCapacity:
        """Which deployments sleep, and how long requests have taken."""
        return RegistryCapacity(self.tables, self._registry, now=self.clock.now, monotonic=self.clock.monotonic)

    @cached_property
    def durations(self) -> RegistryDurations:
        """How long requests take."""
        return RegistryDurations(self.tables, self._registry, now=self.clock.now, monotonic=self.clock.monotonic)

    @cached_property
    def brakes(self) -> RegistryControl:
        """The brakes; asked only when the catalogue has some."""
        from tollgate.adapters.dynamodb.registry.control import RegistryControl  # noqa: PLC0415 -- most catalogues have none

        return RegistryControl(self.tables, self._registry, self.clock.monotonic)

    @cached_property
    def gate(self) -> BrakeGate:
        """Holds back the work that the brakes are on for."""
        return BrakeGate(brakes=lambda: self.brakes, telemetry=self.telemetry, clock=self.clock)

    @cached_property
    def providers(self) -> ProviderBackends:
        """What is paid by the token; asked for when the first such road is taken."""
        from tollgate.adapters.aws.streaming import StreamingTransport  # noqa: PLC0415 -- most catalogues have none
        from tollgate.adapters.providers.token_backends import ProviderBackends  # noqa: PLC0415 -- as above

        return ProviderBackends(
            self.transport,
            streaming=lambda: StreamingTransport(self.transport_config),
            monotonic=self.clock.monotonic,
            telemetry=self.telemetry,
        )

    def outcome_store(self, *, flush_seconds: float | None = None) -> RegistryOutcomes:
        """How well deployments have answered; kept for at most `flush_seconds` before it is written."""
        # Most models have no choice that would need it.
        from tollgate.adapters.dynamodb.registry.outcomes import FLUSH_SECONDS, RegistryOutcomes  # noqa: PLC0415 -- see above

        return RegistryOutcomes(
            self.tables,
            self._registry,
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            flush_seconds=FLUSH_SECONDS if flush_seconds is None else flush_seconds,
        )

    def queue(self, url: str) -> SqsQueue:
        """A queue of the stack."""
        return SqsQueue(SqsClient(self.transport), url)
