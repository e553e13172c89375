"""What callers ask of the cache, by header or by body, and what is never kept."""

import json
from typing import Any

import pytest

from tests.fakes.cached_gateway import BODY, ask, gateway, state
from tests.fakes.gateway import FakeGateway, document
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import ModelFailedError


@pytest.mark.parametrize(
    ("headers", "wishes", "expected"),
    [
        ({"Cache-Control": "no-cache"}, None, "miss"),
        ({"Cache-Control": "max-age=0"}, None, "miss"),
        ({"Cache-Control": "max-age=5"}, None, "miss"),
        ({"Cache-Control": "max-age=nonsense"}, None, "miss"),
        ({"Cache-Control": "max-age=60, only-if-cached"}, None, "hit"),
        ({"cache-control": "NO-STORE"}, None, "bypass"),
        ({}, {"mode": "refresh"}, "miss"),
        ({}, {"mode": "bypass"}, "bypass"),
        ({}, {"ttl": 5}, "miss"),
        ({}, {"ttl": 60}, "hit"),
        ({}, {"namespace": "mine"}, "miss"),
        ({"Cache-Control": "no-transform"}, None, "hit"),
    ],
)
def test_wishes_are_obeyed(headers: dict[str, str], wishes: dict[str, Any] | None, expected: str) -> None:
    """Of an answer that is ten seconds old: header and body may each forbid it."""
    api = gateway()
    ask(api)
    api.clock.advance(10)
    answer = ask(api, {} if wishes is None else {"cache": wishes}, headers=headers)
    assert state(answer) == expected
    assert len(api.realtime.calls) == (1 if expected == "hit" else 2)


def test_no_store_is_neither_read_nor_kept() -> None:
    """It leaves nothing in the table, not even a lease."""
    api = gateway()
    ask(api, headers={"Cache-Control": "no-store"})
    assert not api.answers.calls


def test_no_cache_keeps_the_new_answer() -> None:
    """Who asks next gets what the refresh brought."""
    api = gateway()
    ask(api)
    api.realtime.answer = b'{"label": "fr"}'
    ask(api, headers={"Cache-Control": "no-cache"})
    again = ask(api)
    assert (state(again), document(again)["output"]) == ("hit", {"label": "fr"})


def test_only_if_cached_never_runs() -> None:
    """504 as RFC 9111 has it, and OpenAI's clients are told not to try again; usage counts a refusal and no error."""
    api = gateway()
    answer = ask(api, {"cache": {"mode": "only"}})
    assert (answer.status, document(answer)["error"]["code"]) == (504, "not_cached")
    assert answer.headers["x-should-retry"] == "false"
    assert not api.realtime.calls
    lines = [line for line in api.lines if line.get("message") == "request"]
    assert [(line["outcome"], line["level"], line["status"]) for line in lines] == [("rejected", "INFO", 504)]
    assert [metric["Errors"] for metric in api.metrics if "Errors" in metric] == [[0]]
    ((record,),) = [records_of_line(json.dumps(line, separators=(",", ":")), api.clock.now()) for line in lines]
    totals = sum_of(roll_up([record], api.clock.now()))
    assert (totals.errors, totals.rejected) == (0, 1)
    assert totals.charged == 0
    api.answers.fails = lambda _operation: True
    assert ask(api, headers={"Cache-Control": "only-if-cached"}).status == 504


@pytest.mark.parametrize("priority", ["high", "medium", "low"])
def test_only_if_cached_never_runs_where_there_is_no_cache(priority: str) -> None:
    """A model without a policy has no cached answer: nothing is run and no job is made."""
    api = FakeGateway()
    for wish in ({"changes": {"cache": {"mode": "only"}}}, {"headers": {"Cache-Control": "only-if-cached"}}):
        changes = {"priority": priority} | wish.get("changes", {})
        answer = ask(api, changes, headers=wish.get("headers"))
        assert (answer.status, document(answer)["error"]["code"]) == (504, "not_cached")
    assert not api.realtime.calls
    assert not api.jobs.jobs


def test_a_high_temperature_goes_past_the_cache_unless_asked() -> None:
    """Who samples wants another answer each time."""
    api = gateway(max_temperature=0.5)
    hot = {"parameters": {"temperature": 0.9}}
    assert state(ask(api, hot)) == "bypass"
    assert state(ask(api, hot | {"cache": {"mode": "always"}})) == "miss"
    assert state(ask(api, hot | {"cache": {"mode": "always"}})) == "hit"
    assert state(ask(api, {"parameters": {"temperature": 0.5}})) == "miss"
    only = ask(api, hot | {"cache": {"mode": "only"}})
    assert (only.status, state(only)) == (504, "bypass")


@pytest.mark.parametrize(
    "value",
    [{"inputs": "hello", "parameters": {"temperature": 0.9}}, {"inputs": "hello", "temperature": 0.9}],
)
def test_a_high_temperature_within_the_input_counts_too(value: dict[str, Any]) -> None:
    """The container is sent the input as it is, so it samples as the input says."""
    api = gateway(max_temperature=0.5)
    assert state(ask(api, {"input": value})) == "bypass"
    assert state(ask(api, {"input": value, "cache": {"mode": "always"}})) == "miss"
    assert state(ask(api, {"input": {"inputs": "hello", "parameters": {"temperature": 0.1}}})) == "miss"


def test_a_wrong_wish_is_refused() -> None:
    """Unknown modes, names that could be mistaken for something else, and times beyond a day."""
    api = gateway()
    for wrong in ({"mode": "maybe"}, {"namespace": "a#b"}, {"ttl": 0}, {"ttl": 86_401}, {"other": 1}):
        answer = api.infer(BODY | {"cache": wrong})
        assert (answer.status, document(answer)["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("no-transform", "stale"),
        ("max-age=900", "miss"),
        ("max-age=900, max-stale=60", "stale"),
        ("max-age=900, max-stale=5", "miss"),
        ("max-stale", "stale"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_an_age_asks_for_what_is_fresh(header: str, expected: str, *, fails: bool) -> None:
    """Of an answer whose time was over ten seconds ago, that may be given as it is, or where the model fails."""
    stale = {"stale_if_error_seconds": 100} if fails else {"stale_seconds": 100}
    api = gateway(ttl_seconds=600, **stale)
    ask(api)
    api.clock.advance(610)
    if fails:
        api.realtime.answer = ModelFailedError("broken", original_status=500)
    answer = api.infer(BODY, headers={"Cache-Control": header})
    assert state(answer) == expected
    assert answer.status == (502 if fails and expected == "miss" else 200)
