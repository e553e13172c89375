"""The answer cache at the gateway: what is given again, to whom and at what cost."""

import json
from copy import replace
from decimal import Decimal

import pytest

from tests.fakes.cached_gateway import BODY, CHAT, ask, cached, gateway, now_ms, state, with_budget
from tests.fakes.gateway import FakeGateway, document
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import ModelKind
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError


def test_the_second_time_is_a_hit_at_no_cost() -> None:
    """The model runs once; the hit says its age, costs 0, and says what was avoided."""
    api = gateway()
    first = ask(api)
    api.clock.advance(7)
    second = ask(api)
    assert (state(first), state(second)) == ("miss", "hit")
    assert len(api.realtime.calls) == 1
    assert document(second)["output"] == document(first)["output"]
    assert document(second)["id"] != document(first)["id"]
    assert second.headers["Age"] == "7"
    assert second.headers["x-tollgate-cost-usd"] == "0"
    assert Decimal(second.headers["x-tollgate-avoided-cost-usd"]) > 0
    assert "Age" not in first.headers


def test_a_hit_is_one_read_and_no_write() -> None:
    """Neither the lease nor a budget is touched."""
    api = FakeGateway(catalogue=with_budget(cached(), Decimal(1)))
    ask(api)
    api.answers.calls.clear()
    committed = dict(api.ledger.counters)
    assert state(ask(api)) == "hit"
    assert api.answers.calls == ["read"]
    assert api.ledger.counters == committed


def test_a_spent_budget_does_not_refuse_what_is_free() -> None:
    """A hit takes nothing from a budget, so a budget with nothing left serves it; a miss is refused."""
    api = gateway()
    ask(api)
    api.catalogues.catalogue = with_budget(api.catalogue, Decimal("0.0000000001"))
    assert state(ask(api)) == "hit"
    assert api.infer(BODY | {"input": "something else"}).status == 429


def test_calls_of_a_run_count_even_when_they_are_hits() -> None:
    """An agent that goes round in circles meets its limit of calls although each of them is free."""
    api = gateway()
    budget = Budget(kind=ScopeKind.WORKFLOW, subject="*", period=BudgetPeriod.TOTAL, limit_usd=Decimal(1), max_calls=3)
    api.catalogues.catalogue = replace(api.catalogue, budgets=(budget,))
    run = {"x-tollgate-workflow": "run-1"}
    states = [api.infer(BODY, headers=run) for _ in range(4)]
    assert [answer.headers.get("x-tollgate-cache") for answer in states[:3]] == ["miss", "hit", "hit"]
    assert states[3].status == 429
    assert len(api.realtime.calls) == 1


def test_an_expired_answer_is_not_given() -> None:
    """At the end of its time, to the second, the model runs again, although the item is still in the table."""
    api = gateway(ttl_seconds=600)
    ask(api)
    api.clock.advance(599)
    assert state(ask(api)) == "hit"
    api.clock.advance(1.5)
    assert state(ask(api)) == "miss"
    assert len(api.realtime.calls) == 2


def test_a_model_without_a_policy_has_no_cache() -> None:
    """Nothing is read, and no header pretends."""
    api = FakeGateway()
    answer = ask(api)
    assert "x-tollgate-cache" not in answer.headers
    assert not api.answers.calls


def test_tenants_do_not_share() -> None:
    """The same words under another key are a miss, in a private namespace of the same name too."""
    api = gateway()
    ask(api, {"cache": {"namespace": "team"}})
    assert state(ask(api, {"cache": {"namespace": "team"}}, tenant="other")) == "miss"
    assert state(ask(api, {"cache": {"namespace": "team"}})) == "hit"


def test_a_declared_namespace_is_shared_by_those_who_name_it() -> None:
    """Both name it; a tenant that does not still gets nothing of it."""
    api = gateway(shared_namespaces=frozenset({"faq"}))
    ask(api, {"cache": {"namespace": "faq"}})
    assert state(ask(api, {"cache": {"namespace": "faq"}}, tenant="other")) == "hit"
    assert state(ask(api, tenant="other")) == "miss"


def test_an_input_that_the_model_refuses_is_remembered_briefly() -> None:
    """A 4xx of the container is answered again without the container, until its short time is over."""
    api = gateway(negative_seconds=30)
    api.realtime.answer = ModelFailedError("too long", original_status=413)
    first, second = ask(api), ask(api)
    assert (first.status, second.status, state(second)) == (400, 400, "hit")
    assert document(first)["error"] == document(second)["error"]
    assert second.headers["x-tollgate-cost-usd"] == "0"
    api.clock.advance(31)
    assert state(ask(api)) == "miss"
    assert len(api.realtime.calls) == 2


@pytest.mark.parametrize(
    "error",
    [
        ModelFailedError("busy", original_status=429),
        ModelFailedError("broken", original_status=500),
        ModelFailedError("slow", original_status=408),
        ModelFailedError("its own key has expired", original_status=401),
        ModelFailedError("its model is not loaded", original_status=404),
        BackendTimeoutError("no answer"),
    ],
)
def test_passing_failures_are_not_remembered(error: Exception) -> None:
    """The next caller runs at once: nothing is kept, and the lease is given back."""
    api = gateway()
    api.realtime.answer = error
    assert api.infer(BODY).status >= 400
    api.realtime.answer = b'{"label": "en"}'
    assert state(ask(api)) == "miss"
    assert state(ask(api)) == "hit"


def test_an_answer_that_is_not_whole_is_not_kept() -> None:
    """A chat model whose answer is no text, or was stopped by a filter."""
    api = gateway()
    echo = replace(api.catalogue.models["echo"], kind=ModelKind.CHAT)
    api.catalogues.catalogue = replace(api.catalogue, models={"echo": echo})
    filtered = b'{"text": "I", "finish_reason": "content_filter"}'
    for answer in (b'{"label": "en"}', filtered):
        api.realtime.answer = answer
        ask(api)
        assert all(row.slot.answer is None for row in api.answers.rows.values())
    api.realtime.answer = CHAT
    ask(api)
    assert state(ask(api)) == "hit"


def test_a_stale_answer_is_given_at_once_and_refreshed_once() -> None:
    """However many ask while the refresh is under way, one was ordered; afterwards the answer is fresh."""
    api = gateway(ttl_seconds=10, stale_seconds=60)
    ask(api)
    api.clock.advance(30)
    answers = [ask(api) for _ in range(5)]
    assert [state(answer) for answer in answers] == ["stale"] * 5
    assert answers[0].headers["x-tollgate-cost-usd"] == "0"
    assert (len(api.realtime.calls), len(api.refreshes)) == (1, 1)
    api.clock.advance(41)
    assert state(ask(api)) == "miss"


def test_a_refresh_that_got_lost_is_ordered_again() -> None:
    """Its lease ends, and the next reader orders another."""
    api = gateway(ttl_seconds=10, stale_seconds=600)
    ask(api)
    api.clock.advance(30)
    ask(api)
    api.clock.advance(61)
    ask(api)
    assert len(api.refreshes) == 2


def test_a_stale_answer_helps_out_when_the_model_fails() -> None:
    """Within its time; a request that insists on a fresh one gets the error."""
    api = gateway(ttl_seconds=10, stale_if_error_seconds=600)
    ask(api)
    api.clock.advance(30)
    api.realtime.answer = BackendTimeoutError("no answer")
    answer = ask(api)
    assert (answer.status, state(answer), answer.headers["Age"]) == (200, "stale", "30")
    (record,) = [line for line in api.lines if line.get("message") == "request"][-1:]
    assert Decimal(answer.headers["x-tollgate-cost-usd"]) == Decimal(record["effective_cost_usd"]) > 0
    assert Decimal(record["instance_cost_usd"]) > 0, "the model was called, and is paid for"
    assert api.infer(BODY, headers={"Cache-Control": "no-cache"}).status == 504
    assert api.infer(BODY, headers={"Cache-Control": "max-age=10"}).status == 504
    api.clock.advance(600)
    assert api.infer(BODY).status == 504


def test_a_job_is_answered_at_once_if_its_answer_is_there() -> None:
    """A request for the asynchronous road whose answer is kept gets 200 and no job; without one, a job with a key."""
    api = gateway()
    later = {"priority": "medium"}
    assert ask(api, later).status == 202
    (job,) = api.jobs.jobs.values()
    assert job.cache is not None
    ask(api)
    answer = ask(api, later)
    assert (answer.status, state(answer)) == (200, "hit")
    assert len(api.jobs.jobs) == 1
    assert ask(api, later | {"webhook_url": "https://example.org/hook"}).status == 202


def test_forgotten_entries_are_not_given() -> None:
    """By model or by namespace, at the latest five seconds later."""
    for what in ("all", "model#echo", "namespace#"):
        api = gateway()
        ask(api)
        api.clock.advance(1)
        api.answers.forget_all("private#acme", what, now_ms(api))
        api.clock.advance(5)
        assert state(ask(api)) == "miss"
        assert state(ask(api)) == "hit"


def test_the_catalogue_may_change_without_emptying_the_cache() -> None:
    """A new version with other prices keeps its answers; another endpoint, or another declared version, does not."""
    api = gateway()
    ask(api)
    api.catalogues.catalogue = replace(api.catalogue, version=2)
    assert state(ask(api)) == "hit"
    api.catalogues.catalogue = replace(cached(version="2026-03"), version=3)
    assert state(ask(api)) == "miss"
    api.catalogues.catalogue = cached(version="2026-04")
    assert state(ask(api)) == "miss"


def test_a_fallback_to_async_leaves_no_lease() -> None:
    """No capacity: the request becomes a job, and the next caller does not wait for a leader that is gone."""
    api = gateway()
    api.realtime.answer = CapacityError("asleep")
    assert ask(api).status == 202
    assert all(not row.slot.is_led(now_ms(api)) for row in api.answers.rows.values())


def test_hits_are_counted_and_logged() -> None:
    """One line and one metric record as for any request, with the cache's part."""
    api = gateway()
    ask(api)
    ask(api)
    assert [line["CacheHits"] for line in api.metrics] == [[0], [1]]
    assert [line["cache"] for line in api.lines if line.get("message") == "request"] == ["miss", "hit"]


def test_openai_routes_hit_too() -> None:
    """Chat over OpenAI's route: the second answer is from the cache, with the same words and usage."""
    api = gateway()
    api.realtime.answer = CHAT
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}], "service_tier": "priority"}
    first = api.call("POST /v1/chat/completions", body | {"user": "ann", "metadata": {"a": "b"}})
    second = api.call("POST /v1/chat/completions", body | {"user": "bob"})
    assert (first.status, second.status, state(second)) == (200, 200, "hit")
    assert document(first)["choices"] == document(second)["choices"]
    streamed = api.call("POST /v1/chat/completions", body | {"stream": True})
    assert state(streamed) == "hit"
    assert "Good day." in streamed.body
    wished = api.call("POST /v1/chat/completions", body | {"cache": {"mode": "refresh"}})
    assert state(wished) == "miss"


def test_rules_about_who_answers_are_part_of_the_key() -> None:
    """An answer that passed no checks is not given to a caller who asks for them, nor the other way round."""
    api = gateway()
    api.realtime.answer = CHAT
    ask(api)
    strict = {"cascade": {"checks": ["rule", "length"], "must_contain": ["day"]}}
    assert state(ask(api, strict)) == "miss"
    assert state(ask(api, strict)) == "hit"
    assert state(ask(api, {"cascade": {"checks": ["rule"], "must_contain": ["night"]}})) == "miss"
    assert state(ask(api, {"quality": 0.9})) == "miss"
    assert state(ask(api, {"conversation_id": "c-1"})) == "hit"


def test_a_name_that_is_there_twice_counts_once() -> None:
    """Of equal names the last counts, at any depth, for the key and for what the container gets alike."""
    api = gateway()
    given = '{"a": 1, "a": {"b": 2, "b": 3}}'
    twice = f'{{"model": "echo", "input": "other", "input": {given}, "priority": "low", "priority": "high"}}'
    first = api.call("POST /v1/inferences", raw=twice)
    assert (state(first), state(api.infer(BODY | {"input": {"a": {"b": 3}}}))) == ("miss", "hit")
    assert [json.loads(sent) for _, sent in api.realtime.calls] == [{"inputs": {"a": {"b": 3}}}]
    assert state(api.infer(BODY | {"input": {"a": {"b": 2}}})) == "miss"
