"""POST /v1/inferences, POST /v1/route, GET /v1/models, and OpenAI's chat, completions and embeddings."""

import os
import time
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_idempotency import DynamoDBIdempotency
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.registry_capacity import RegistryCapacity, RegistryDurations, RegistryHealth
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sagemaker_realtime import SageMakerRealtime
from tollgate.adapters.sagemaker_runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sns_notices import SnsNotices
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock, TimeSortedIds
from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.http import read_call
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.services.accept_job import JobAcceptance
from tollgate.services.admission import Admission
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.deployment_health import DeploymentHealth
from tollgate.services.idempotent import Idempotency
from tollgate.services.infer import InferenceService
from tollgate.services.run_realtime import RealtimeRun
from tollgate.services.wait import JobWaiter
from tollgate.settings import Settings, aws_environment

if TYPE_CHECKING:
    from tollgate.adapters.registry_outcomes import RegistryOutcomes
    from tollgate.domain.cache_ticket import CacheTicket
    from tollgate.ports.control import BrakeSource
    from tollgate.services.answer_cache import AnswerCache
    from tollgate.services.cached_run import CachedRun
    from tollgate.services.choosing import Choosing
    from tollgate.services.near_answers import NearAnswers
    from tollgate.services.wake_requests import WakeRequests

_TIME_LIMIT_SECONDS = 29.0
"""API Gateway's own limit on an answer. https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""


class GatewaySettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_cache: str
    table_registry: str
    bucket: str
    async_queue_url: str
    batch_queue_url: str
    refresh_queue_url: str = ""
    cache_timeout_ms: int = 300
    deferred_queue_url: str = ""
    wake_queue_url: str = ""
    alarm_topic_arn: str = ""
    webhook_allowed_cidrs: str = ""


def _check_webhook(allowed: str, url: str) -> None:
    # Few requests bring a webhook; the others must not pay for importing the address tables.
    from tollgate.domain.webhooks import check_webhook_url, parse_networks  # noqa: PLC0415 -- see above

    check_webhook_url(url, parse_networks(allowed))


def build(settings: GatewaySettings) -> GatewayApi:
    """Wire the service; nothing is connected before the first call."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    transport.prepare()
    tables, queues, clock = DynamoDBClient(transport), SqsClient(transport), SystemClock()
    objects = S3DirectObjects(S3Client(transport), settings.bucket)
    registry = settings.table_registry
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    ledger = DynamoDBLedger(tables, settings.table_ledger)
    jobs = DynamoDBJobStore(tables, settings.table_jobs, ledger)

    @cache
    def brakes() -> "BrakeSource":
        # Asked only when the catalogue has brakes.
        from tollgate.adapters.registry_control import RegistryControl  # noqa: PLC0415 -- see above

        return RegistryControl(tables, registry, clock.monotonic)

    admission = Admission(
        ledger=ledger,
        telemetry=telemetry,
        clock=clock,
        notices=SnsNotices(settings.alarm_topic_arn),
        gate=BrakeGate(brakes=brakes, telemetry=telemetry, clock=clock),
    )
    dialects, ids = ContainerDialects(), TimeSortedIds()

    @cache
    def answers() -> "AnswerCache":
        # Only requests for a model that has a cache need it.
        from tollgate.adapters.aws_retry import RetryPolicy  # noqa: PLC0415 -- see above
        from tollgate.adapters.dynamodb_answers import DynamoDBAnswers  # noqa: PLC0415 -- see above
        from tollgate.services.answer_cache import AnswerCache  # noqa: PLC0415 -- see above

        def order(run: "CachedRun", ticket: "CacheTicket") -> None:
            from tollgate.services.refresh_answers import RefreshOrders  # noqa: PLC0415 -- only stale answers need it

            RefreshOrders(SqsQueue(queues, settings.refresh_queue_url), objects).order(run, ticket)

        impatient = DynamoDBClient(transport, read_timeout_s=settings.cache_timeout_ms / 1000, retry=RetryPolicy.NEVER)
        store = DynamoDBAnswers(impatient, settings.table_cache, objects)

        @cache
        def near() -> "NearAnswers":
            # Only misses of a model that opted in need it.
            from tollgate.adapters.dynamodb_near import DynamoDBNear  # noqa: PLC0415 -- see above
            from tollgate.adapters.word_vectors import likeness  # noqa: PLC0415 -- see above
            from tollgate.services.near_answers import NearAnswers  # noqa: PLC0415 -- see above
            from tollgate.services.refresh_answers import RefreshOrders  # noqa: PLC0415 -- see above

            queue = SqsQueue(queues, settings.refresh_queue_url)
            orders = RefreshOrders(queue, objects)
            return NearAnswers(
                index=DynamoDBNear(impatient, settings.table_cache),
                answers=store,
                likeness=likeness(),
                file=orders.file,
                check=orders.order,
                clock=clock,
                telemetry=telemetry,
            )

        return AnswerCache(
            store=store,
            admission=admission,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
            pause=time.sleep,
            time_limit_seconds=_TIME_LIMIT_SECONDS,
            refresh=order if settings.refresh_queue_url else None,
            near=near if settings.refresh_queue_url else None,
        )

    health = DeploymentHealth(clock=clock, recorder=RegistryHealth(tables, registry, clock.now))
    memory_gb = Decimal(settings.aws_lambda_function_memory_size) / 1024

    @cache
    def wakes() -> "WakeRequests":
        # Only deployments that sleep need it.
        from tollgate.services.wake_requests import WakeRequests  # noqa: PLC0415 -- see above

        return WakeRequests(queue=SqsQueue(queues, settings.wake_queue_url), clock=clock)

    catalogues = RegistryCatalogue(tables, registry, clock.monotonic)

    @cache
    def outcomes() -> "RegistryOutcomes":
        from tollgate.adapters.registry_outcomes import RegistryOutcomes  # noqa: PLC0415 -- most models have no choice

        return RegistryOutcomes(tables, registry, now=clock.now, monotonic=clock.monotonic)

    @cache
    def choosing() -> "Choosing":
        from tollgate.services.choosing import choosing_among  # noqa: PLC0415 -- as above

        return choosing_among(
            outcomes(), realtime=realtime, acceptance=acceptance, clock=clock, time_limit_seconds=_TIME_LIMIT_SECONDS
        )

    realtime = RealtimeRun(
        realtime=SageMakerRealtime(SageMakerRuntimeClient(transport)),
        durations=RegistryDurations(tables, registry, now=clock.now, monotonic=clock.monotonic),
        dialects=dialects,
        admission=admission,
        health=health,
        clock=clock,
        ids=ids,
        memory_gb=memory_gb,
        time_limit_seconds=_TIME_LIMIT_SECONDS,
    )
    acceptance = JobAcceptance(
        jobs=jobs,
        queues={
            InferenceType.REALTIME: SqsQueue(queues, settings.deferred_queue_url),
            InferenceType.ASYNC: SqsQueue(queues, settings.async_queue_url),
            InferenceType.BATCH: SqsQueue(queues, settings.batch_queue_url),
        },
        objects=objects,
        admission=admission,
        clock=clock,
        ids=ids,
        memory_gb=memory_gb,
        time_limit_seconds=_TIME_LIMIT_SECONDS,
    )
    inference = InferenceService(
        catalogues=catalogues,
        capacities=RegistryCapacity(tables, registry, now=clock.now, monotonic=clock.monotonic),
        dialects=dialects,
        admission=admission,
        realtime=realtime,
        acceptance=acceptance,
        choosing=choosing,
        health=health,
        wakes=wakes,
        cache=answers,
    )
    waiter = JobWaiter(jobs=jobs, objects=objects, clock=clock, pause=time.sleep)
    idempotency = Idempotency(DynamoDBIdempotency(tables, settings.table_cache, objects), clock)

    @cache
    def openai() -> RoutesOnDemand:
        # The models of OpenAI's bodies take a while to build, and only some callers need them.
        from tollgate.api.openai.routes import OpenAIApi  # noqa: PLC0415 -- see above

        return OpenAIApi(inference=inference, idempotency=idempotency, waiter=waiter)

    @cache
    def feedback() -> RoutesOnDemand:
        from tollgate.api.feedback_routes import FeedbackApi  # noqa: PLC0415 -- few calls bring feedback
        from tollgate.services.feedback import FeedbackService  # noqa: PLC0415 -- as above

        return FeedbackApi(FeedbackService(catalogues=catalogues, feedback=outcomes()))

    return GatewayApi(
        inference=inference,
        idempotency=idempotency,
        telemetry=telemetry,
        clock=clock,
        random_hex=lambda: os.urandom(24).hex(),
        check_webhook=partial(_check_webhook, settings.webhook_allowed_cidrs),
        openai=openai,
        waiter=waiter,
        feedback=feedback,
    )


def handle(event: dict[str, Any], service: GatewayApi) -> dict[str, Any]:
    """One API call."""
    return service.respond(read_call(event)).to_event()


@cache
def _service() -> GatewayApi:
    return build(GatewaySettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
