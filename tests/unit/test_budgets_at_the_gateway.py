"""Budgets as a caller meets them: what is let through, what is refused, and what is written."""

import itertools
from collections.abc import Sequence
from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import DAY, HELLO, LATER, budgeted, counter_of, counts, declare, make_budget
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tollgate.api.http import Answer
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind, Spender
from tollgate.domain.budgets.budget import counter_of as budget_counter
from tollgate.domain.budgets.ledger import Counter, Hold, Reservation, own_slot, reserve
from tollgate.domain.errors import CapacityError, ModelFailedError, StorageError
from tollgate.services.requests.admission import REALTIME_LEASE


def test_without_budgets_nothing_is_written_or_read() -> None:
    """A gateway that has none pays nothing for them."""
    gateway = budgeted()
    assert gateway.infer(HELLO).status == 200
    assert gateway.infer(LATER).status == 202
    assert (gateway.ledger.writes, gateway.ledger.reads) == (0, 0)


@pytest.mark.parametrize("kinds", [[ScopeKind.KEY], [ScopeKind.KEY, ScopeKind.TEAM, ScopeKind.GATEWAY]])
def test_a_paid_request_makes_two_writes(kinds: list[ScopeKind]) -> None:
    """One to hold and one to settle, however many budgets count it; the sum is what the answer says it cost."""
    gateway = budgeted(*(make_budget("1", kind) for kind in kinds))
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert gateway.ledger.writes == 2
    assert len(gateway.ledger.counters) == len(kinds)
    for counter in gateway.ledger.counters.values():
        assert counter.spent == counter.committed == Decimal(answer.headers["x-tollgate-cost-usd"])


@pytest.mark.parametrize("others", [[], [ScopeKind.GATEWAY, ScopeKind.TEAM]])
def test_the_answer_says_what_is_left(others: list[ScopeKind]) -> None:
    """Of the tightest budget, in the header and in the log line; a hold that has ended is not counted."""
    gateway = budgeted(make_budget("1", ScopeKind.KEY), *(make_budget("2", kind) for kind in others))
    answer = gateway.infer(HELLO)
    left = Decimal(answer.headers["x-tollgate-budget-remaining-usd"])
    assert left == 1 - Decimal(answer.headers["x-tollgate-cost-usd"])
    (line,) = [line for line in gateway.lines if line.get("message") == "request"]
    assert Decimal(line["budget_remaining_usd"]) == left


def test_a_used_up_budget_refuses_until_its_end() -> None:
    """429, OpenAI's code, the time until midnight, a metric, and no call; the next day it goes on."""
    budget = make_budget("0.001")
    gateway = budgeted(budget)
    name = budget_counter(budget, Spender(tenant="", key_id="", team="", model=""), gateway.clock.now())
    gateway.ledger.counters[name] = Counter(committed=Decimal("0.001"), spent=Decimal("0.001"))
    answer = gateway.infer(HELLO)
    assert answer.status == 429
    assert document(answer)["error"]["code"] == "insufficient_quota"
    assert int(answer.headers["Retry-After"]) == 43_200
    assert gateway.realtime.calls == []
    assert counts(gateway, "BudgetRefused") == 1
    declare(gateway, make_budget("0.001"))
    spent = [gateway.infer(HELLO) for _ in range(90)]
    refused = [a for a in spent if a.status == 429]
    assert refused
    assert counter_of(gateway).spent <= Decimal("0.001")
    gateway.clock.advance(43_200)
    assert gateway.infer(HELLO).status == 200


def test_a_refusal_says_what_the_request_may_cost() -> None:
    """Otherwise a limit that has room looks as if it had refused for nothing; a budget without an end has no period."""
    total = make_budget("0.001", period=BudgetPeriod.TOTAL)
    gateway = budgeted(total)
    spent = Decimal("0.00099")
    name = budget_counter(total, Spender(tenant="", key_id="", team="", model=""), gateway.clock.now())
    gateway.ledger.counters[name] = Counter(committed=spent, spent=spent)
    refused = document(gateway.infer(HELLO))["error"]["message"]
    assert refused.startswith("The budget 'gateway' refuses this request. Its limit is $0.001; $0.00099 are spent")
    assert Decimal(refused.partition("This one may cost $")[2].rstrip(".")) > Decimal("0.00001")


def test_a_request_over_the_whole_limit_is_told_that_it_never_fits() -> None:
    """No later period has room for it either, so none is named, and clients are kept from coming again."""
    answer = budgeted(make_budget("0.00001")).infer(HELLO)
    refused = document(answer)["error"]["message"]
    assert refused.startswith("The daily budget 'gateway' refuses this request. Its limit is $0.00001, and this")
    assert refused.endswith("it never fits.")
    assert (answer.status, document(answer)["error"]["code"]) == (429, "insufficient_quota")
    assert "Retry-After" not in answer.headers
    assert answer.headers["x-should-retry"] == "false"


def test_a_request_over_the_limit_for_single_ones_is_told_that_it_never_fits() -> None:
    """There is no period after which it would."""
    answer = budgeted(make_budget("0.00001", period=BudgetPeriod.REQUEST)).infer(HELLO)
    assert document(answer)["error"]["message"].endswith("It never fits.")
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert "Retry-After" not in answer.headers


def test_only_requests_under_way_mean_a_short_wait() -> None:
    """What is held comes back as soon as they end."""
    gateway = budgeted(make_budget("0.0001", ScopeKind.KEY))
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
        gateway = budgeted(make_budget(limit))
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
    gateway = budgeted(make_budget("1"))
    declare(gateway, make_budget("1"))
    gateway.realtime.answer = error
    model = gateway.catalogues.catalogue.models["echo"]
    alone = {"echo": replace(model, fall_back_to_async=False)}
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models=alone)
    assert gateway.infer(HELLO).status >= 500
    counter = counter_of(gateway)
    assert counter.held == 0
    assert counter.spent > 0


def _budgeted_with_a_busy_ledger(busy: set[int]) -> tuple[FakeGateway, Decimal]:
    """After one request, and what it spent; of the writes from now on, those of these numbers fail."""
    gateway = budgeted(make_budget("1"))
    gateway.infer(HELLO)
    write, calls = gateway.ledger.write, itertools.count(1)

    def sometimes(writes: Sequence[Any]) -> Any:
        if next(calls) in busy:
            raise StorageError("throttled")
        return write(writes)

    gateway.ledger.write = sometimes  # type: ignore[method-assign]
    return gateway, counter_of(gateway).spent


def test_a_settlement_that_fails_is_tried_again_at_once() -> None:
    """Nothing stays held for others to miss, though the first try of the settlement failed."""
    gateway, once = _budgeted_with_a_busy_ledger({2})
    assert gateway.infer(HELLO).status == 200
    assert counter_of(gateway).held == 0
    assert counter_of(gateway).spent == pytest.approx(once * 2)


def test_a_settlement_that_fails_twice_is_made_up_for() -> None:
    """The answer is given all the same; the next request writes it."""
    gateway, once = _budgeted_with_a_busy_ledger({2, 3})
    assert gateway.infer(HELLO).status == 200
    assert counter_of(gateway).held > 0
    gateway.infer(HELLO)
    assert counter_of(gateway).held == 0
    assert counter_of(gateway).spent == pytest.approx(once * 3)


def test_a_lost_answer_of_a_hold_leaves_nothing_behind() -> None:
    """The request is refused for now; what may have been held is given back."""
    gateway = budgeted(make_budget("1"))
    gateway.ledger.lose_answers = 1
    assert gateway.infer(HELLO).status == 503
    assert gateway.infer(HELLO).status == 200
    assert counter_of(gateway).held == 0


def test_a_job_holds_until_it_ends() -> None:
    """The hold is written with the job; the reservation stands on its record."""
    gateway = budgeted(make_budget("1", ScopeKind.TEAM))
    answer = gateway.infer(LATER)
    job = gateway.jobs.get(document(answer)["id"])
    assert job is not None
    assert job.reservation is not None
    counter = counter_of(gateway, "team:acme/search#day#2026-03-01")
    assert counter.held == job.reservation.amount >= job.estimated_cost
    assert gateway.ledger.writes == 1


def test_a_refused_job_is_not_stored() -> None:
    """Neither the record nor the message."""
    gateway = budgeted(make_budget("0.000001"))
    assert gateway.infer(LATER).status == 429
    assert gateway.jobs.jobs == {}
    assert gateway.async_queue.bodies == []


def test_a_limit_for_each_request_needs_no_counter() -> None:
    """It is compared, not counted."""
    small = budgeted(make_budget("0.00001", period=BudgetPeriod.REQUEST))
    assert small.infer(HELLO).status == 429
    large = budgeted(make_budget("1", period=BudgetPeriod.REQUEST))
    assert large.infer(HELLO).status == 200
    assert small.ledger.counters == large.ledger.counters == {}


def test_shadow_mode_refuses_nothing_and_counts_what_it_would_have() -> None:
    """In the counter and as a metric."""
    gateway = budgeted(make_budget("0.00001", shadow=True))
    assert [gateway.infer(HELLO).status for _ in range(2)] == [200, 200]
    assert counter_of(gateway).shadow_refusals == 2
    assert counts(gateway, "BudgetShadowRefused") == 2
    assert counts(gateway, "BudgetRefused") == 0


def test_a_raise_ends_by_itself() -> None:
    """Until then there is more to spend, afterwards what is spent stays spent."""
    gateway = budgeted()
    until = gateway.clock.now() + timedelta(hours=1)
    declare(gateway, make_budget("0.00001", raise_usd=Decimal(1), raise_until=until))
    assert gateway.infer(HELLO).status == 200
    gateway.clock.advance(3600)
    assert gateway.infer(HELLO).status == 429


def test_a_lower_limit_holds_at_once_for_new_requests() -> None:
    """And a request under way settles under the limit that it was admitted under."""
    gateway = budgeted(make_budget("1"))
    run = gateway.realtime.invoke

    def lowered(*args: Any, **options: Any) -> Any:
        declare(gateway, make_budget("0.000002"))
        return run(*args, **options)

    gateway.realtime.invoke = lowered  # type: ignore[method-assign]  # the owner acts during the call
    answer = gateway.infer(HELLO)
    assert answer.status == 200
    assert counter_of(gateway).spent == Decimal(answer.headers["x-tollgate-cost-usd"])
    assert counter_of(gateway).overrun == 0
    assert gateway.infer(HELLO).status == 429


def test_another_period_starts_another_counter() -> None:
    """A request under way settles in the counter that holds for it."""
    gateway = budgeted(make_budget("1"))
    run = gateway.realtime.invoke

    def changed(*args: Any, **options: Any) -> Any:
        declare(gateway, make_budget("1", period=BudgetPeriod.MONTH))
        return run(*args, **options)

    gateway.realtime.invoke = changed  # type: ignore[method-assign]  # the owner acts during the call
    gateway.infer(HELLO)
    assert counter_of(gateway).held == 0
    assert counter_of(gateway).spent > 0
    gateway.infer(HELLO)
    assert counter_of(gateway, "gateway#month#2026-03").spent > 0


def test_a_request_over_midnight_counts_where_it_began() -> None:
    """Each counter keeps its own limit, whatever a function's clock says."""
    gateway = budgeted(make_budget("1"))
    gateway.clock.advance(43_200 - 0.1)
    gateway.infer(HELLO)
    assert list(gateway.ledger.counters) == [DAY]
    assert counter_of(gateway).held == 0


@pytest.mark.parametrize("seconds", [-110, 110], ids=["behind", "ahead"])
def test_a_clock_that_is_wrong_gives_back_no_hold_of_another(seconds: int) -> None:
    """A function whose clock is two minutes off is refused like any other, and what is held under way stays held."""
    gateway = budgeted(make_budget("0.0001"))
    slot = own_slot("inf_of_another", gateway.clock.now() + REALTIME_LEASE)
    held = Decimal("0.00009999")
    gateway.ledger.counters[DAY] = Counter(committed=held, slots={slot: held})
    # At the end of the other's lease, when its function has surely ended, by the right clock.
    gateway.clock.advance(REALTIME_LEASE.total_seconds() + seconds)
    assert gateway.infer(HELLO).status == 429
    assert counter_of(gateway).held == held


def test_a_key_that_is_gone_settles_all_the_same() -> None:
    """The counter stands in the reservation; nobody asks for the key again."""
    gateway = budgeted(make_budget("1", ScopeKind.KEY))
    run = gateway.realtime.invoke

    def deleted(*args: Any, **options: Any) -> Any:
        declare(gateway)
        return run(*args, **options)

    gateway.realtime.invoke = deleted  # type: ignore[method-assign]  # the key and its budget go during the call
    gateway.infer(HELLO)
    assert counter_of(gateway, "key:key_1#day#2026-03-01").held == 0


def test_the_named_budget_replaces_the_one_for_each() -> None:
    """Of the same kind and period; other periods go on counting."""
    gateway = budgeted(
        make_budget("0.00001", ScopeKind.KEY),
        make_budget("1", ScopeKind.KEY, subject="key_1"),
        make_budget("1", ScopeKind.KEY, BudgetPeriod.MONTH),
    )
    assert gateway.infer(HELLO).status == 200
    assert sorted(gateway.ledger.counters) == ["key:key_1#day#2026-03-01", "key:key_1#month#2026-03"]


def test_a_hold_that_is_given_back_leaves_a_line() -> None:
    """Whose call died, nobody knows; how much was held for it, and where, the log says."""
    gateway = budgeted(make_budget("0.001"))
    lost = Reservation(own_slot("inf_lost", gateway.clock.now()), Decimal("0.00099"), (Hold(DAY, None),))
    gateway.ledger.write([reserve(lost, lost.holds[0])])
    gateway.clock.advance(3_600)
    assert gateway.infer(HELLO).status == 200
    (line,) = [line for line in gateway.lines if line.get("message") == "budget hold released"]
    assert (line["counter"], line["released_usd"]) == (DAY, "0.00099")


@pytest.mark.parametrize(
    ("parameters", "inside"),
    [
        ({"max_tokens": 1, "max_new_tokens": 800}, {}),
        ({"max_tokens": 1}, {"max_new_tokens": 800}),
        ({"max_tokens": 100, "n": 8}, {}),
        ({"max_tokens": 100, "n": 1, "best_of": 8}, {}),
    ],
)
def test_a_batch_record_cannot_make_its_hold_small(parameters: dict[str, Any], inside: dict[str, Any]) -> None:
    """Neither by a low limit beside the one that the container knows, nor by more answers than one."""
    catalogue = make_catalogue()
    (deployment,) = catalogue.models["echo"].deployments
    slow = replace(deployment.timing, base_seconds=0.0, seconds_per_output_token=1.0)
    model = replace(catalogue.models["echo"], deployments=(replace(deployment, timing=slow),))
    gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}, budgets=(make_budget("100"),)))
    held = []
    for asked, own in (({"max_tokens": 800}, {}), (parameters, inside)):
        prompt = {"inputs": "hello", "parameters": own}
        assert gateway.infer(HELLO | {"priority": "low", "input": prompt, "parameters": asked}).status == 202
        held.append(counter_of(gateway).held)
    assert held[1] - held[0] == pytest.approx(held[0], rel=Decimal("0.01"))
