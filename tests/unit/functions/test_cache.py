"""The cache function's routes: what a caller may ask of the cache itself."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from functions.cache.app import handle
from local.openapi.cache_answers import CacheDeleted, CacheLookup, CacheValue, CacheValueKept
from tests.fakes.budgeted_gateway import make_budget
from tests.fakes.cache_function import BODY, CacheStack
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import document
from tests.unit.template_document import ROOT
from tollgate.api.cache_wishes import LONGEST_SECONDS, MODES
from tollgate.domain.budgets.budget import ScopeKind
from tollgate.domain.cache.control import CacheMode
from tollgate.domain.cache.policy import DAY_SECONDS
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import CatalogueError, NoCatalogueError, OutcomeUnknownError, StorageError


def test_a_lookup_costs_no_inference() -> None:
    """A miss with its estimate, then a hit with the whole answer, and never a run."""
    stack = CacheStack()
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
    stack = CacheStack()
    stack.gateway.infer(BODY)
    assert stack.call("POST /v1/cache/lookup", BODY, tenant="other")[1]["cache"] == "miss"
    assert stack.call("POST /v1/cache/lookup", BODY | {"cache": {"namespace": "x"}})[1]["cache"] == "miss"
    hot = BODY | {"parameters": {"temperature": 1.5}}
    assert stack.call("POST /v1/cache/lookup", hot)[1]["cache"] == "bypass"
    stack.gateway.catalogues.catalogue = make_catalogue()
    assert stack.call("POST /v1/cache/lookup", BODY)[0] == 400


def test_one_entry_is_forgotten_by_its_key() -> None:
    """At once, by its own tenant only."""
    stack = CacheStack()
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
    stack = CacheStack()
    body = BODY | {"cache": {"namespace": "mine"}}
    stack.gateway.infer(body)
    stack.gateway.infer(body, tenant="other")
    assert stack.call("DELETE /v1/cache", query=query)[0] == 200
    stack.gateway.clock.advance(5)
    assert stack.state(body) == "miss"
    assert stack.gateway.infer(body, tenant="other").headers["x-tollgate-cache"] == "hit"


def test_a_shared_namespace_is_forgotten_by_an_administrator() -> None:
    """One of its many users may not empty it for the others."""
    stack = CacheStack(shared_namespaces=frozenset({"faq"}))
    body = BODY | {"cache": {"namespace": "faq"}}
    stack.gateway.infer(body)
    assert stack.call("DELETE /v1/cache", query={"namespace": "faq"})[0] == 403
    assert stack.call("DELETE /v1/cache", query={"namespace": "faq"}, scopes="admin", tenant="ops")[0] == 200
    stack.gateway.clock.advance(5)
    assert stack.state(body) == "miss"


@pytest.mark.parametrize("query", [None, {"model": "a", "key": "b"}, {"all": "yes"}, {"other": "x"}])
def test_a_deletion_names_exactly_one_thing(query: dict[str, str] | None) -> None:
    """Nothing is emptied by mistake."""
    status, body, _ = CacheStack().call("DELETE /v1/cache", query=query)
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
    stack = CacheStack()
    found, body, _ = stack.call("DELETE /v1/cache", query=query)
    assert (found, body["error"]["param"]) == (status, *query)
    assert not stack.gateway.answers.calls


def test_the_scope_is_asked_for() -> None:
    """A key that may only read can neither look into answers nor forget them."""
    for route in ("POST /v1/cache/lookup", "DELETE /v1/cache", "GET /v1/cache/{namespace}/{key}"):
        assert CacheStack().call(route, BODY, scopes="read")[0] == 403
    assert CacheStack().call("POST /v1/cache", BODY)[0] == 404


PLACE = {"namespace": "chunks", "key": "q 1/ü"}
VALUE_ROUTE = "/v1/cache/{namespace}/{key}"


def test_a_clients_own_result_is_kept_for_its_time() -> None:
    """Written, read with its age, expired to the second, forgotten; another tenant sees nothing."""
    stack = CacheStack()
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
        ({"value": "\u20ac" * 100_001}, PLACE, 413),
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
    assert CacheStack().call(f"PUT {VALUE_ROUTE}", body, path=place)[0] == status


def test_no_route_of_the_cache_starts_an_inference() -> None:
    """Whatever is asked of it, no model is called, no job written, nothing queued."""
    stack = CacheStack(stale_seconds=600)
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


@pytest.mark.parametrize("sample", ["lookup", "forget_model", "keep_value", "get_value", "drop_value"])
def test_every_sample_is_answered(sample: str) -> None:
    """Each reaches its route: 200, or 404 where the thing is not there."""
    event = json.loads((ROOT / "events" / "cache" / f"{sample}.json").read_text())
    answer = handle(event, CacheStack().parts)
    assert answer is not None
    assert answer["statusCode"] in {200, 404}


def test_words_that_are_written_twice_agree() -> None:
    """The bodies' rules are there without importing the domain's."""
    assert list(MODES) == [mode.value for mode in CacheMode]
    assert LONGEST_SECONDS == DAY_SECONDS


def _budgeted_stack(limit: str) -> CacheStack:
    stack = CacheStack()
    catalogues = stack.gateway.catalogues
    catalogues.catalogue = replace(catalogues.catalogue, budgets=(make_budget(limit), make_budget("9", ScopeKind.KEY)))
    return stack


def test_a_value_is_paid_for_by_its_size() -> None:
    """By the gateway's budget and the key's: a unit for each KB; nothing stays held."""
    stack = _budgeted_stack("5")
    for size in (10, 250_000):
        assert stack.call(f"PUT {VALUE_ROUTE}", {"value": "x" * size}, path=PLACE)[0] == 200
    gateway, key = stack.gateway.ledger.counters.values()
    assert gateway.spent == gateway.committed == key.spent == key.committed
    assert Decimal("0.00015") < gateway.spent < Decimal("0.00025")


@pytest.mark.parametrize("limit", ["5", None])
def test_what_a_value_costs_is_in_its_answer_and_in_usage(limit: str | None) -> None:
    """To the cent, and with or without budgets; it is no request."""
    stack = CacheStack() if limit is None else _budgeted_stack(limit)
    status, _, headers = stack.call(f"PUT {VALUE_ROUTE}", {"value": "x" * 5_000}, path=PLACE, request_id="req-7")
    assert status == 200
    (record,) = stack.telemetry.requests
    assert (record.request_id, record.resource, record.outcome) == ("req-7#kept", "", "completed")
    assert record.owner is not None
    assert record.effective_cost == record.charged_cost == Decimal(headers["x-tollgate-cost-usd"]) > 0
    assert {counter.spent for counter in stack.gateway.ledger.counters.values()} <= {record.charged_cost}


def test_a_budget_with_nothing_left_refuses_a_value() -> None:
    """Before anything is written."""
    stack = _budgeted_stack("0.000001")
    status, body, headers = stack.call(f"PUT {VALUE_ROUTE}", {"value": "x"}, path=PLACE)
    assert (status, body["error"]["code"], headers["x-should-retry"]) == (429, "insufficient_quota", "false")
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE)[0] == 404


@pytest.mark.parametrize(("error", "paid"), [(StorageError("x"), False), (OutcomeUnknownError("x"), True)])
def test_a_value_that_was_not_written_is_not_paid_for(error: StorageError, *, paid: bool) -> None:
    """One that may have been is."""
    stack = _budgeted_stack("5")

    def fail(*_: Any) -> None:
        raise error

    stack.values.put = fail  # type: ignore[assignment,method-assign]  # a table that fails
    assert stack.call(f"PUT {VALUE_ROUTE}", {"value": "x"}, path=PLACE)[0] == 503
    for counter in stack.gateway.ledger.counters.values():
        assert counter.committed == counter.spent
        assert bool(counter.spent) is paid
    assert [record.charged_cost for record in stack.telemetry.requests] == [counter.spent] * paid


@pytest.mark.parametrize(("error", "status"), [(NoCatalogueError("none"), 200), (CatalogueError("gone"), 503)])
def test_without_a_catalogue_there_is_no_budget_for_a_value(
    monkeypatch: pytest.MonkeyPatch, error: CatalogueError, status: int
) -> None:
    """On a new stack it is kept all the same; a catalogue that cannot be read is another matter."""
    stack = CacheStack()

    def current() -> Catalogue:
        raise error

    monkeypatch.setattr(stack.gateway.catalogues, "current", current)
    assert stack.call(f"PUT {VALUE_ROUTE}", {"value": "x"}, path=PLACE)[0] == status
    assert stack.call(f"GET {VALUE_ROUTE}", path=PLACE)[0] == (200 if status == 200 else 404)
