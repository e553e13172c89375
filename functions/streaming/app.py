"""POST /v1/chat/completions and /v1/completions, streamed while the model answers. See docs/openai.md, "Streaming"."""

import os
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.aws_streaming import StreamingTransport
from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.streaming import ContainerStreams
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_idempotency import DynamoDBIdempotency
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.lambda_runtime import Handle, RuntimeLoop
from tollgate.adapters.registry_capacity import RegistryCapacity, RegistryDurations, RegistryHealth
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_control import RegistryControl
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sagemaker_realtime import SageMakerRealtime
from tollgate.adapters.sagemaker_runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sagemaker_stream import SageMakerStream
from tollgate.adapters.sns_notices import SnsNotices
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock, TimeSortedIds
from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.http import read_call
from tollgate.api.openai.routes import OpenAIApi
from tollgate.api.outlet import Outlet, send
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import NotFoundError
from tollgate.services.accept_job import JobAcceptance
from tollgate.services.admission import Admission
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.deployment_health import DeploymentHealth
from tollgate.services.idempotent import Idempotency
from tollgate.services.infer import InferenceService
from tollgate.services.run_live import LiveRun
from tollgate.services.run_realtime import RealtimeRun
from tollgate.services.wait import JobWaiter
from tollgate.settings import Settings, aws_environment

if TYPE_CHECKING:
    from tollgate.domain.cache_ticket import CacheTicket
    from tollgate.services.answer_cache import AnswerCache
    from tollgate.services.cached_run import CachedRun
    from tollgate.services.choosing import Choosing
    from tollgate.services.wake_requests import WakeRequests

_KEPT_BACK_SECONDS = 2.0
"""Of the function's time, to settle after the last event and before Lambda ends the environment."""

_LONGEST_SILENCE_SECONDS = 240.0
"""API Gateway gives up on a regional API that says nothing for five minutes.
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html"""


class StreamingSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_cache: str
    table_registry: str
    bucket: str
    async_queue_url: str
    batch_queue_url: str
    refresh_queue_url: str = ""
    deferred_queue_url: str = ""
    wake_queue_url: str = ""
    alarm_topic_arn: str = ""
    cache_timeout_ms: int = 300
    streaming_seconds: int = 300


def build(settings: StreamingSettings) -> GatewayApi:
    """Wire the service; nothing is connected before the first call."""
    config = TransportConfig.from_mapping(aws_environment())
    transport = AwsTransport(config)
    transport.prepare()
    tables, queues, clock = DynamoDBClient(transport), SqsClient(transport), SystemClock()
    objects = S3DirectObjects(S3Client(transport), settings.bucket)
    registry = settings.table_registry
    limit = settings.streaming_seconds - _KEPT_BACK_SECONDS
    # Whatever is held for a request outlives the request.
    lease = timedelta(seconds=settings.streaming_seconds + 30)
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    ledger = DynamoDBLedger(tables, settings.table_ledger)
    jobs = DynamoDBJobStore(tables, settings.table_jobs, ledger)
    admission = Admission(
        ledger=ledger,
        telemetry=telemetry,
        clock=clock,
        notices=SnsNotices(settings.alarm_topic_arn),
        gate=BrakeGate(
            brakes=cache(lambda: RegistryControl(tables, registry, clock.monotonic)), telemetry=telemetry, clock=clock
        ),
        lease=lease,
    )
    dialects, ids = ContainerDialects(), TimeSortedIds()
    health = DeploymentHealth(clock=clock, recorder=RegistryHealth(tables, registry, clock.now))
    memory_gb = Decimal(settings.aws_lambda_function_memory_size) / 1024
    catalogues = RegistryCatalogue(tables, registry, clock.monotonic)
    realtime = RealtimeRun(
        realtime=SageMakerRealtime(SageMakerRuntimeClient(transport)),
        durations=RegistryDurations(tables, registry, now=clock.now, monotonic=clock.monotonic),
        dialects=dialects,
        admission=admission,
        health=health,
        clock=clock,
        ids=ids,
        memory_gb=memory_gb,
        time_limit_seconds=limit,
        live=LiveRun(backend=SageMakerStream(StreamingTransport(config)), forms=ContainerStreams(), clock=clock),
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
        time_limit_seconds=limit,
    )

    @cache
    def answers() -> "AnswerCache":
        from tollgate.adapters.aws_retry import RetryPolicy  # noqa: PLC0415 -- only models with a cache need it
        from tollgate.adapters.dynamodb_answers import DynamoDBAnswers  # noqa: PLC0415 -- as above
        from tollgate.services.answer_cache import AnswerCache  # noqa: PLC0415 -- as above

        def order(run: "CachedRun", ticket: "CacheTicket") -> None:
            from tollgate.services.refresh_answers import RefreshOrders  # noqa: PLC0415 -- only stale answers need it

            RefreshOrders(SqsQueue(queues, settings.refresh_queue_url), objects).order(run, ticket)

        impatient = DynamoDBClient(transport, read_timeout_s=settings.cache_timeout_ms / 1000, retry=RetryPolicy.NEVER)
        return AnswerCache(
            store=DynamoDBAnswers(impatient, settings.table_cache, objects),
            admission=admission,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
            pause=time.sleep,
            time_limit_seconds=limit,
            refresh=order if settings.refresh_queue_url else None,
        )

    @cache
    def wakes() -> "WakeRequests":
        from tollgate.services.wake_requests import WakeRequests  # noqa: PLC0415 -- only deployments that sleep

        return WakeRequests(queue=SqsQueue(queues, settings.wake_queue_url), clock=clock)

    @cache
    def choosing() -> "Choosing":
        from tollgate.adapters.registry_outcomes import RegistryOutcomes  # noqa: PLC0415 -- most models have no choice
        from tollgate.services.choosing import choosing_among  # noqa: PLC0415 -- as above

        outcomes = RegistryOutcomes(tables, registry, now=clock.now, monotonic=clock.monotonic)
        return choosing_among(outcomes, realtime=realtime, acceptance=acceptance, clock=clock, time_limit_seconds=limit)

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
    idempotency = Idempotency(
        DynamoDBIdempotency(tables, settings.table_cache, objects), clock, lease_seconds=int(lease.total_seconds())
    )
    openai = OpenAIApi(
        inference=inference,
        idempotency=idempotency,
        waiter=waiter,
        wait_seconds=min(limit, _LONGEST_SILENCE_SECONDS),
    )
    return GatewayApi(
        inference=inference,
        idempotency=idempotency,
        telemetry=telemetry,
        clock=clock,
        random_hex=lambda: os.urandom(24).hex(),
        check_webhook=_no_such_route,
        openai=lambda: openai,
        waiter=waiter,
        feedback=_no_such_route,
    )


def _no_such_route(*_: object) -> RoutesOnDemand:
    """In place of what only the gateway function's routes need."""
    raise NotFoundError("The gateway function answers this route.")


def handle(event: dict[str, Any], service: GatewayApi, outlet: Outlet) -> None:
    """One API call, answered through the outlet."""
    send(service.respond(replace(read_call(event), outlet=outlet)), outlet)


def _handler() -> Handle:
    service = build(StreamingSettings.load())
    return lambda event, stream: handle(event, service, stream)


if __name__ == "__main__":
    RuntimeLoop(aws_environment()["AWS_LAMBDA_RUNTIME_API"]).run(_handler)
