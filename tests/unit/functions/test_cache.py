"""The cache function: what a caller may ask of the cache itself, and stale answers made anew."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.cache.app import Services, handle
from local.openapi.cache_answers import CacheDeleted, CacheLookup, CacheValue, CacheValueKept
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document, proxy_event
from tests.fakes.messages import InMemoryEvents
from tests.fakes.retrieval import InMemoryRetrieval
from tests.fakes.telemetry import RecordingTelemetry
from tests.unit.template_document import ROOT
from tollgate.api.cache_routes import CacheApi
from tollgate.api.cache_wishes import LONGEST_SECONDS, MODES
from tollgate.api.message_fields import MessageError
from tollgate.api.telemetry import Telemetry
from tollgate.domain.brakes import BrakeLevel, BrakePolicy, BrakeStep, Control
from tollgate.domain.budgets import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache_control import CacheMode
from tollgate.domain.cache_policy import DAY_SECONDS, CachePolicy
from tollgate.domain.errors import BackendTimeoutError, InvalidRequestError
from tollgate.domain.near_policy import NearPolicy
from tollgate.services.manage_cache import CacheManager
from tollgate.services.near_upkeep import NearUpkeep
from tollgate.services.refresh_answers import INLINE_BYTES, AnswerRefresher, RefreshOrders

BODY: dict[str, Any] = {"model": "echo", "input": "hello there", "priority": "high"}


class Stack:
    """A gateway and the cache function beside it, over the same stores."""

    def __init__(self, **policy: Any) -> None:
        catalogue = make_catalogue()
        model = replace(catalogue.models["echo"], cache=CachePolicy(**policy))
        self.gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}))
        self.telemetry = RecordingTelemetry()
        self.orders = InMemoryEvents()
        gateway = self.gateway
        manager = CacheManager(
            answers=gateway.answers,
            values=InMemoryRetrieval(),
            catalogues=gateway.catalogues,
            clock=gateway.clock,
            near=gateway.near_index,
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


def test_a_lookup_costs_no_inference() -> None:
    """A miss with its estimate, then a hit with the whole answer, and never a run."""
    stack = Stack()
    status, missing, _ = stack.call("POST /v1/cache/lookup", BODY)
    assert (status, missing["cache"]) == (200, "miss")
    CacheLookup.model_validate(missing)
    assert not stack.gateway.realtime.calls
    answered = document(stack.gateway.infer(BODY))
    stack.gateway.clock.advance(3)
    status, found, headers = stack.call("POST /v1/cache/lookup", BODY)
    CacheLookup.model_validate(found)
    assert (status, found["cache"], found["output"]) == (200, "hit", answered["output"])
    assert (headers["Age"], headers["x-tollgate-cost-usd"]) == ("3", "0")
    assert len(stack.gateway.realtime.calls) == 1


def test_a_lookup_sees_only_what_the_caller_could_get() -> None:
    """Another tenant, another namespace, and a temperature that goes past the cache."""
    stack = Stack()
    stack.gateway.infer(BODY)
    assert stack.call("POST /v1/cache/lookup", BODY, tenant="other")[1]["cache"] == "miss"
    assert stack.call("POST /v1/cache/lookup", BODY | {"cache": {"namespace": "x"}})[1]["cache"] == "miss"
    hot = BODY | {"parameters": {"temperature": 1.5}}
    assert stack.call("POST /v1/cache/lookup", hot)[1]["cache"] == "bypass"
    stack.gateway.catalogues.catalogue = make_catalogue()
    assert stack.call("POST /v1/cache/lookup", BODY)[0] == 400


def test_one_entry_is_forgotten_by_its_key() -> None:
    """At once, by its own tenant only."""
    stack = Stack()
    stack.gateway.infer(BODY)
    key = stack.call("POST /v1/cache/lookup", BODY)[1]["key"]
    assert stack.call("DELETE /v1/cache", query={"key": key}, tenant="other")[0] == 404
    assert stack.state() == "hit"
    status, deleted, _ = stack.call("DELETE /v1/cache", query={"key": key})
    CacheDeleted.model_validate(deleted)
    assert status == 200
    assert stack.state() == "miss"


@pytest.mark.parametrize("query", [{"model": "echo"}, {"namespace": "mine"}, {"all": "true"}])
def test_entries_are_forgotten_by_name(query: dict[str, str]) -> None:
    """Of the caller's tenant; another tenant's stay."""
    stack = Stack()
    body = BODY | {"cache": {"namespace": "mine"}}
    stack.gateway.infer(body)
    stack.gateway.infer(body, tenant="other")
    assert stack.call("DELETE /v1/cache", query=query)[0] == 200
    stack.gateway.clock.advance(5)
    assert stack.state(body) == "miss"
    assert stack.gateway.infer(body, tenant="other").headers["x-tollgate-cache"] == "hit"


def test_a_shared_namespace_is_forgotten_by_an_administrator() -> None:
    """One of its many users may not empty it for the others."""
    stack = Stack(shared_namespaces=frozenset({"faq"}))
    body = BODY | {"cache": {"namespace": "faq"}}
    stack.gateway.infer(body)
    assert stack.call("DELETE /v1/cache", query={"namespace": "faq"})[0] == 403
    assert stack.call("DELETE /v1/cache", query={"namespace": "faq"}, scopes="admin", tenant="ops")[0] == 200
    stack.gateway.clock.advance(5)
    assert stack.state(body) == "miss"


@pytest.mark.parametrize("query", [None, {"model": "a", "key": "b"}, {"all": "yes"}, {"other": "x"}])
def test_a_deletion_names_exactly_one_thing(query: dict[str, str] | None) -> None:
    """Nothing is emptied by mistake."""
    status, body, _ = Stack().call("DELETE /v1/cache", query=query)
    assert (status, body["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"model": "nope"}, 404),
        ({"model": "m" * 3000}, 404),
        ({"namespace": "n" * 64}, 400),
        ({"namespace": "a#b"}, 400),
    ],
)
def test_only_names_that_can_have_answers_are_noted_as_forgotten(query: dict[str, str], status: int) -> None:
    """All of a tenant's notes share one item; names out of nowhere would fill it up."""
    stack = Stack()
    found, body, _ = stack.call("DELETE /v1/cache", query=query)
    assert (found, body["error"]["param"]) == (status, *query)
    assert not stack.gateway.answers.calls


def test_the_scope_is_asked_for() -> None:
    """A key that may only read can neither look into answers nor forget them."""
    for route in ("POST /v1/cache/lookup", "DELETE /v1/cache", "GET /v1/cache/{namespace}/{key}"):
        assert Stack().call(route, BODY, scopes="read")[0] == 403
    assert Stack().call("POST /v1/cache", BODY)[0] == 404


PLACE = {"namespace": "chunks", "key": "q 1/ü"}
VALUE_ROUTE = "/v1/cache/{namespace}/{key}"


def test_a_clients_own_result_is_kept_for_its_time() -> None:
    """Written, read with its age, expired to the second, forgotten; another tenant sees nothing."""
    stack = Stack()
    chunks = [{"text": "a", "score": 0.25}]
    status, kept, _ = stack.call(f"PUT {VALUE_ROUTE}", {"value": chunks, "ttl": 60}, path=PLACE)
    assert status == 200
    CacheValueKept.model_validate(kept)
    stack.gateway.clock.advance(59)
    status, found, headers = stack.call(f"GET {VALUE_ROUTE}", path=PLACE)
    CacheValue.model_validate(found)
    assert (status, found["value"], headers["Age"]) == (200, chunks, "59")
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE, tenant="other")[0] == 404
    stack.gateway.clock.advance(1)
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE)[0] == 404
    stack.call(f"PUT {VALUE_ROUTE}", {"value": None}, path=PLACE)
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE)[1]["value"] is None
    assert stack.call(f"DELETE {VALUE_ROUTE}", path=PLACE)[0] == 200
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE)[0] == 404


@pytest.mark.parametrize(
    ("body", "place", "status"),
    [
        ({"value": "x" * 300_001}, PLACE, 413),
        ({"value": 1, "ttl": 0}, PLACE, 400),
        ({"value": 1, "ttl": True}, PLACE, 400),
        ({"value": 1, "more": 1}, PLACE, 400),
        ({"ttl": 5}, PLACE, 400),
        ([1], PLACE, 400),
        ({"value": 1}, {"namespace": "a b", "key": "k"}, 400),
        ({"value": 1}, {"namespace": "a", "key": "k" * 513}, 400),
    ],
)
def test_what_cannot_be_kept_is_refused(body: Any, place: dict[str, str], status: int) -> None:
    """Too large, for no time, of the wrong shape or name."""
    assert Stack().call(f"PUT {VALUE_ROUTE}", body, path=place)[0] == status


def test_one_refresh_makes_the_answer_anew() -> None:
    """Five readers of a stale answer leave one order; carried out twice, it runs once."""
    stack = Stack(stale_seconds=600)
    orders = stack.stale_orders()
    assert len(orders) == 1
    stack.gateway.realtime.answer = b'{"label": "new"}'
    for _ in range(2):
        stack.parts.refresher.carry_out(json.loads(json.dumps(orders[0])))
    assert len(stack.gateway.realtime.calls) == 2
    answer = stack.gateway.infer(BODY)
    assert answer.headers["x-tollgate-cache"] == "hit"
    assert document(answer)["output"] == {"label": "new"}
    (record,) = stack.telemetry.requests
    assert record.owner is not None
    assert (record.owner.tenant, record.outcome) == ("acme", "completed")
    assert record.effective_cost is not None
    assert record.effective_cost > 0


def test_an_order_that_comes_too_late_does_nothing() -> None:
    """Its lease ended, and somebody else may have ordered again."""
    stack = Stack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.clock.advance(60)
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1


def test_a_failed_refresh_leaves_the_stale_answer_and_frees_the_lease() -> None:
    """The failure is on record; the next reader gets the stale answer and orders again."""
    stack = Stack(stale_seconds=600)
    (order,) = stack.stale_orders()
    stack.gateway.realtime.answer = BackendTimeoutError("no answer")
    stack.parts.refresher.carry_out(order)
    assert [record.outcome for record in stack.telemetry.requests] == ["failed"]
    assert stack.state() == "stale"
    assert len(stack.gateway.refreshes) == 2


def test_a_refresh_during_a_stop_runs_nothing() -> None:
    """The order is done with, no money is held or spent, and the stale answer is still there afterwards."""
    stack = Stack(stale_seconds=600)
    (order,) = stack.stale_orders()
    gateway = stack.gateway
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(1))
    brakes = BrakePolicy(steps=(BrakeStep(Decimal(100), BrakeLevel.STOP),))
    before = gateway.catalogues.catalogue
    gateway.catalogues.catalogue = replace(before, brakes=brakes, budgets=(budget,))
    gateway.brakes.control = Control(revision=1, level=BrakeLevel.STOP)
    stack.parts.refresher.carry_out(order)
    assert len(gateway.realtime.calls) == 1
    assert gateway.ledger.counters == {}
    assert [(r.outcome, r.error_code) for r in stack.telemetry.requests] == [("rejected", "SpendStoppedError")]
    gateway.catalogues.catalogue = before
    assert stack.state() == "stale"


def test_a_large_order_travels_through_the_bucket() -> None:
    """A message holds little; an order whose object is gone is dropped."""
    stack = Stack(stale_seconds=600)
    body = BODY | {"input": "x" * INLINE_BYTES}
    (order,) = stack.stale_orders(body)
    assert set(order) == {"kind", "stored"}
    stack.parts.refresher.carry_out(order)
    assert stack.state(body) == "hit"
    stack.parts.refresher.carry_out({"kind": "refresh", "stored": "cache/refresh/gone"})
    assert len(stack.gateway.realtime.calls) == 2


def test_a_refresh_under_another_catalogue_is_given_up() -> None:
    """The request has another key now; its old entry is left to its time."""
    stack = Stack(stale_seconds=600)
    (order,) = stack.stale_orders()
    model = replace(stack.gateway.catalogue.models["echo"], cache=CachePolicy(version="2"))
    stack.gateway.catalogues.catalogue = replace(stack.gateway.catalogue, version=2, models={"echo": model})
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1


def test_no_route_of_the_cache_starts_an_inference() -> None:
    """Whatever is asked of it, no model is called, no job written, nothing queued."""
    stack = Stack(stale_seconds=600)
    stack.stale_orders()
    ordered = len(stack.gateway.refreshes)
    for priority in ("high", "medium", "low"):
        stack.call("POST /v1/cache/lookup", BODY | {"priority": priority})
        stack.call("POST /v1/cache/lookup", BODY | {"priority": priority, "input": "unknown"})
    stack.call(f"PUT {VALUE_ROUTE}", {"value": 1}, path=PLACE)
    stack.call("DELETE /v1/cache", query={"all": "true"})
    assert len(stack.gateway.realtime.calls) == 1
    assert len(stack.gateway.refreshes) == ordered
    assert not stack.gateway.jobs.jobs
    assert not stack.gateway.async_queue.sent


def test_a_refresh_passes_admission() -> None:
    """With a budget that has nothing left, the order is not carried out, and the stale answer stays."""
    stack = Stack(stale_seconds=600)
    (order,) = stack.stale_orders()
    budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal("0.000001"))
    stack.gateway.catalogues.catalogue = replace(stack.gateway.catalogue, budgets=(budget,))
    stack.parts.refresher.carry_out(order)
    assert len(stack.gateway.realtime.calls) == 1
    assert [record.outcome for record in stack.telemetry.requests] == ["rejected"]
    assert stack.state() == "stale"


def test_an_order_for_an_entry_that_is_not_there_is_done_with() -> None:
    """The sample of the gateway's order: nothing runs and nothing is raised, so that it does not come again."""
    event = json.loads((ROOT / "events" / "cache" / "refresh.json").read_text())
    stack = Stack()
    assert handle(event, stack.parts) is None
    assert stack.gateway.realtime.calls == []


@pytest.mark.parametrize(
    "order",
    [{"kind": "refresh"}, {"kind": "refresh", "ticket": {"shape": "odd"}, "request_id": "r", "owner": None}],
)
def test_an_order_that_nobody_understands_says_why(order: dict[str, Any]) -> None:
    """It is raised, so that Lambda puts it among the dead letters with the reason; nothing runs."""
    stack = Stack()
    with pytest.raises(InvalidRequestError, match="No order to make an answer anew"):
        handle(order, stack.parts)
    assert stack.gateway.realtime.calls == []
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["order not understood"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "missing or wrong: model"),
        ({"made_ms": "today", "expires_s": 1.5}, "missing or wrong: made_ms, expires_s"),
        ({"beside": {"key": "k"}}, "missing or wrong: made_ms"),
        ({"beside": "k"}, "No order to file"),
        ({"vector": "abc"}, "No order to file"),
    ],
)
def test_an_order_to_file_that_nobody_understands_says_why(changes: dict[str, Any], reason: str) -> None:
    """Whatever is missing or of the wrong type is named; nothing is filed."""
    order = json.loads((ROOT / "events" / "cache" / "near.json").read_text())
    stack = Stack(near=NearPolicy())
    with pytest.raises(InvalidRequestError, match=reason):
        handle(order | changes, stack.parts)
    assert stack.gateway.near_index.filed == {}
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["order not understood"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"kind": "dance"}, "unknown kind 'dance'"),
        ({"kind": ["refresh"]}, "no 'kind'"),
        ({"source": "aws.events"}, "no 'kind'"),
    ],
)
def test_an_event_of_an_unknown_kind_says_so(event: dict[str, Any], reason: str) -> None:
    """It is no call that nobody answers: it is raised, so that it ends among the dead letters with the reason."""
    stack = Stack()
    with pytest.raises(MessageError, match=reason):
        handle(event, stack.parts)
    assert [message for level, message, _ in stack.telemetry.lines if level == "ERROR"] == ["event not understood"]


@pytest.mark.parametrize("sample", ["lookup", "forget_model", "keep_value", "get_value", "drop_value"])
def test_every_sample_is_answered(sample: str) -> None:
    """Each reaches its route: 200, or 404 where the thing is not there."""
    event = json.loads((ROOT / "events" / "cache" / f"{sample}.json").read_text())
    answer = handle(event, Stack().parts)
    assert answer is not None
    assert answer["statusCode"] in {200, 404}


def test_words_that_are_written_twice_agree() -> None:
    """The bodies' rules are there without importing the domain's."""
    assert list(MODES) == [mode.value for mode in CacheMode]
    assert LONGEST_SECONDS == DAY_SECONDS
