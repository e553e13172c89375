"""POST /v1/cache/lookup, DELETE /v1/cache, clients' own results; and the queue of answers to make anew."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from tollgate.adapters.aws_retry import RetryPolicy
from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dynamodb_answers import DynamoDBAnswers
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.dynamodb_jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.dynamodb_near import DynamoDBNear
from tollgate.adapters.dynamodb_retrieval import DynamoDBRetrieval
from tollgate.adapters.registry_capacity import RegistryCapacity, RegistryDurations, RegistryHealth
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_control import RegistryControl
from tollgate.adapters.registry_outcomes import RegistryOutcomes
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.sagemaker_realtime import SageMakerRealtime
from tollgate.adapters.sagemaker_runtime_client import SageMakerRuntimeClient
from tollgate.adapters.sqs_client import SqsClient
from tollgate.adapters.sqs_queue import SqsQueue
from tollgate.adapters.system import SystemClock, TimeSortedIds
from tollgate.adapters.word_vectors import likeness
from tollgate.api.cache_routes import CacheApi
from tollgate.api.http import read_call
from tollgate.api.queue_events import process_messages
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import InferenceType
from tollgate.services.accept_job import JobAcceptance
from tollgate.services.admission import Admission
from tollgate.services.answer_cache import AnswerCache
from tollgate.services.brake_gate import BrakeGate
from tollgate.services.choosing import Choosing, choosing_among
from tollgate.services.deployment_health import DeploymentHealth
from tollgate.services.infer import InferenceService
from tollgate.services.manage_cache import CacheManager
from tollgate.services.near_answers import NearAnswers
from tollgate.services.near_upkeep import NearUpkeep
from tollgate.services.refresh_answers import AnswerRefresher
from tollgate.services.run_realtime import RealtimeRun
from tollgate.services.wake_requests import WakeRequests
from tollgate.settings import Settings, aws_environment

_TIME_LIMIT_SECONDS = 29.0
"""API Gateway's own limit on an answer, and this function's for a refresh."""


class CacheSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_cache: str
    table_registry: str
    bucket: str
    async_queue_url: str
    deferred_queue_url: str
    wake_queue_url: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What calls need, and what messages need."""

    api: CacheApi
    refresher: AnswerRefresher
    upkeep: NearUpkeep


def build(settings: CacheSettings) -> Parts:
    """Wire the services; nothing is connected before the first event."""
    transport = AwsTransport(TransportConfig.from_mapping(aws_environment()))
    tables, clock, ids, dialects = DynamoDBClient(transport), SystemClock(), TimeSortedIds(), ContainerDialects()
    queues, objects = SqsClient(transport), S3DirectObjects(S3Client(transport), settings.bucket)
    registry, memory_gb = settings.table_registry, Decimal(settings.aws_lambda_function_memory_size) / 1024
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    ledger = DynamoDBLedger(tables, settings.table_ledger)
    control = RegistryControl(tables, registry, clock.monotonic)
    gate = BrakeGate(brakes=lambda: control, telemetry=telemetry, clock=clock)
    admission = Admission(ledger=ledger, telemetry=telemetry, clock=clock, gate=gate)
    health = DeploymentHealth(clock=clock, recorder=RegistryHealth(tables, registry, clock.now))
    answers = DynamoDBAnswers(DynamoDBClient(transport, retry=RetryPolicy.UNPROCESSED), settings.table_cache, objects)
    catalogues = RegistryCatalogue(tables, registry, clock.monotonic)
    index = DynamoDBNear(DynamoDBClient(transport), settings.table_cache)
    upkeep = NearUpkeep(index=index, answers=answers, catalogues=catalogues, telemetry=telemetry, clock=clock)

    @cache
    def near() -> NearAnswers:
        return NearAnswers(
            index=index,
            answers=answers,
            likeness=likeness(),
            file=lambda _run, order: upkeep.file(order),
            check=None,  # what was not asked by a caller is not sampled
            clock=clock,
            telemetry=telemetry,
        )

    cached = AnswerCache(
        store=answers,
        admission=admission,
        clock=clock,
        ids=ids,
        telemetry=telemetry,
        pause=lambda _seconds: None,  # a lookup never waits, and a refresh has its lease
        time_limit_seconds=_TIME_LIMIT_SECONDS,
        near=near,
    )
    realtime = RealtimeRun(
        realtime=SageMakerRealtime(SageMakerRuntimeClient(transport)),
        durations=RegistryDurations(tables, registry, now=clock.now, monotonic=clock.monotonic),
        dialects=dialects,
        admission=admission,
        clock=clock,
        ids=ids,
        health=health,
        memory_gb=memory_gb,
        time_limit_seconds=_TIME_LIMIT_SECONDS,
    )
    acceptance = JobAcceptance(
        jobs=DynamoDBJobStore(tables, settings.table_jobs, ledger),
        queues={
            InferenceType.REALTIME: SqsQueue(queues, settings.deferred_queue_url),
            InferenceType.ASYNC: SqsQueue(queues, settings.async_queue_url),
        },
        objects=objects,
        admission=admission,
        clock=clock,
        ids=ids,
        memory_gb=memory_gb,
        time_limit_seconds=_TIME_LIMIT_SECONDS,
    )

    @cache
    def choosing() -> Choosing:
        outcomes = RegistryOutcomes(tables, registry, now=clock.now, monotonic=clock.monotonic)
        return choosing_among(
            outcomes, realtime=realtime, acceptance=acceptance, clock=clock, time_limit_seconds=_TIME_LIMIT_SECONDS
        )

    wakes = WakeRequests(queue=SqsQueue(queues, settings.wake_queue_url), clock=clock)
    inference = InferenceService(
        catalogues=catalogues,
        capacities=RegistryCapacity(tables, registry, now=clock.now, monotonic=clock.monotonic),
        dialects=dialects,
        admission=admission,
        realtime=realtime,
        acceptance=acceptance,
        wakes=lambda: wakes,
        health=health,
        choosing=choosing,
        cache=lambda: cached,
    )
    values = DynamoDBRetrieval(tables, settings.table_cache)
    manager = CacheManager(answers=answers, values=values, catalogues=catalogues, clock=clock, near=index)
    return Parts(
        api=CacheApi(inference=inference, manager=manager, telemetry=telemetry, clock=clock),
        refresher=AnswerRefresher(
            inference=inference,
            store=answers,
            objects=objects,
            telemetry=telemetry,
            clock=clock,
            compare=upkeep.compare,
        ),
        upkeep=upkeep,
    )


def handle(event: dict[str, Any], service: Parts) -> dict[str, Any]:
    """One API call, or one batch of messages."""
    if "Records" in event:
        kinds = {"refresh": service.refresher.carry_out, "near": service.upkeep.file}
        return process_messages(event, lambda order: kinds[order["kind"]](order), service.refresher.telemetry)
    return service.api.respond(read_call(event)).to_event()


@cache
def _service() -> Parts:
    return build(CacheSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
