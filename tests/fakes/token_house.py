"""A gateway with a deployment that is paid by the token, and the functions behind it, made of fakes."""

import json
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from typing import Any

from tests.fakes.budgeted_gateway import make_budget
from tests.fakes.completer import job_completer
from tests.fakes.crashes import CrashPoint
from tests.fakes.gateway import FakeGateway
from tests.fakes.messages import InMemoryQueue
from tests.fakes.places import FakePlaces
from tests.fakes.telemetry import InMemoryHoldingStore, RecordingTelemetry
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, Road
from tollgate.domain.jobs.job import Job
from tollgate.ports.backends import RealtimeBackend
from tollgate.ports.streams import StreamForms, StreamingBackend
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.answers import JobAnswers
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.deferred_calls import DeferredCalls
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.jobs.run_token_job import TokenJobRun
from tollgate.services.jobs.submit_async import AsyncSubmitter

TOKENS = """
[models.chat.deployments.paid]
tier = "small"
timing = { base_seconds = 0.5, seconds_per_output_token = 0.01, expected_output_tokens = 100 }
[models.chat.deployments.paid.tokens]
provider = "openai_http"
model = "gpt-4o-mini"
url = "https://api.example.com/v1"
max_output_tokens = 500
"""
"""Input $0.15, cached input $0.075, output $0.60 for a million tokens, in the price book."""

BEDROCK = """
[models.chat.deployments.bedrock]
tier = "small"
timing = { base_seconds = 0.5, seconds_per_output_token = 0.01, expected_output_tokens = 200 }
[models.chat.deployments.bedrock.tokens]
provider = "bedrock"
model = "us.meta.llama3-1-8b-instruct-v1:0"
price_model = "meta.llama3-1-8b-instruct-v1:0"
max_output_tokens = 2048
"""

INSTANCES = """
[models.chat.deployments.gpu]
tier = "small"
dialect = "messages"
instance_type = "ml.g5.xlarge"
timing = { base_seconds = 0.5, seconds_per_output_token = 0.01, expected_output_tokens = 100 }
realtime = { endpoint = "chat-realtime", utilisation = "0.01" }
async = { endpoint = "chat-async", utilisation = "0.01" }
"""

CHAT = {"model": "chat", "input": "How far is the moon?", "priority": "high"}
LATER = CHAT | {"priority": "medium"}


def token_catalogue(text: str = TOKENS, *, limit: str | None = None) -> Catalogue:
    """The catalogue of a text, with a budget of so many dollars a day where there is one."""
    found = read_catalogue(text, snapshot_book(), region="us-east-1", architecture="arm64", version=1)
    budgets = () if limit is None else (make_budget(limit),)
    return Catalogue(found.version, found.region, found.models, found.gateway_prices, budgets)


def completion(
    prompt: int | None = 20, made: int = 30, *, cached: int | None = None, text: str = "384,400 km"
) -> bytes:
    """A provider's answer; without a count of the prompt it says nothing of tokens."""
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": made}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    message = {"role": "assistant", "content": text}
    document: dict[str, Any] = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    return json.dumps(document if prompt is None else document | {"usage": usage}).encode()


def dollars(prompt: int, made: int, cached: int = 0) -> Decimal:
    """What the model's tokens cost by the price book."""
    in_millionths = (prompt - cached) * Decimal("0.15") + cached * Decimal("0.075") + made * Decimal("0.6")
    return in_millionths / 1_000_000


class OneProvider:
    """The `TokenBackends` of tests: the same backend for every road."""

    def __init__(self, backend: RealtimeBackend) -> None:
        self._backend = backend

    def realtime(self, road: Road) -> RealtimeBackend:
        assert road.tokens is not None
        return self._backend

    def streaming(self, road: Road) -> StreamingBackend:
        raise NotImplementedError(road.target)

    def forms(self, road: Road) -> StreamForms:
        raise NotImplementedError(road.target)


def _no_answers() -> JobAnswers:
    raise AssertionError("No job here has a cache.")


class TokenHouse:
    """What tests look at, and the functions, which a test may kill at any effect."""

    def __init__(self, text: str = TOKENS, *, limit: str | None = None) -> None:
        self.gateway = FakeGateway(catalogue=token_catalogue(text, limit=limit))
        self.gateway.realtime.answer = completion()
        self.telemetry = RecordingTelemetry()
        self.clock = self.gateway.clock

    def completer(self, watch: CrashPoint) -> JobCompleter:
        """Where jobs end."""
        return job_completer(
            jobs=watch.watch(self.gateway.jobs, "change"),
            objects=watch.watch(self.gateway.objects, "put"),
            catalogues=self.gateway.catalogues,
            durations=self.gateway.measurements,
            telemetry=self.telemetry,
            clock=self.clock,
            outcomes=self.gateway.outcomes,
        )

    def completion(self) -> AsyncCompletion:
        """Where answers end that were kept in the bucket; such jobs have no groups."""
        return AsyncCompletion(
            jobs=self.gateway.jobs,
            objects=self.gateway.objects,
            catalogues=self.gateway.catalogues,
            capacities=self.gateway.capacity,
            holding=InMemoryHoldingStore(),
            completer=self.completer(CrashPoint(0)),
            groups=None,  # type: ignore[arg-type]  # see above
            telemetry=self.telemetry,
        )

    def submitter(
        self, places: FakePlaces | None = None, answers: Callable[[], JobAnswers] | None = None
    ) -> AsyncSubmitter:
        """What takes messages from the asynchronous queue; it calls no SageMaker for these jobs."""
        return AsyncSubmitter(
            jobs=self.gateway.jobs,
            catalogues=self.gateway.catalogues,
            preparation=self.preparation(places or FakePlaces()),
            hand_over=self._hand_over(),
            completer=self.completer(CrashPoint(0)),
            answers=answers or _no_answers,
            brakes=self._braked(self.gateway.async_queue),
            runs=self.gateway.deferred_queue,
            telemetry=self.telemetry,
        )

    def preparation(self, places: FakePlaces) -> AsyncPreparation:
        """What makes a job ready for its endpoint."""
        return AsyncPreparation(
            jobs=self.gateway.jobs,
            catalogues=self.gateway.catalogues,
            requests=JobRequests(ContainerDialects(), self.gateway.objects),
            hand_over=self._hand_over(),
            completer=self.completer(CrashPoint(0)),
            brakes=self._braked(self.gateway.async_queue),
            places=places,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def _hand_over(self) -> AsyncHandOver:
        return AsyncHandOver(
            jobs=self.gateway.jobs,
            objects=self.gateway.objects,
            backend=None,  # type: ignore[arg-type]  # a call to it would be the failure
            completer=self.completer(CrashPoint(0)),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def _braked(self, queue: InMemoryQueue) -> BrakedJobs:
        gate = BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock)
        return BrakedJobs(gate=gate, catalogues=self.gateway.catalogues, queue=queue, telemetry=self.telemetry)

    def runner(self, point: CrashPoint | None = None) -> DeferredRun:
        """What takes messages from the queue of calls that have to be waited for."""
        watch = point or CrashPoint(0)
        requests = JobRequests(ContainerDialects(), self.gateway.objects)
        run = TokenJobRun(
            jobs=watch.watch(self.gateway.jobs, "change"),
            objects=watch.watch(self.gateway.objects, "put"),
            catalogues=self.gateway.catalogues,
            requests=requests,
            providers=OneProvider(watch.watch(self.gateway.realtime, "invoke")),
            completer=self.completer(watch),
            queue=self.gateway.deferred_queue,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        by_token: Callable[[], TokenJobRun] = lambda: run  # noqa: E731 -- it is handed on
        return DeferredRun(
            jobs=self.gateway.jobs,
            catalogues=self.gateway.catalogues,
            brakes=self._braked(self.gateway.deferred_queue),
            places=FakePlaces(),
            wakes=self.gateway.wakes,
            calls=DeferredCalls(
                jobs=self.gateway.jobs,
                objects=self.gateway.objects,
                requests=requests,
                backend=self.gateway.realtime,
                completer=self.completer(watch),
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            by_token=by_token,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def at_rate(self, version: int, usd_per_million_output: str) -> None:
        """Apply a catalogue with other rates; the ones before it stay on record."""
        catalogues = self.gateway.catalogues
        catalogues.earlier[catalogues.catalogue.version] = catalogues.catalogue
        rates = f'usd_per_million_input_tokens = "0"\nusd_per_million_output_tokens = "{usd_per_million_output}"\n'
        catalogues.catalogue = replace(token_catalogue(TOKENS + rates, limit="1"), version=version)

    def accept(self, **changes: Any) -> str:
        """Send a request that may wait; the id of its job, whose message lies in the asynchronous queue."""
        answer = self.gateway.infer(LATER | changes)
        assert answer.status == 202, answer.body
        return str(json.loads(answer.body)["id"])

    def job(self, job_id: str) -> Job:
        """The job's record."""
        return self.gateway.jobs.jobs[job_id]
