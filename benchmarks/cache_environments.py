"""Execution environments of the gateway as threads: each its own service, all over one table and one model."""

import threading
import time
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.fakes.backends import FixedCatalogue
from tests.fakes.cache import InMemoryAnswers
from tests.fakes.clock import CountingIds
from tests.fakes.examples import OWNER, make_catalogue
from tests.fakes.gateway import FixedCapacity, RecordingHealth
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.messages import InMemoryEvents, InMemoryObjectStore, InMemoryQueue
from tests.fakes.outcomes import InMemoryOutcomes
from tests.fakes.telemetry import RecordingMeasurements, RecordingTelemetry
from tollgate.adapters.dialects import ContainerDialects
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType, Priority, Road
from tollgate.domain.errors import TollgateError
from tollgate.ports.backends import ModelAnswer
from tollgate.services.cache.answer_cache import AnswerCache
from tollgate.services.requests.accept_job import JobAcceptance
from tollgate.services.requests.admission import Admission
from tollgate.services.requests.answer_request import InferenceService
from tollgate.services.requests.choose_tier import TierChooser
from tollgate.services.requests.deployment_health import DeploymentHealth
from tollgate.services.requests.plan import InferenceRequest
from tollgate.services.requests.plan_request import RequestPlanner
from tollgate.services.requests.run_chosen import ChosenRun
from tollgate.services.requests.run_realtime import ModelCalls, RealtimeRun
from tollgate.services.requests.trail import Trail
from tollgate.services.requests.wake_requests import WakeRequests

LIMIT_SECONDS = 29.0


class KilledError(BaseException):
    """The environment dies in the middle of a call."""


class RealClock:
    """The system's time."""

    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds for measuring."""
        return time.monotonic()


@dataclass
class Model:
    """Counts its calls, and takes its time; `kills` of the first calls never return."""

    seconds: float
    kills: int = 0
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        """As an endpoint."""
        del road, body, content_type, timeout_seconds, trace
        with self.lock:
            self.calls += 1
            dies = self.calls <= self.kills
        if dies:
            raise KilledError
        time.sleep(self.seconds)
        return ModelAnswer(b'{"label": "en"}', "application/json", self.seconds)


@dataclass
class World:
    """What all environments share."""

    policy: CachePolicy
    model: Model
    answers: InMemoryAnswers = field(default_factory=InMemoryAnswers)
    pause: Callable[[float], None] = time.sleep
    clock: Any = field(default_factory=RealClock)

    def environment(self) -> "Environment":
        """A new execution environment."""
        return Environment(self)


class Environment:
    """One gateway, which does one thing at a time."""

    def __init__(self, world: World) -> None:
        catalogue = make_catalogue()
        echo = replace(catalogue.models["echo"], cache=world.policy)
        catalogues = FixedCatalogue(replace(catalogue, models={"echo": echo}))
        self._clock, ids, dialects, memory = world.clock, CountingIds(), ContainerDialects(), Decimal("0.25")
        telemetry, ledger = RecordingTelemetry(), InMemoryLedger()
        admission = Admission(ledger=ledger, telemetry=telemetry, clock=self._clock)
        cache = AnswerCache(
            store=world.answers,
            admission=admission,
            clock=self._clock,
            ids=ids,
            telemetry=telemetry,
            pause=world.pause,
            time_limit_seconds=LIMIT_SECONDS,
        )
        health = DeploymentHealth(clock=self._clock, recorder=RecordingHealth())
        realtime = RealtimeRun(
            calls=ModelCalls(sagemaker=world.model),
            durations=RecordingMeasurements(),
            dialects=dialects,
            admission=admission,
            clock=self._clock,
            ids=ids,
            health=health,
            memory_gb=memory,
            time_limit_seconds=LIMIT_SECONDS,
        )
        acceptance = JobAcceptance(
            jobs=InMemoryJobStore(),
            queues={road: InMemoryQueue() for road in InferenceType},
            objects=InMemoryObjectStore(),
            admission=admission,
            clock=self._clock,
            ids=ids,
            memory_gb=memory,
            time_limit_seconds=LIMIT_SECONDS,
        )
        outcomes = InMemoryOutcomes()
        planner = RequestPlanner(
            catalogues=catalogues,
            capacities=FixedCapacity(),
            dialects=dialects,
            admission=admission,
            health=health,
            chooser=lambda: TierChooser(outcomes),
        )
        chosen_run = ChosenRun(
            planner=planner,
            outcomes=outcomes,
            realtime=realtime,
            acceptance=acceptance,
            admission=admission,
            clock=self._clock,
            time_limit_seconds=LIMIT_SECONDS,
        )
        self._inference = InferenceService(
            planner=planner,
            admission=admission,
            realtime=realtime,
            acceptance=acceptance,
            health=health,
            chosen_run=lambda: chosen_run,
            wakes=lambda: WakeRequests(events=InMemoryEvents(), clock=self._clock),
            cache=lambda: cache,
        )

    def ask(self, text: str, request_id: str) -> Trail | TollgateError:
        """What became of one request."""
        trail = Trail(request_id=request_id, owner=OWNER, started=self._clock.monotonic(), traceparent="t")
        try:
            self._inference.infer(InferenceRequest(model="echo", input=text, priority=Priority.HIGH), trail)
        except TollgateError as error:
            return error
        return trail
