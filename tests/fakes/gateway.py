"""A gateway made of fakes, and the calls to try it with."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.fakes.backends import FixedCatalogue
from tests.fakes.cache import InMemoryAnswers
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.control import FixedBrakes
from tests.fakes.examples import make_catalogue
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.ledger import InMemoryLedger, RecordingNotices
from tests.fakes.messages import InMemoryEvents, InMemoryObjectStore, InMemoryQueue
from tests.fakes.near import InMemoryNear
from tests.fakes.outcomes import InMemoryOutcomes
from tests.fakes.streams import RecordingOutlet, ScriptedStream
from tests.fakes.telemetry import RecordingMeasurements
from tests.fakes.tokenizers import InMemoryTokenizers
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.streaming import ContainerStreams
from tollgate.api.feedback_routes import FeedbackApi
from tollgate.api.gateway_routes import GatewayApi
from tollgate.api.http import Answer, read_call
from tollgate.api.openai.routes import OpenAIApi
from tollgate.api.outlet import send
from tollgate.api.rendering import RateLimits
from tollgate.api.telemetry import Telemetry
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import Catalogue, InferenceType, Road
from tollgate.domain.errors import IdempotencyInProgressError, IdempotencyMismatchError, StorageError
from tollgate.domain.jobs.job import Owner
from tollgate.domain.jobs.webhooks import check_webhook_url
from tollgate.domain.roads.capacity import Capacity, RoadState
from tollgate.ports.backends import ModelAnswer
from tollgate.ports.idempotency import StoredAnswer
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.cache.answer_cache import AnswerCache
from tollgate.services.cache.cached_run import CachedRun
from tollgate.services.cache.near_answers import NearAnswers
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.accept_job import JobAcceptance
from tollgate.services.requests.admission import Admission
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.choose_tier import TierChooser
from tollgate.services.requests.deployment_health import DeploymentHealth
from tollgate.services.requests.feedback import FeedbackService
from tollgate.services.requests.idempotency import Idempotency
from tollgate.services.requests.plan_request import RequestPlanner
from tollgate.services.requests.run_chosen import ChosenRun
from tollgate.services.requests.run_realtime import ModelCalls, RealtimeRun
from tollgate.services.requests.run_streaming import StreamingRun
from tollgate.services.requests.wake_requests import WakeRequests

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class FixedCapacity:
    """Observations that tests set."""

    def __init__(self) -> None:
        self.capacity = Capacity()

    def snapshot(self) -> Capacity:
        return self.capacity


class RecordingHealth:
    """The `HealthRecorder` of tests."""

    def __init__(self) -> None:
        self.told: list[tuple[str, RoadState, float]] = []
        self.fail = False

    def record_health(self, resource: str, inference_type: InferenceType, state: RoadState, *, seconds: float) -> None:
        assert inference_type is InferenceType.REALTIME
        if self.fail:
            raise StorageError("throttled")
        self.told.append((resource, state, seconds))


class ScriptedRealtime:
    """An endpoint that answers, or fails, as told; each call takes some time on the clock."""

    def __init__(self, clock: ManualClock, *, takes: float = 0.2) -> None:
        self._clock = clock
        self.takes = takes
        self.calls: list[tuple[str, bytes]] = []
        self.timeouts: list[float] = []
        self.answer: bytes | Exception = b'{"label": "en"}'
        # Endpoints that behave differently from the others.
        self.answers: dict[str, bytes | Exception] = {}
        # One answer after the other, where they differ.
        self.script: Callable[[], bytes | Exception] | None = None

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        assert content_type == "application/json"
        assert timeout_seconds > 0
        assert trace
        self.calls.append((road.target, body))
        self.timeouts.append(timeout_seconds)
        self._clock.advance(self.takes)
        answer = self.answers.get(road.target, self.answer) if self.script is None else self.script()
        if isinstance(answer, Exception):
            raise answer
        return ModelAnswer(answer, "application/json", self.takes)


class InMemoryIdempotency:
    """The `IdempotencyStore` of tests."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], tuple[str, float, StoredAnswer | None]] = {}

    def claim(
        self, owner: Owner, key: str, fingerprint: str, *, now: datetime, lease_seconds: int
    ) -> StoredAnswer | None:
        found = self.items.get((owner.tenant, key))
        if found is not None:
            if found[0] != fingerprint:
                raise IdempotencyMismatchError("used with another request")
            if found[2] is not None:
                return found[2]
            if found[1] >= now.timestamp():
                raise IdempotencyInProgressError("still running", retry_after=1)
        self.items[owner.tenant, key] = (fingerprint, now.timestamp() + lease_seconds, None)
        return None

    def complete(self, owner: Owner, key: str, fingerprint: str, answer: StoredAnswer, *, now: datetime) -> None:
        self.items[owner.tenant, key] = (fingerprint, now.timestamp(), answer)

    def release(self, owner: Owner, key: str, fingerprint: str) -> None:
        if self.items.get((owner.tenant, key), ("",))[0] == fingerprint:
            del self.items[owner.tenant, key]


@dataclass
class FakeGateway:
    """The gateway's API with everything behind it in memory."""

    clock: ManualClock = field(default_factory=ManualClock)
    tokenizers: InMemoryTokenizers = field(default_factory=InMemoryTokenizers)
    catalogue: Catalogue = field(default_factory=make_catalogue)
    ledger: InMemoryLedger = field(default_factory=InMemoryLedger)
    notices: RecordingNotices = field(default_factory=RecordingNotices)
    objects: InMemoryObjectStore = field(default_factory=InMemoryObjectStore)
    async_queue: InMemoryQueue = field(default_factory=InMemoryQueue)
    batch_queue: InMemoryQueue = field(default_factory=InMemoryQueue)
    deferred_queue: InMemoryQueue = field(default_factory=InMemoryQueue)
    wakes: InMemoryEvents = field(default_factory=InMemoryEvents)
    idempotency: InMemoryIdempotency = field(default_factory=InMemoryIdempotency)
    measurements: RecordingMeasurements = field(default_factory=RecordingMeasurements)
    capacity: FixedCapacity = field(default_factory=FixedCapacity)
    health: RecordingHealth = field(default_factory=RecordingHealth)
    brakes: FixedBrakes = field(default_factory=FixedBrakes)
    outcomes: InMemoryOutcomes = field(default_factory=InMemoryOutcomes)
    lines: list[dict[str, Any]] = field(default_factory=list)
    # What happens elsewhere while a call waits for its job.
    meanwhile: Callable[[], None] = lambda: None
    answers: InMemoryAnswers = field(default_factory=InMemoryAnswers)
    refreshes: list[tuple[CachedRun, CacheTicket]] = field(default_factory=list)
    near_index: InMemoryNear = field(default_factory=InMemoryNear)
    # Orders to file, and samples to run again with what was served.
    filings: list[Mapping[str, Any]] = field(default_factory=list)
    checks: list[tuple[CachedRun, CacheTicket, Mapping[str, Any]]] = field(default_factory=list)
    time_limit_seconds: float = 29.0
    # Where other functions look too; its own where there is none.
    shared_jobs: InMemoryJobStore | None = None

    def __post_init__(self) -> None:
        self.realtime = ScriptedRealtime(self.clock)
        self.likeness: Callable[[str, str], float] = lambda _one, _other: 1.0
        self.sentences: Callable[[str], bytes | None] = lambda _text: None
        self.jobs = self.shared_jobs or InMemoryJobStore(self.ledger)
        self.catalogues = FixedCatalogue(self.catalogue)
        telemetry = Telemetry(
            namespace="Tollgate", service="tollgate", write=lambda line: self.lines.append(json.loads(line))
        )
        self.ids = CountingIds()
        admission = self.admission = Admission(
            ledger=self.ledger,
            telemetry=telemetry,
            clock=self.clock,
            notices=self.notices,
            gate=BrakeGate(brakes=lambda: self.brakes, telemetry=telemetry, clock=self.clock),
        )
        dialects, ids, memory_gb, limit = ContainerDialects(), self.ids, Decimal("0.25"), self.time_limit_seconds
        wakes = WakeRequests(events=self.wakes, clock=self.clock)
        self.deployment_health = DeploymentHealth(clock=self.clock, recorder=self.health)
        self.stream = ScriptedStream(self.clock)
        realtime = RealtimeRun(
            calls=ModelCalls(
                sagemaker=self.realtime,
                live=StreamingRun(backend=self.stream, forms=ContainerStreams(), clock=self.clock),
            ),
            durations=self.measurements,
            dialects=dialects,
            admission=admission,
            health=self.deployment_health,
            clock=self.clock,
            ids=ids,
            memory_gb=memory_gb,
            time_limit_seconds=limit,
        )
        acceptance = JobAcceptance(
            jobs=self.jobs,
            queues={
                InferenceType.REALTIME: self.deferred_queue,
                InferenceType.ASYNC: self.async_queue,
                InferenceType.BATCH: self.batch_queue,
            },
            objects=self.objects,
            admission=admission,
            clock=self.clock,
            ids=ids,
            memory_gb=memory_gb,
            time_limit_seconds=limit,
        )
        chooser = TierChooser(self.outcomes)
        planner = RequestPlanner(
            catalogues=self.catalogues,
            capacities=self.capacity,
            dialects=dialects,
            admission=admission,
            health=self.deployment_health,
            chooser=lambda: chooser,
            tokenizers=lambda: self.tokenizers,
        )
        chosen_run = ChosenRun(
            planner=planner,
            outcomes=self.outcomes,
            realtime=realtime,
            acceptance=acceptance,
            admission=admission,
            clock=self.clock,
            time_limit_seconds=limit,
        )
        inference = InferenceService(
            planner=planner,
            admission=admission,
            realtime=realtime,
            acceptance=acceptance,
            health=self.deployment_health,
            chosen_run=lambda: chosen_run,
            wakes=lambda: wakes,
            cache=lambda: self.cache,
        )
        self.cache = AnswerCache(
            store=self.answers,
            admission=admission,
            clock=self.clock,
            ids=ids,
            telemetry=telemetry,
            pause=self._pause,
            time_limit_seconds=limit,
            refresh=lambda run, ticket: self.refreshes.append((run, ticket)),
            near=lambda: self.near,
        )
        self.near = NearAnswers(
            index=self.near_index,
            answers=self.answers,
            words=lambda: lambda one, other: self.likeness(one, other),  # noqa: PLW0108 -- tests change it later
            sentences=lambda text: self.sentences(text),  # noqa: PLW0108 -- as above
            file=lambda _run, order: self.filings.append(order),
            check=lambda run, ticket, against: self.checks.append((run, ticket, against)),
            clock=self.clock,
            telemetry=telemetry,
        )
        self.inference = inference
        feedback = FeedbackApi(FeedbackService(catalogues=self.catalogues, feedback=self.outcomes, jobs=self.jobs))
        idempotency = Idempotency(self.idempotency, self.clock)
        waiter = JobWaiter(jobs=self.jobs, objects=self.objects, clock=self.clock, pause=self._pause)
        limits = RateLimits(plan_rate=50, plan_burst=120, call_limit=admission.call_limit)
        openai = OpenAIApi(inference=inference, idempotency=idempotency, waiter=waiter, limits=limits)
        self.api = GatewayApi(
            inference=inference,
            idempotency=idempotency,
            telemetry=telemetry,
            clock=self.clock,
            random_hex=lambda: "ab" * 24,
            check_webhook=check_webhook_url,
            openai=lambda: openai,
            waiter=waiter,
            feedback=lambda: feedback,
            limits=limits,
        )

    def _pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.meanwhile()

    def call(self, route: str, body: Any = None, *, raw: str | None = None, **options: Any) -> Answer:
        """Send a call; `body` is JSON, `raw` any text."""
        text = raw if raw is not None else (json.dumps(body) if body is not None else None)
        return self.api.respond(read_call(proxy_event(route, text, **options)))

    def watch(self, route: str, body: Any, outlet: RecordingOutlet | None = None, **options: Any) -> RecordingOutlet:
        """Send a call as the streaming function does, and look on."""
        outlet = outlet or RecordingOutlet()
        call = read_call(proxy_event(route, json.dumps(body), **options))
        send(self.api.respond(call._replace(outlet=outlet)), outlet)
        return outlet

    def infer(self, body: Any, **options: Any) -> Answer:
        """Send ``POST /v1/inferences``."""
        return self.call("POST /v1/inferences", body, **options)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metric records written so far."""
        return [line for line in self.lines if "_aws" in line]


def proxy_event(
    route: str,
    body: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    tenant: str = "acme",
    scopes: str = "infer read cancel",
    path: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    request_id: str = "req-1",
) -> dict[str, Any]:
    """What API Gateway sends."""
    method, _, resource = route.partition(" ")
    return {
        "httpMethod": method,
        "resource": resource,
        "path": resource,
        "headers": {"traceparent": TRACEPARENT, **(headers or {})},
        "pathParameters": path,
        "queryStringParameters": query,
        "body": body,
        "isBase64Encoded": False,
        "requestContext": {
            "requestId": request_id,
            "authorizer": {"tenant": tenant, "key_id": "key_1", "team": "search", "scopes": scopes},
        },
    }


def document(answer: Answer) -> Any:
    """The JSON body of an answer."""
    return json.loads(answer.body)
