"""What the functions need that end jobs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.services.jobs.announce_job import JobAnnouncer
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.price_job import JobPricing
from tollgate.wiring.roads import RoadParts

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
    from tollgate.adapters.messaging.sqs_queue import SqsQueue
    from tollgate.services.jobs.answers import JobAnswers
    from tollgate.settings import AsyncSettings, RoadSettings


class JobParts(RoadParts):
    """For functions that end jobs.

    Args:
        settings: of the function.
        webhook_queue_url: empty in a function that ends jobs only now and then; the sweeper then sends for it.
        table_cache: where answers are kept; empty in a function whose jobs end without one.
        refresh_function: that files those answers for near matches; empty where none are to be filed.
    """

    def __init__(
        self, settings: RoadSettings, *, webhook_queue_url: str = "", table_cache: str = "", refresh_function: str = ""
    ) -> None:
        super().__init__(settings)
        self._webhook_queue_url = webhook_queue_url
        self._table_cache = table_cache
        self._refresh_function = refresh_function

    @cached_property
    def pricing(self) -> JobPricing:
        """What jobs cost."""
        return JobPricing(catalogues=self.catalogues, telemetry=self.telemetry, clock=self.clock)

    @cached_property
    def completer(self) -> JobCompleter:
        """Where jobs end."""
        announcer = JobAnnouncer(
            webhooks=self.queue(self._webhook_queue_url) if self._webhook_queue_url else None,
            durations=self.durations,
            outcomes=self.outcomes,
            catalogues=self.catalogues,
            pricing=self.pricing,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        return JobCompleter(
            jobs=self.jobs,
            objects=self.objects,
            dialects=self.dialects,
            pricing=self.pricing,
            announcer=announcer,
            telemetry=self.telemetry,
            clock=self.clock,
            answers=self.answers,
        )

    @cached_property
    def requests(self) -> JobRequests:
        """What is sent to deployments for jobs."""
        return JobRequests(self.dialects, self.objects)

    def braked(self, queue: SqsQueue) -> BrakedJobs:
        """The jobs of a queue that the brakes hold back."""
        return BrakedJobs(gate=self.gate, catalogues=self.catalogues, queue=queue, telemetry=self.telemetry)

    @property
    def answers(self) -> Callable[[], JobAnswers] | None:
        """Answers that equal jobs share, where they do; asked only for jobs of a model that has a cache."""
        return (lambda: self._job_answers) if self._table_cache else None

    @property
    def followers(self) -> SqsQueue | None:
        """Where jobs wait that follow another, in a function that may meet some."""
        return None

    @cached_property
    def _job_answers(self) -> JobAnswers:
        from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers  # noqa: PLC0415 -- see `answers`
        from tollgate.adapters.messaging.lambda_events import LambdaEvents  # noqa: PLC0415 -- see `answers`
        from tollgate.services.jobs.answers import JobAnswers  # noqa: PLC0415 -- see `answers`

        return JobAnswers(
            store=DynamoDBAnswers(self.tables, self._table_cache, self.objects),
            jobs=self.jobs,
            objects=self.objects,
            queue=self.followers,
            catalogues=self.catalogues,
            pricing=self.pricing,
            telemetry=self.telemetry,
            clock=self.clock,
            filing=LambdaEvents(self.transport, self._refresh_function) if self._refresh_function else None,
        )

    @cached_property
    def outcomes(self) -> RegistryOutcomes:
        """Records of how deployments do, written at once: Lambda may end an environment that waits for its next job."""
        return self.outcome_store(flush_seconds=0)


class AsyncParts(JobParts):
    """For the functions of the asynchronous road, whose equal jobs share an answer."""

    def __init__(self, settings: AsyncSettings, *, webhook_queue_url: str = "", refresh_function: str = "") -> None:
        super().__init__(
            settings,
            webhook_queue_url=webhook_queue_url,
            table_cache=settings.table_cache,
            refresh_function=refresh_function,
        )
        self.async_queue = self.queue(settings.async_queue_url)

    @property
    def answers(self) -> Callable[[], JobAnswers]:
        """Answers that equal jobs share, where they do; asked only for jobs of a model that has a cache."""
        return lambda: self._job_answers

    @property
    def followers(self) -> SqsQueue:
        """They wait where all jobs of this road do."""
        return self.async_queue
