"""OpenAI's ``x-ratelimit-*`` headers: only what is true, and at no extra read or write."""

from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tests.unit.template_document import resources
from tollgate.api.http import Answer
from tollgate.api.problems import problem_answer
from tollgate.api.rendering import RateLimits, duration_text
from tollgate.domain.budgets.budget import EACH, Budget, BudgetPeriod, ScopeKind
from tollgate.domain.budgets.ledger import Hold, Reservation, reserve
from tollgate.domain.errors import BudgetExceededError

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
OF_PLAN = {"limit": "120", "reset": "3s"}
HOUR = "key:key_1#hour#2026-03-01T12"


def _budget(kind: ScopeKind, period: BudgetPeriod, calls: int | None, **changes: Any) -> Budget:
    subject = "" if kind is ScopeKind.GATEWAY else EACH
    return Budget(kind=kind, subject=subject, period=period, limit_usd=None, max_calls=calls, **changes)


def _gateway(*budgets: Budget) -> FakeGateway:
    return FakeGateway(catalogue=replace(make_catalogue(), budgets=budgets))


def _limits(answer: Answer) -> dict[str, str]:
    start, end = "x-ratelimit-", "-requests"
    return {
        name.removeprefix(start).removesuffix(end): value
        for name, value in answer.headers.items()
        if name.startswith(start)
    }


def test_without_a_budget_of_calls_the_plan_is_told() -> None:
    """How many may come at once, and after how long that many may come again; nobody knows how many are left."""
    gateway = _gateway()
    for answer in (
        gateway.infer(HELLO),
        gateway.infer(HELLO | {"priority": "medium"}),
        gateway.infer({"model": "none", "input": "x"}),
        gateway.call("GET /v1/models"),
        gateway.call("POST /v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "x"}]}),
    ):
        assert _limits(answer) == OF_PLAN
    dollars = _budget(ScopeKind.KEY, BudgetPeriod.DAY, None)._replace(limit_usd=Decimal(1))
    assert _limits(_gateway(dollars).infer(HELLO)) == OF_PLAN


@pytest.mark.parametrize(
    ("route", "body", "took"),
    [
        ("POST /v1/chat/completions", {"model": "echo", "messages": []}, "0"),
        ("POST /v1/completions", {"model": "echo", "prompt": "x", "service_tier": "priority"}, "200"),
        ("POST /v1/embeddings", {"model": "none", "input": "x"}, "0"),
        ("POST /v1/responses", {"model": "none", "input": "x"}, "0"),
        ("POST /v1/inferences", HELLO, "200"),
        ("POST /v1/route", HELLO, "0"),
        ("GET /v1/models", None, "0"),
        ("GET /v1/models/{model}", None, "0"),
        ("GET /v1/openapi.json", None, "0"),
        ("GET /v1/nothing", None, "0"),
    ],
)
def test_every_answer_has_its_name_and_its_time(route: str, body: Any, took: str) -> None:
    """Good or bad: the SDK shows the name in its errors, and people look for the milliseconds."""
    answer = _gateway().call(route, body)
    assert answer.headers["x-request-id"] == answer.headers["x-tollgate-request-id"] == "req-1"
    assert answer.headers["openai-processing-ms"] == took


def test_a_plan_that_is_not_known_is_not_told() -> None:
    """As where the function was given none."""
    assert RateLimits(plan_rate=0, plan_burst=0, call_limit=lambda _: None).headers(None) == {}


def test_a_budget_of_calls_is_counted_down_to_its_refusal() -> None:
    """The write that reserves tells the number, so no read is added; the period's end is told by the second."""
    gateway = _gateway(_budget(ScopeKind.KEY, BudgetPeriod.HOUR, 3))
    gateway.clock.advance(61)
    said = [_limits(gateway.infer(HELLO)) for _ in range(3)]
    assert [entry["remaining"] for entry in said] == ["2", "1", "0"]
    assert {(entry["limit"], entry["reset"]) for entry in said} == {("3", "58m59s")}
    refused = gateway.infer(HELLO)
    assert (refused.status, _limits(refused)) == (429, {"limit": "3", "remaining": "0", "reset": "58m59s"})
    assert gateway.ledger.reads == 0
    gateway.clock.advance(3_600)
    assert _limits(gateway.infer(HELLO))["remaining"] == "2"


def test_of_several_budgets_the_one_that_ends_first_is_told() -> None:
    """As it stood at most five seconds ago, with the calls of this gateway since; one in shadow mode refuses nobody."""
    gateway = _gateway(
        _budget(ScopeKind.KEY, BudgetPeriod.HOUR, 50),
        _budget(ScopeKind.GATEWAY, BudgetPeriod.DAY, 30),
        _budget(ScopeKind.TEAM, BudgetPeriod.TOTAL, 2, shadow=True),
    )
    assert _limits(gateway.infer(HELLO)) == {"limit": "30", "remaining": "29", "reset": "12h0m0s"}
    assert _limits(gateway.infer(HELLO))["remaining"] == "28"
    hold = Hold(HOUR, None)
    for number in range(25):
        gateway.ledger.write([reserve(Reservation(f"h29384757_{number}", Decimal(0), (hold,)), hold)])
    reads = gateway.ledger.reads
    gateway.clock.advance(5)
    assert _limits(gateway.infer(HELLO)) == {"limit": "50", "remaining": "22", "reset": "59m55s"}
    assert gateway.ledger.reads == reads + 1, "the one that routing makes anyway"


def test_what_was_counted_long_ago_is_not_told() -> None:
    """A call that writes nothing, five seconds after the last one that did, has a limit and no remainder."""
    gateway = _gateway(_budget(ScopeKind.GATEWAY, BudgetPeriod.TOTAL, 9))
    assert _limits(gateway.infer(HELLO)) == {"limit": "9", "remaining": "8"}
    gateway.clock.advance(4)
    assert _limits(gateway.call("POST /v1/route", HELLO)) == {"limit": "9", "remaining": "8"}
    gateway.clock.advance(1)
    assert _limits(gateway.call("POST /v1/route", HELLO)) == {"limit": "9"}


def test_jobs_count_as_well() -> None:
    """Their transaction tells no numbers; what was read before it does."""
    gateway = _gateway(_budget(ScopeKind.KEY, BudgetPeriod.DAY, 5), _budget(ScopeKind.GATEWAY, BudgetPeriod.DAY, 6))
    later = HELLO | {"priority": "medium"}
    assert [_limits(gateway.infer(later))["remaining"] for _ in range(2)] == ["4", "3"]


def test_clients_do_not_come_back_before_a_budget_can_let_them() -> None:
    """They wait a minute at most, so a longer wait is an error at once; a short one they sit out by themselves."""
    refused = _gateway(_budget(ScopeKind.KEY, BudgetPeriod.DAY, 0)).infer(HELLO)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "43200")
    assert refused.headers["x-should-retry"] == "false"
    short = problem_answer(BudgetExceededError("full", retry_after=60))
    assert short.headers == {"Retry-After": "60"}


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(seconds=60), "1m0s"),
        (timedelta(days=30, seconds=1), "720h0m1s"),
    ],
)
def test_durations_are_written_as_openai_does(span: timedelta, text: str) -> None:
    """Days are hours."""
    assert duration_text(int(span.total_seconds())) == text


def test_the_function_is_told_the_plan_that_keys_join() -> None:
    """The same parameters as the usage plan's."""
    found = resources()
    told = found["GatewayFunction"]["Properties"]["Environment"]["Variables"]
    throttle = found["UsagePlanDefault"]["Properties"]["Throttle"]
    assert (told["PLAN_RATE"], told["PLAN_BURST"]) == (throttle["RateLimit"], throttle["BurstLimit"])
