"""A gateway whose sleeping endpoint hands on to a provider paid by the token: keeper, submitter and runner of fakes."""

import json
from collections.abc import Callable
from copy import replace
from typing import Any

from tests.fakes.crashes import CrashPoint
from tests.fakes.places import FakePlaces
from tests.fakes.sleepers import ASYNC, Sleepers, standing
from tests.fakes.token_house import TOKENS, TokenHouse, completion, token_catalogue
from tollgate.adapters.dialects import ContainerDialects
from tollgate.domain.budgets.budget import Budget
from tollgate.domain.jobs.job import Job
from tollgate.domain.places.sleeping import Phase
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.queries import JobQueries
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.places.hand_on import HandingOn

GATHERING = """
[models.chat.deployments.gpu]
tier = "small"
dialect = "messages"
instance_type = "ml.g5.xlarge"
timing = { base_seconds = 0.1, seconds_per_output_token = 0.002, expected_output_tokens = 100 }
async = { endpoint = "tollgate-echo-async", concurrency = 8, startup_seconds = 240 }
[models.chat.deployments.gpu.sleep]
idle_minutes = 0
gather = true
hand_on_to = "paid"
"""
BOTH = TOKENS + GATHERING
STARTUP = 240.0
SOON = {"model": "chat", "input": "How far is the moon?", "deadline_seconds": 900}


class HandOnHouse(Sleepers):
    """Asleep, with `paid` beside `gpu`."""

    def __init__(self, text: str = BOTH, *budgets: Budget) -> None:
        self.tokens = TokenHouse()
        super().__init__(catalogue=replace(token_catalogue(text), budgets=budgets))
        self.tokens.gateway, self.tokens.clock, self.tokens.telemetry = self.gateway, self.clock, self.telemetry
        self.gateway.realtime.answer = completion()
        self.endpoints.put(standing(ASYNC, 1, bounds=(0, 4)))
        self.until_asleep(ASYNC)
        self.endpoints.orders.clear()

    def hand_on_to(self, watch: CrashPoint) -> Callable[[], HandingOn]:
        handing_on = HandingOn(
            jobs=watch.watch(self.gateway.jobs, "hand_on"),
            objects=self.gateway.objects,
            queue=watch.watch(self.gateway.async_queue, "send"),
            catalogues=self.gateway.catalogues,
            capacities=self.capacity,
            dialects=ContainerDialects(),
            gate=BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        return lambda: handing_on

    @property
    def handing_on(self) -> HandingOn:
        """What the keeper asks when something is due."""
        handing_on = self.keeper._watch._handing_on
        assert handing_on is not None
        return handing_on()

    @property
    def queries(self) -> JobQueries:
        """What its callers ask of their jobs."""
        return JobQueries(jobs=self.gateway.jobs, objects=self.gateway.objects, clock=self.clock)

    def submitter(self, places: FakePlaces | None = None) -> AsyncSubmitter:
        """What takes messages from the asynchronous queue; it knows of the place that it gathers for."""
        return self.tokens.submitter(places or self.places)

    def come(self, **changes: Any) -> str:
        """A request that may wait a quarter of an hour; the id of its job, whose message has been looked at."""
        answer = self.gateway.infer(SOON | changes, request_id=f"req-{len(self.gateway.jobs.jobs)}")
        assert answer.status == 202, answer.body
        self.messages()
        return str(json.loads(answer.body)["id"])

    def messages(self) -> None:
        """All messages arrive, first those of the asynchronous road."""
        for queue, take in (
            (self.gateway.async_queue, self.submitter().submit),
            (self.gateway.deferred_queue, self.tokens.runner().run),
        ):
            sent, queue.sent = queue.sent, []
            for message in sent:
                take(message.body["job_id"])

    def job(self, name: str) -> Job:
        """The job's record."""
        return self.gateway.jobs.jobs[name]

    @property
    def phase(self) -> Phase:
        """Of the endpoint."""
        return self.record(ASYNC).phase

    @property
    def paid(self) -> int:
        """Calls that the provider got."""
        return len(self.gateway.realtime.calls)

    def until_due(self, count: int = 12) -> None:
        """Let the first of those that wait come near its latest start."""
        for _ in range(count):
            self.calls(1)
            self.messages()
