"""What functions need that run requests: the gateway, the one that streams, and the cache function."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.registry.capacity import RegistryHealth
from tollgate.adapters.messaging.sns_notices import SnsNotices
from tollgate.adapters.sagemaker.realtime import SageMakerRealtime
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.domain.catalogue import InferenceType
from tollgate.services.requests.accept_job import JobAcceptance
from tollgate.services.requests.admission import REALTIME_LEASE, Admission
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.deployment_health import DeploymentHealth
from tollgate.services.requests.plan_request import RequestPlanner
from tollgate.services.requests.run_realtime import ModelCalls, RealtimeRun
from tollgate.wiring.roads import RoadParts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers
    from tollgate.adapters.dynamodb.registry.outcomes import RegistryOutcomes
    from tollgate.adapters.messaging.lambda_events import LambdaEvents
    from tollgate.adapters.texts.bucket_tokenizers import BucketTokenizers
    from tollgate.adapters.texts.lambda_sentences import LambdaSentences
    from tollgate.domain.cache.ticket import CacheTicket
    from tollgate.ports.money import BudgetNotices
    from tollgate.services.cache.answer_cache import AnswerCache
    from tollgate.services.cache.cached_run import CachedRun
    from tollgate.services.cache.near_answers import NearAnswers
    from tollgate.services.cache.refresh_answers import RefreshOrders
    from tollgate.services.requests.choose_tier import TierChooser
    from tollgate.services.requests.run_chosen import ChosenRun
    from tollgate.services.requests.run_streaming import StreamingRun
    from tollgate.services.requests.wake_requests import WakeRequests
    from tollgate.settings import InferenceSettings, ServingSettings

API_SECONDS = 29.0
"""API Gateway's own limit on an answer. https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""


class InferenceParts(RoadParts, ABC):
    """For functions that run requests.

    Args:
        settings: of the function.
        time_limit_seconds: for a request, from its arrival to its answer.
    """

    def __init__(self, settings: InferenceSettings, *, time_limit_seconds: float = API_SECONDS) -> None:
        super().__init__(settings)
        self._settings = settings
        self.time_limit_seconds = time_limit_seconds
        self.lease = REALTIME_LEASE

    @cached_property
    def inference(self) -> InferenceService:
        """Answers requests, or accepts them as jobs."""
        return InferenceService(
            planner=self.planner,
            admission=self.admission,
            realtime=self.realtime,
            acceptance=self.acceptance,
            health=self.health,
            chosen_run=lambda: self.chosen_run,
            wakes=lambda: self.wakes,
            cache=lambda: self.answers,
        )

    @cached_property
    def planner(self) -> RequestPlanner:
        """Decides what is done for a request."""
        return RequestPlanner(
            catalogues=self.catalogues,
            capacities=self.capacities,
            dialects=self.dialects,
            admission=self.admission,
            health=self.health,
            chooser=lambda: self.chooser,
            tokenizers=lambda: self.tokenizers,
        )

    @cached_property
    def admission(self) -> Admission:
        """Reserves what requests may cost."""
        return Admission(
            ledger=self.ledger,
            telemetry=self.telemetry,
            clock=self.clock,
            notices=self.notices,
            gate=self.gate,
            lease=self.lease,
        )

    @cached_property
    def realtime(self) -> RealtimeRun:
        """Runs requests while their callers wait."""
        return RealtimeRun(
            calls=ModelCalls(
                sagemaker=SageMakerRealtime(SageMakerRuntimeClient(self.transport)),
                live=self.live,
                providers=lambda: self.providers,
            ),
            durations=self.durations,
            dialects=self.dialects,
            admission=self.admission,
            health=self.health,
            clock=self.clock,
            ids=self.ids,
            memory_gb=self.memory_gb,
            time_limit_seconds=self.time_limit_seconds,
        )

    @property
    def live(self) -> StreamingRun | None:
        """Makes the calls of callers who watch their answer arrive; None where nobody can."""
        return None

    @cached_property
    def acceptance(self) -> JobAcceptance:
        """Accepts requests as jobs, for roads whose queue the function knows."""
        return JobAcceptance(
            jobs=self.jobs,
            queues={road: self.queue(url) for road, url in self.queues.items()},
            objects=self.objects,
            admission=self.admission,
            clock=self.clock,
            ids=self.ids,
            memory_gb=self.memory_gb,
            time_limit_seconds=self.time_limit_seconds,
        )

    @property
    def queues(self) -> Mapping[InferenceType, str]:
        """The URL of the queue of each road that jobs may take."""
        return {InferenceType.ASYNC: self._settings.async_queue_url}

    @property
    def notices(self) -> BudgetNotices | None:
        """Where crossed thresholds are told; what this function does not tell, the schedule does."""
        return None

    @property
    @abstractmethod
    def answers(self) -> AnswerCache:
        """Kept answers; asked only for a model that has a cache."""

    @cached_property
    def health(self) -> DeploymentHealth:
        """Which deployments are better left alone for now."""
        recorder = RegistryHealth(self.tables, self._registry, self.clock.now)
        return DeploymentHealth(clock=self.clock, recorder=recorder)

    @property
    def memory_gb(self) -> Decimal:
        """The function's memory, which its own time is priced by."""
        return Decimal(self._settings.aws_lambda_function_memory_size) / 1024

    def events(self, function: str) -> LambdaEvents:
        """Sends events to another function of the stack."""
        from tollgate.adapters.messaging.lambda_events import LambdaEvents  # noqa: PLC0415 -- few requests send any

        return LambdaEvents(self.transport, function)

    @property
    def wakes(self) -> WakeRequests | None:
        """Asks for sleeping endpoints to be woken; None where no request waits for one."""
        return None

    @cached_property
    def outcomes(self) -> RegistryOutcomes:
        """How well deployments have answered; most models have no choice that would need it."""
        return self.outcome_store()

    @cached_property
    def chooser(self) -> TierChooser:
        """Chooses among a model's sizes, where it has several."""
        from tollgate.services.requests.choose_tier import TierChooser  # noqa: PLC0415 -- as outcomes

        return TierChooser(self.outcomes)

    @cached_property
    def chosen_run(self) -> ChosenRun:
        """Runs what was chosen among several sizes."""
        from tollgate.services.requests.run_chosen import ChosenRun  # noqa: PLC0415 -- as outcomes

        return ChosenRun(
            planner=self.planner,
            outcomes=self.outcomes,
            realtime=self.realtime,
            acceptance=self.acceptance,
            admission=self.admission,
            clock=self.clock,
            time_limit_seconds=self.time_limit_seconds,
        )

    @cached_property
    def tokenizers(self) -> BucketTokenizers:
        """Models' own tokenizers, where they name one."""
        from tollgate.adapters.texts.bucket_tokenizers import BucketTokenizers  # noqa: PLC0415 -- see above

        return BucketTokenizers(self.objects)

    def sentences(self, function: str, timeout_s: float) -> LambdaSentences:
        """Vectors of whole questions; asked for models whose near matches compare those."""
        from tollgate.adapters.texts.lambda_sentences import LambdaSentences  # noqa: PLC0415 -- as answers
        from tollgate.services.cache.breaker import CacheBreaker  # noqa: PLC0415 -- as answers

        return LambdaSentences(
            self.transport,
            function,
            timeout_s=timeout_s,
            breaker=CacheBreaker(self.clock),
            telemetry=self.telemetry,
        )


class ServingParts(InferenceParts):
    """For functions whose callers wait for the answer."""

    _settings: ServingSettings

    @property
    def queues(self) -> Mapping[InferenceType, str]:
        """Those of all roads."""
        return {
            **super().queues,
            InferenceType.REALTIME: self._settings.deferred_queue_url,
            InferenceType.BATCH: self._settings.batch_queue_url,
        }

    @cached_property
    def wakes(self) -> WakeRequests:
        """Asks for sleeping endpoints to be woken; few deployments sleep."""
        from tollgate.services.requests.wake_requests import WakeRequests  # noqa: PLC0415 -- see above

        return WakeRequests(events=self.events(self._settings.capacity_function), clock=self.clock)

    @cached_property
    def notices(self) -> SnsNotices:
        """The alarm topic."""
        return SnsNotices(self._settings.alarm_topic_arn)

    @cached_property
    def answers(self) -> AnswerCache:
        """Kept answers; asked only for a model that has a cache."""
        from tollgate.services.cache.answer_cache import AnswerCache  # noqa: PLC0415 -- see above

        orders = bool(self._settings.refresh_function)
        return AnswerCache(
            store=self.answer_store,
            admission=self.admission,
            clock=self.clock,
            ids=self.ids,
            telemetry=self.telemetry,
            pause=time.sleep,
            time_limit_seconds=self.time_limit_seconds,
            refresh=self._order_refresh if orders else None,
            near=(lambda: self.near) if orders else None,
        )

    @cached_property
    def answer_store(self) -> DynamoDBAnswers:
        """The table of answers."""
        from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers  # noqa: PLC0415 -- as answers

        return DynamoDBAnswers(self.cache_tables, self._settings.table_cache, self.objects)

    @cached_property
    def cache_tables(self) -> DynamoDBClient:
        """Waits but briefly for the table, for a request can do without what it holds."""
        from tollgate.adapters.aws.retry import RetryPolicy  # noqa: PLC0415 -- as answers

        seconds = self._settings.cache_timeout_ms / 1000
        return DynamoDBClient(self.transport, read_timeout_s=seconds, retry=RetryPolicy.NEVER)

    def _order_refresh(self, run: CachedRun, ticket: CacheTicket) -> None:
        self.refresh_orders.order(run, ticket)

    @cached_property
    def refresh_orders(self) -> RefreshOrders:
        """Orders for the cache function; only stale answers and near matches give any."""
        from tollgate.services.cache.refresh_answers import RefreshOrders  # noqa: PLC0415 -- see above

        return RefreshOrders(self.events(self._settings.refresh_function), self.objects)

    @cached_property
    def near(self) -> NearAnswers:
        """Answers to other words; asked only for misses of a model that opted in."""
        from tollgate.adapters.dynamodb.cache.near import DynamoDBNear  # noqa: PLC0415 -- see above
        from tollgate.adapters.texts.word_vectors import likeness  # noqa: PLC0415 -- see above
        from tollgate.services.cache.near_answers import NearAnswers  # noqa: PLC0415 -- see above

        return NearAnswers(
            index=DynamoDBNear(self.cache_tables, self._settings.table_cache),
            answers=self.answer_store,
            words=likeness,
            sentences=self.sentences(self._settings.sentences_function, self._settings.sentences_timeout_ms / 1000),
            file=self.refresh_orders.file,
            check=self.refresh_orders.order,
            clock=self.clock,
            telemetry=self.telemetry,
        )
