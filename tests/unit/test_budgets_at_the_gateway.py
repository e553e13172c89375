"""Budgets as a caller meets them: what is let through, what is refused, what is written, and what is told."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tests.unit.template_document import as_list, events_of, functions, statements, target
from tollgate.api.http import Answer
from tollgate.domain.budgets import EACH, Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.catalogue import InferenceType, Priority, Tier
from tollgate.domain.errors import CapacityError, ModelFailedError, StorageError
from tollgate.domain.ledger import Counter

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
LATER = HELLO | {"priority": "medium"}
DAY = "gateway#day#2026-03-01"


def _budget(
    limit: str | None, kind: ScopeKind = ScopeKind.GATEWAY, period: BudgetPeriod = BudgetPeriod.DAY, **changes: Any
) -> Budget:
    subject = "" if kind is ScopeKind.GATEWAY else EACH
    values: dict[str, Any] = {"subject": subject, "limit_usd": None if limit is None else Decimal(limit)}
    return Budget(kind=kind, period=period, **values | changes)


def _gateway(*budgets: Budget) -> FakeGateway:
    return FakeGateway(catalogue=replace(make_catalogue(), budgets=budgets))


def _declare(gateway: FakeGateway, *budgets: Budget) -> None:
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, budgets=budgets)


def _counter(gateway: FakeGateway, name: str = DAY) -> Counter:
    return gateway.ledger.counters[name]


def _counts(gateway: FakeGateway, metric: str) -> int:
    return sum(1 for line in gateway.metrics if metric in line)


def test_without_budgets_nothing_is_written_or_read() -> None:
    """A gateway that has none pays nothing for them."""
    gateway = _gateway()
    assert gateway.infer(HELLO).status == 200
    assert gateway.infer(LATER).status == 202
    assert (gateway.ledger.writes, gateway.ledger.reads) == (0, 0)


@pytest.mark.parametrize("kinds", [[ScopeKind.KEY], [ScopeKind.KEY, ScopeKind.TEAM, ScopeKind.GATEWAY]])
def test_a_paid_request_makes_two_writes(kinds: list[ScopeKind]) -> None:
    """One to hold and one to settle, however many budgets count it; the sum is what the answer says it cost."""
    gateway = _gateway(*(_budget("1", kind) for kind in kinds))
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert gateway.ledger.writes == 2
    assert len(gateway.ledger.counters) == len(kinds)
    for counter in gateway.ledger.counters.values():
        assert counter.spent == counter.committed == Decimal(answer.headers["x-tollgate-cost-usd"])


@pytest.mark.parametrize("others", [[], [ScopeKind.GATEWAY, ScopeKind.TEAM]])
def test_the_answer_says_what_is_left(others: list[ScopeKind]) -> None:
    """Of the tightest budget, in the header and in the log line; a hold that has ended is not counted."""
    gateway = _gateway(_budget("1", ScopeKind.KEY), *(_budget("2", kind) for kind in others))
    answer = gateway.infer(HELLO)
    left = Decimal(answer.headers["x-tollgate-budget-remaining-usd"])
    assert left == 1 - Decimal(answer.headers["x-tollgate-cost-usd"])
    (line,) = [line for line in gateway.lines if line.get("message") == "request"]
    assert Decimal(line["budget_remaining_usd"]) == left


def test_a_used_up_budget_refuses_until_its_end() -> None:
    """429, OpenAI's code, the time until midnight, a metric, and no call; the next day it goes on."""
    gateway = _gateway(_budget("0.00001"))
    answer = gateway.infer(HELLO)
    assert answer.status == 429
    assert document(answer)["error"]["code"] == "insufficient_quota"
    assert int(answer.headers["Retry-After"]) == 43_200
    assert gateway.realtime.calls == []
    assert _counts(gateway, "BudgetRefused") == 1
    _declare(gateway, _budget("0.001"))
    spent = [gateway.infer(HELLO) for _ in range(90)]
    refused = [a for a in spent if a.status == 429]
    assert refused
    assert _counter(gateway).spent <= Decimal("0.001")
    gateway.clock.advance(43_200)
    assert gateway.infer(HELLO).status == 200


def test_a_refusal_says_what_the_request_may_cost() -> None:
    """Otherwise a limit that no request fits in looks as if it had room; a budget without an end has no period."""
    refused = document(_gateway(_budget("0.00001", period=BudgetPeriod.TOTAL)).infer(HELLO))["error"]["message"]
    assert refused.startswith("The budget 'gateway' refuses this request. Its limit is $0.00001; $0 are spent")
    assert Decimal(refused.partition("This one may cost $")[2].rstrip(".")) > Decimal("0.00001")


def test_only_requests_under_way_mean_a_short_wait() -> None:
    """What is held comes back as soon as they end."""
    gateway = _gateway(_budget("0.0001", ScopeKind.KEY))
    answers: list[Answer] = []
    run = gateway.realtime.invoke

    def meanwhile(*args: Any, **options: Any) -> Any:
        if not answers:
            answers.append(Answer(0, ""))
            answers.extend(gateway.infer(HELLO, request_id=f"req-{n}") for n in range(3))
        return run(*args, **options)

    gateway.realtime.invoke = meanwhile  # type: ignore[method-assign]  # others arrive during the call
    gateway.infer(HELLO)
    refused = [a for a in answers if a.status == 429]
    assert refused
    assert {a.headers["Retry-After"] for a in refused} == {"2"}


def test_a_call_is_cut_when_its_reservation_is_used_up() -> None:
    """A small budget holds an estimate, and the call may run no longer than that pays for; a large one lets it run."""
    timeouts: list[float] = []
    for limit in ("0.001", "100"):
        gateway = _gateway(_budget(limit))
        run = gateway.realtime.invoke

        def seen(*args: Any, timeout_seconds: float, run: Any = run, **options: Any) -> Any:
            timeouts.append(timeout_seconds)
            return run(*args, timeout_seconds=timeout_seconds, **options)

        gateway.realtime.invoke = seen  # type: ignore[method-assign]  # looks at the timeout
        assert gateway.infer(HELLO).status == 200
    assert timeouts == [pytest.approx(2.0), pytest.approx(27.5)]


@pytest.mark.parametrize("error", [CapacityError("asleep"), ModelFailedError("no", original_status=500)])
def test_a_failed_call_is_charged_what_it_held(error: Exception) -> None:
    """Nothing stays held, and the time of a container that worked is paid."""
    gateway = _gateway(_budget("1"))
    _declare(gateway, _budget("1"))
    gateway.realtime.answer = error
    model = gateway.catalogues.catalogue.models["echo"]
    alone = {"echo": replace(model, fall_back_to_async=False)}
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models=alone)
    assert gateway.infer(HELLO).status >= 500
    counter = _counter(gateway)
    assert counter.held == 0
    assert counter.spent > 0


def test_a_settlement_that_fails_is_made_up_for() -> None:
    """The answer is given all the same; the next request writes it."""
    gateway = _gateway(_budget("1"))
    gateway.infer(HELLO)
    once = _counter(gateway).spent
    write, calls = gateway.ledger.write, itertools.count(1)

    def second_fails(writes: Sequence[Any]) -> Any:
        if next(calls) == 2:
            raise StorageError("throttled")
        return write(writes)

    gateway.ledger.write = second_fails  # type: ignore[method-assign]  # the settlement of the next request
    assert gateway.infer(HELLO).status == 200
    assert _counter(gateway).held > 0
    gateway.infer(HELLO)
    assert _counter(gateway).held == 0
    assert _counter(gateway).spent == pytest.approx(once * 3)


def test_a_lost_answer_of_a_hold_leaves_nothing_behind() -> None:
    """The request is refused for now; what may have been held is given back."""
    gateway = _gateway(_budget("1"))
    gateway.ledger.lose_answers = 1
    assert gateway.infer(HELLO).status == 503
    assert gateway.infer(HELLO).status == 200
    assert _counter(gateway).held == 0


def test_a_job_holds_until_it_ends() -> None:
    """The hold is written with the job; the reservation stands on its record."""
    gateway = _gateway(_budget("1", ScopeKind.TEAM))
    answer = gateway.infer(LATER)
    job = gateway.jobs.get(document(answer)["id"])
    assert job is not None
    assert job.reservation is not None
    counter = _counter(gateway, "team:acme/search#day#2026-03-01")
    assert counter.held == job.reservation.amount >= job.estimated_cost
    assert gateway.ledger.writes == 1


def test_a_refused_job_is_not_stored() -> None:
    """Neither the record nor the message."""
    gateway = _gateway(_budget("0.000001"))
    assert gateway.infer(LATER).status == 429
    assert gateway.jobs.jobs == {}
    assert gateway.async_queue.bodies == []


def test_a_limit_for_each_request_needs_no_counter() -> None:
    """It is compared, not counted."""
    small = _gateway(_budget("0.00001", period=BudgetPeriod.REQUEST))
    assert small.infer(HELLO).status == 429
    large = _gateway(_budget("1", period=BudgetPeriod.REQUEST))
    assert large.infer(HELLO).status == 200
    assert small.ledger.counters == large.ledger.counters == {}


def test_shadow_mode_refuses_nothing_and_counts_what_it_would_have() -> None:
    """In the counter and as a metric."""
    gateway = _gateway(_budget("0.00001", shadow=True))
    assert [gateway.infer(HELLO).status for _ in range(2)] == [200, 200]
    assert _counter(gateway).shadow_refusals == 2
    assert _counts(gateway, "BudgetShadowRefused") == 2
    assert _counts(gateway, "BudgetRefused") == 0


def test_a_raise_ends_by_itself() -> None:
    """Until then there is more to spend, afterwards what is spent stays spent."""
    gateway = _gateway()
    until = gateway.clock.now() + timedelta(hours=1)
    _declare(gateway, _budget("0.00001", raise_usd=Decimal(1), raise_until=until))
    assert gateway.infer(HELLO).status == 200
    gateway.clock.advance(3600)
    assert gateway.infer(HELLO).status == 429


def test_a_lower_limit_holds_at_once_for_new_requests() -> None:
    """And a request under way settles under the limit that it was admitted under."""
    gateway = _gateway(_budget("1"))
    run = gateway.realtime.invoke

    def lowered(*args: Any, **options: Any) -> Any:
        _declare(gateway, _budget("0.000002"))
        return run(*args, **options)

    gateway.realtime.invoke = lowered  # type: ignore[method-assign]  # the owner acts during the call
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert _counter(gateway).spent == Decimal(answer.headers["x-tollgate-cost-usd"])
    assert _counter(gateway).overrun == 0
    assert gateway.infer(HELLO).status == 429


def test_another_period_starts_another_counter() -> None:
    """A request under way settles in the counter that holds for it."""
    gateway = _gateway(_budget("1"))
    run = gateway.realtime.invoke

    def changed(*args: Any, **options: Any) -> Any:
        _declare(gateway, _budget("1", period=BudgetPeriod.MONTH))
        return run(*args, **options)

    gateway.realtime.invoke = changed  # type: ignore[method-assign]  # the owner acts during the call
    gateway.infer(HELLO)
    assert _counter(gateway).held == 0
    assert _counter(gateway).spent > 0
    gateway.infer(HELLO)
    assert _counter(gateway, "gateway#month#2026-03").spent > 0


def test_a_request_over_midnight_counts_where_it_began() -> None:
    """Each counter keeps its own limit, whatever a function's clock says."""
    gateway = _gateway(_budget("1"))
    gateway.clock.advance(43_200 - 0.1)
    gateway.infer(HELLO)
    assert list(gateway.ledger.counters) == [DAY]
    assert _counter(gateway).held == 0


def test_a_key_that_is_gone_settles_all_the_same() -> None:
    """The counter stands in the reservation; nobody asks for the key again."""
    gateway = _gateway(_budget("1", ScopeKind.KEY))
    run = gateway.realtime.invoke

    def deleted(*args: Any, **options: Any) -> Any:
        _declare(gateway)
        return run(*args, **options)

    gateway.realtime.invoke = deleted  # type: ignore[method-assign]  # the key and its budget go during the call
    gateway.infer(HELLO)
    assert _counter(gateway, "key:key_1#day#2026-03-01").held == 0


def test_the_named_budget_replaces_the_one_for_each() -> None:
    """Of the same kind and period; other periods go on counting."""
    gateway = _gateway(
        _budget("0.00001", ScopeKind.KEY),
        _budget("1", ScopeKind.KEY, subject="key_1"),
        _budget("1", ScopeKind.KEY, BudgetPeriod.MONTH),
    )
    assert gateway.infer(HELLO).status == 200
    assert sorted(gateway.ledger.counters) == ["key:key_1#day#2026-03-01", "key:key_1#month#2026-03"]


def test_a_threshold_is_announced_once() -> None:
    """Log line, metric and notice; not again by another function in the same period."""
    warn = (Threshold(Decimal(1), BudgetAction.WARN),)
    gateway = _gateway(_budget("0.01", thresholds=warn))
    for _ in range(9):
        gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["1"]
    assert _counts(gateway, "BudgetWarned") == 1
    other = _gateway(_budget("0.01", thresholds=warn))
    other.ledger.counters = gateway.ledger.counters
    other.infer(HELLO)
    assert other.notices.sent == []


def test_held_money_announces_nothing() -> None:
    """Jobs that hold nine tenths of a limit have spent none of it, and a refusal only because of them says no more."""
    gateway = _gateway(_budget("0.01", thresholds=(Threshold(Decimal(20), BudgetAction.WARN),)))
    held = {"h30000000": Decimal("0.00995")}
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.00995"), slots=held)
    assert gateway.infer(HELLO).status == 429
    assert gateway.notices.sent == []
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.00999999"), spent=Decimal("0.00999999"))
    gateway.clock.advance(6)
    assert gateway.infer(HELLO).status == 429
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["100"]


def test_whoever_spends_the_last_of_a_threshold_announces_it() -> None:
    """No further request is needed: the settlement tells."""
    gateway = _gateway(_budget("0.001", thresholds=(Threshold(Decimal(1), BudgetAction.WARN),)))
    gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["1"]


def test_what_others_spend_is_announced_within_five_seconds() -> None:
    """Jobs are settled by other functions; the next request after the counter was read again tells."""
    gateway = _gateway(_budget("1", thresholds=(Threshold(Decimal(20), BudgetAction.WARN),)))
    gateway.infer(HELLO)
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.3"), spent=Decimal("0.3"))
    gateway.infer(HELLO)
    assert gateway.notices.sent == []
    gateway.clock.advance(5)
    gateway.infer(HELLO)
    assert [notice["at_percent"] for notice in gateway.notices.sent] == ["20"]


def test_a_block_below_the_limit_blocks_there() -> None:
    """Half of the limit is the limit then."""
    half = (Threshold(Decimal(50), BudgetAction.BLOCK),)
    gateway = _gateway(_budget("0.001", thresholds=half))
    for _ in range(90):
        gateway.infer(HELLO)
    assert Decimal("0.0004") < _counter(gateway).spent <= Decimal("0.0005")


def test_defer_sends_requests_down_the_next_road() -> None:
    """Real-time becomes async and async becomes batch; the reason says why."""
    defer = (Threshold(Decimal("0.01"), BudgetAction.DEFER),)
    gateway = _gateway(_budget("1", thresholds=defer))
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.5"), spent=Decimal("0.5"))
    first, second = gateway.infer(HELLO), gateway.infer(LATER)
    assert [a.headers["x-tollgate-inference-type"] for a in (first, second)] == ["async", "batch"]
    assert first.headers["x-tollgate-route-reason"] == "priority=medium;budget=defer"
    in_time = gateway.infer({"model": "echo", "input": "x", "deadline_seconds": 0.6})
    assert in_time.status == 200, "a deadline already takes the cheapest road in time"


def test_downgrade_prefers_the_smaller_tier() -> None:
    """The larger deployment gets nothing until the next period."""
    gateway = _gateway()
    model = gateway.catalogues.catalogue.models["echo"]
    large = replace(model.deployments[0], name="large", tier=Tier.LARGE, weight=1000)
    models = {"echo": replace(model, deployments=(large, *model.deployments))}
    down = (Threshold(Decimal(50), BudgetAction.DOWNGRADE),)
    gateway.catalogues.catalogue = replace(
        gateway.catalogues.catalogue, models=models, budgets=(_budget("1", thresholds=down),)
    )
    assert gateway.infer(HELLO).headers["x-tollgate-deployment"] == "echo/large"
    gateway.ledger.counters[DAY] = Counter(committed=Decimal("0.5"), spent=Decimal("0.5"))
    gateway.clock.advance(6)
    answer = gateway.infer(HELLO)
    assert answer.headers["x-tollgate-deployment"] == "echo/small"
    assert answer.headers["x-tollgate-route-reason"].endswith(";budget=downgrade")


def test_a_run_is_limited_in_calls_and_depth() -> None:
    """Each run for itself; a parent must be one of its calls."""
    gateway = _gateway(_budget(None, ScopeKind.WORKFLOW, BudgetPeriod.TOTAL, max_calls=3, max_depth=2))

    def call(workflow: str, parent: str | None = None) -> Answer:
        headers = {"x-tollgate-workflow": workflow} | ({} if parent is None else {"x-tollgate-parent": parent})
        return gateway.infer(HELLO, headers=headers)

    first = document(call("run-1"))["id"]
    second = document(call("run-1", first))["id"]
    assert call("run-1", second).status == 429, "too deep"
    assert call("run-1", "inf_unknown").status == 400
    assert call("run-2", first).status == 400, "a call of another run"
    assert call("run-1").status == 200
    assert call("run-1").status == 429, "one too many"
    assert call("run-2").status == 200
    depths = {c.inference_id: (c.parent, c.depth) for c in gateway.ledger.calls_of("acme", "run-1", limit=9)}
    assert depths[second] == (first, 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-tollgate-parent": "inf_1"},
        {"x-tollgate-workflow": ""},
        {"x-tollgate-workflow": "a b"},
        {"x-tollgate-workflow": "w" * 129},
    ],
)
def test_bad_run_headers_are_refused(headers: dict[str, str]) -> None:
    """Before anything is read or held."""
    gateway = _gateway()
    assert gateway.infer(HELLO, headers=headers).status == 400
    assert gateway.ledger.writes == 0


def test_the_tree_of_a_run_has_its_costs() -> None:
    """Real-time calls when they end, jobs from the moment they are accepted."""
    gateway = _gateway()
    headers = {"x-tollgate-workflow": "run-1"}
    now, later = gateway.infer(HELLO, headers=headers), gateway.infer(LATER, headers=headers)
    calls = {c.inference_id: c for c in gateway.ledger.calls_of("acme", "run-1", limit=9)}
    done, queued = calls[document(now)["id"]], calls[document(later)["id"]]
    assert done.effective_cost == Decimal(now.headers["x-tollgate-cost-usd"])
    assert (done.status, queued.status, queued.effective_cost) == ("completed", "queued", None)
    assert queued.inference_type is InferenceType.ASYNC


FREE = {
    ("post", "/v1/route"): "only says what would be done",
    ("post", "/v1/responses/{id}/cancel"): "calls a job off",
    ("post", "/v1/cache/lookup"): "looks, and never runs; tests/unit/functions/test_cache.py",
    ("put", "/v1/cache/{namespace}/{key}"): "keeps what the client brings",
    ("post", "/v1/feedback"): "runs no model",
    ("post", "/v1/files"): "keeps a file",
    ("post", "/v1/uploads"): "begins to keep a file",
    ("post", "/v1/uploads/{id}/complete"): "keeps a file",
    ("post", "/v1/uploads/{id}/cancel"): "keeps no file",
    ("post", "/v1/batches"): "asks the budgets when the lines are known, see test_file_batches",
    ("post", "/v1/batches/{id}/cancel"): "calls a batch off",
}

MAY_WAKE = {"FilesBatchesFunction": {"sqs:SendMessage"}}
"""Its messages have a batch taken on its way, which begins with the budgets."""


def _writing_routes() -> list[tuple[str, tuple[str, str]]]:
    """Every route of the template that is not only read, with its function."""
    return [
        (name, (event["Properties"]["Method"], event["Properties"]["Path"]))
        for name in functions()
        for event in events_of(name).values()
        if event["Type"] == "Api" and event["Properties"]["Method"] not in {"get", "head", "options"}
    ]


def _costly_routes() -> list[tuple[str, str]]:
    return [route for _, route in _writing_routes() if route[0] != "delete" and route not in FREE]


BODIES: dict[str, dict[str, Any]] = {
    "/v1/inferences": {"input": "hello"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/responses": {"input": "hello"},
}


@pytest.mark.parametrize(("method", "path"), _costly_routes())
@pytest.mark.parametrize("priority", list(Priority))
def test_every_costly_route_of_the_template_passes_admission(method: str, path: str, priority: Priority) -> None:
    """With a budget that has nothing left, no backend is called, nothing is stored and nothing is queued."""
    gateway = _gateway(_budget("0.000001"))
    model = replace(gateway.catalogues.catalogue.models["echo"], default_priority=priority)
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    answer = gateway.call(f"{method.upper()} {path}", {"model": "echo", **BODIES[path]})
    assert answer.status == 429, answer.body
    assert document(answer)["error"]["code"] == "insufficient_quota"
    assert gateway.realtime.calls == []
    assert gateway.jobs.jobs == {}
    assert gateway.async_queue.bodies == gateway.batch_queue.bodies == []


def test_a_preview_of_the_route_costs_nothing() -> None:
    """It answers although nothing is left, and starts nothing."""
    gateway = _gateway(_budget("0.000001"))
    assert gateway.call("POST /v1/route", HELLO).status == 200
    assert gateway.realtime.calls == []
    assert gateway.jobs.jobs == {}
    assert gateway.ledger.writes == 0


# The cache function also makes stale answers anew, through the same admission; its routes start nothing.
@pytest.mark.parametrize(
    "function",
    sorted({name for name, _ in _writing_routes()} - {"GatewayFunction", "StreamingFunction", "CacheFunction"}),
)
def test_other_functions_with_routes_can_start_nothing(function: str) -> None:
    """What is free because it only calls off may not call a model or queue work."""
    role = target(functions()[function]["Properties"]["Role"])
    allowed = {a for name, statement in statements() if name == role for a in as_list(statement["Action"])}
    assert not {
        action for action in allowed if action.startswith(("sagemaker:", "sqs:Send", "bedrock:"))
    } - MAY_WAKE.get(function, set())
