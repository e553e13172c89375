"""A gateway made of fakes, and the cache function beside it."""

import json
from copy import replace
from typing import Any

from functions.cache.app import Services, handle
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, proxy_event
from tests.fakes.messages import InMemoryEvents
from tests.fakes.retrieval import InMemoryRetrieval
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.api.cache_routes import CacheApi
from tollgate.api.telemetry import Telemetry
from tollgate.domain.cache.policy import CachePolicy
from tollgate.services.cache.manage import CacheManager
from tollgate.services.cache.near_upkeep import NearUpkeep
from tollgate.services.cache.refresh_answers import AnswerRefresher, RefreshOrders

BODY: dict[str, Any] = {"model": "echo", "input": "hello there", "priority": "high"}


class CacheStack:
    """A gateway and the cache function beside it, over the same stores."""

    def __init__(self, **policy: Any) -> None:
        catalogue = make_catalogue()
        model = replace(catalogue.models["echo"], cache=CachePolicy(**policy))
        self.gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}))
        self.telemetry = RecordingTelemetry()
        self.orders = InMemoryEvents()
        gateway = self.gateway
        self.values = InMemoryRetrieval()
        manager = CacheManager(
            answers=gateway.answers,
            values=self.values,
            catalogues=gateway.catalogues,
            admission=gateway.admission,
            clock=gateway.clock,
            ids=gateway.ids,
            near=gateway.near_index,
            telemetry=self.telemetry,
        )
        upkeep = NearUpkeep(
            index=gateway.near_index,
            answers=gateway.answers,
            catalogues=gateway.catalogues,
            telemetry=self.telemetry,
            clock=gateway.clock,
            sentences=lambda text: gateway.sentences(text),  # noqa: PLW0108 -- tests change it later
        )
        lines = Telemetry(namespace="Tollgate", service="tollgate", write=lambda _: None)
        self.parts = Services(
            CacheApi(inference=gateway.inference, manager=manager, telemetry=lines, clock=gateway.clock),
            AnswerRefresher(
                inference=gateway.inference,
                store=gateway.answers,
                objects=gateway.objects,
                telemetry=self.telemetry,
                clock=gateway.clock,
                compare=upkeep.compare,
            ),
            upkeep,
            self.telemetry,
        )

    def call(self, route: str, body: Any = None, **options: Any) -> tuple[int, Any, dict[str, str]]:
        text = None if body is None else json.dumps(body)
        answer = handle(proxy_event(route, text, **options), self.parts)
        assert answer is not None
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]

    def stale_orders(self, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The orders that five readers of a stale answer leave."""
        self.gateway.infer(body or BODY)
        self.gateway.clock.advance(700)
        for _ in range(5):
            assert self.gateway.infer(body or BODY).headers["x-tollgate-cache"] == "stale"
        for run, ticket in self.gateway.refreshes:
            RefreshOrders(self.orders, self.gateway.objects).order(run, ticket)
        return [dict(message) for message in self.orders.bodies]

    def state(self, body: dict[str, Any] | None = None) -> str:
        return self.gateway.infer(body or BODY).headers["x-tollgate-cache"]
