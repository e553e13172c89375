"""Near matches at the gateway: what is given for other words of a question, what never is, and who watches that."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from functions.cache.app import handle
from tests.fakes.cache_function import CacheStack
from tests.fakes.cached_gateway import with_budget
from tests.fakes.gateway import document
from tests.fakes.near import InMemoryNear
from tests.unit.template_document import ROOT
from tollgate.api.http import Answer
from tollgate.domain.errors import BackendTimeoutError
from tollgate.domain.near.index import MAX_CANDIDATES
from tollgate.domain.near.policy import Likeness, NearPolicy
from tollgate.domain.near.signature import MAX_KEYS
from tollgate.services.cache.breaker import FAILURES, REST_SECONDS
from tollgate.services.cache.near_answers import NearAnswers
from tollgate.services.cache.refresh_answers import RefreshOrders

FIRST = "How do I renew my passport in Geneva?"
SECOND = "How can I renew my passport in Geneva?"
BODY: dict[str, Any] = {"model": "echo", "input": FIRST, "priority": "high"}


class Near(CacheStack):
    """A gateway whose model opts in, the cache function beside it, and the orders between the two."""

    def __init__(self, *, sample: float = 0.0, likeness: Likeness = Likeness.WORDS, **policy: Any) -> None:
        super().__init__(near=NearPolicy(sample=sample, likeness=likeness), **policy)

    def ask(self, text: str, /, *, number: str = "req-1", **changes: Any) -> Answer:
        headers, tenant = changes.pop("headers", None), changes.pop("tenant", "acme")
        answer = self.gateway.infer(BODY | {"input": text} | changes, headers=headers, tenant=tenant, request_id=number)
        self.deliver()
        return answer

    def deliver(self, times: int = 1) -> None:
        """Carry out what was ordered, maybe more than once."""
        for run, ticket, against in self.gateway.checks:
            RefreshOrders(self.orders, self.gateway.objects).order(run, ticket, against)
        self.gateway.checks.clear()
        messages = [*self.gateway.filings, *self.orders.bodies]
        self.gateway.filings.clear()
        self.orders.sent.clear()
        for _ in range(times):
            for message in messages:
                kind = self.parts.upkeep.file if message["kind"] == "near" else self.parts.refresher.carry_out
                kind(message)

    def state_of(self, text: str, /, **options: Any) -> str:
        answer = self.ask(text, **options)
        assert answer.status == 200, answer.body
        return answer.headers["x-tollgate-cache"]

    @property
    def runs(self) -> int:
        return len(self.gateway.realtime.calls)

    @property
    def index(self) -> InMemoryNear:
        return self.gateway.near_index


def test_other_words_of_a_question_get_its_answer() -> None:
    """The second question is answered `near`, free, with the age and the id of the entry in headers and body."""
    stack = Near()
    first = stack.ask(FIRST)
    stack.gateway.clock.advance(7)
    second = stack.ask(SECOND)
    key = stack.call("POST /v1/cache/lookup", BODY)[1]["key"]
    assert (first.headers["x-tollgate-cache"], second.headers["x-tollgate-cache"]) == ("miss", "near")
    assert second.headers["Age"] == "7"
    assert second.headers["x-tollgate-cache-matched"] == key
    assert document(second)["cache"] == {"state": "near", "matched": key, "age_seconds": 7, "score": 1.0}
    assert document(second)["output"] == document(first)["output"]
    assert second.headers["x-tollgate-cost-usd"] == "0"
    assert Decimal(second.headers["x-tollgate-avoided-cost-usd"]) > 0
    line = [line for line in stack.gateway.lines if line.get("message") == "request"][-1]
    assert (line["cache"], list(line["avoided_usd"])) == ("near", ["cache"])
    assert stack.runs == 1


@pytest.mark.parametrize(
    "text",
    [
        "How can I renew my 2 passports in Geneva?",
        "How can I not renew my passport in Geneva?",
        "How can I renew my passport in Zurich?",
        "Why should I renew my passport in Geneva?",
    ],
)
def test_what_differs_in_a_fact_is_a_miss(text: str) -> None:
    """A number, a negation, a name, the sort of question: however like the texts are otherwise."""
    stack = Near()
    stack.ask(FIRST)
    assert stack.state_of(text) == "miss"


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "other"},
        {"cache": {"namespace": "mine"}},
        {"parameters": {"max_tokens": 5}},
        {"headers": {"Cache-Control": "no-cache"}},
        {"headers": {"Cache-Control": "max-age=5"}},
        {"cache": {"mode": "refresh"}},
        {"cache": {"ttl": 5}},
        {"quality": 0.5},
        {"trim": {"keep_last": 1}},
    ],
)
def test_another_context_or_another_wish_is_a_miss(changes: dict[str, Any]) -> None:
    """Another tenant, namespace or parameter, and whoever wants a new or a younger answer."""
    stack = Near()
    stack.ask(FIRST)
    stack.gateway.clock.advance(10)
    assert stack.state_of(SECOND, **changes) == "miss"


def test_a_shared_namespace_is_shared_nearly_too() -> None:
    """Both tenants name what the operator declared as shared; a tenant that does not name it gets nothing."""
    stack = Near(shared_namespaces=frozenset({"faq"}))
    stack.ask(FIRST, cache={"namespace": "faq"})
    assert stack.state_of(SECOND, tenant="other", cache={"namespace": "faq"}) == "near"
    assert stack.state_of(SECOND, tenant="third") == "miss"


def test_only_if_cached_takes_a_near_match_and_never_runs() -> None:
    """With one it is answered, without one it is 504."""
    stack = Near()
    assert stack.ask(SECOND, headers={"Cache-Control": "only-if-cached"}).status == 504
    stack.ask(FIRST)
    assert stack.state_of(SECOND, headers={"Cache-Control": "only-if-cached"}) == "near"
    assert stack.runs == 1


def test_a_request_that_would_become_a_job_is_answered_at_once() -> None:
    """As with an exact hit; with a webhook it becomes a job."""
    stack = Near()
    stack.ask(FIRST)
    assert stack.state_of(SECOND, priority="medium") == "near"
    hook = {"priority": "medium", "webhook_url": "https://example.com/hook"}
    assert stack.ask(SECOND, **hook).status == 202


def test_an_exact_hit_never_searches() -> None:
    """The index is read after an exact miss only, and a model that did not opt in has none."""
    stack = Near()
    stack.ask(FIRST)
    stack.index.calls.clear()
    assert stack.state_of(FIRST) == "hit"
    assert not stack.index.calls
    plain = CacheStack()
    assert plain.state() == "miss"
    assert not plain.gateway.near_index.calls
    assert not plain.gateway.filings


def test_a_search_is_two_reads_of_the_index_and_one_of_an_answer() -> None:
    """However many entries there are: seven items at most, then the prompts of a few, then the answer."""
    stack = Near()
    for number in range(40):
        stack.ask(f"{FIRST} And what does seat row{number} say?")
    stack.ask(FIRST)
    stack.index.calls.clear()
    stack.gateway.answers.calls.clear()
    assert stack.state_of(SECOND) == "near"
    assert stack.index.calls == ["shelf", "prompts"]
    assert stack.gateway.answers.calls == ["read", "read"]
    assert MAX_KEYS + 1 <= 7
    assert MAX_CANDIDATES <= 6


def test_dead_pointers_are_misses() -> None:
    """What expired, was forgotten by key or by model, or lost its prompt, is not given."""
    stack = Near()
    stack.ask(FIRST)
    stack.gateway.clock.advance(601)
    assert stack.state_of(SECOND) == "miss"
    stack = Near()
    stack.ask(FIRST)
    key = stack.call("POST /v1/cache/lookup", BODY)[1]["key"]
    assert stack.call("DELETE /v1/cache", query={"key": key})[0] == 200
    assert not stack.index.filed
    assert stack.state_of(SECOND) == "miss"
    stack = Near()
    stack.ask(FIRST)
    stack.gateway.clock.advance(6)
    assert stack.call("DELETE /v1/cache", query={"model": "echo"})[0] == 200
    assert stack.state_of(SECOND) == "miss"


@pytest.mark.parametrize("operation", ["shelf", "prompts"])
def test_an_index_that_is_down_is_a_miss(operation: str) -> None:
    """The request runs as after any other miss, and a metric says why."""
    stack = Near()
    stack.ask(FIRST)
    stack.index.fails = lambda called: called == operation
    assert stack.state_of(SECOND) == "miss"
    assert [line for line in stack.gateway.metrics if "CacheNearDown" in line]


def test_long_and_odd_prompts_take_no_part() -> None:
    """Neither one word of a megabyte nor a list of texts is looked for or filed."""
    stack = Near()
    for prompt in ("a" * 5_000, ["one", "two"], {"messages": [{"role": "assistant", "content": "x"}]}):
        stack.gateway.infer(BODY | {"input": prompt})
    assert not stack.index.calls
    assert not stack.gateway.filings


def test_an_index_that_stays_down_is_left_alone_for_a_while() -> None:
    """After four searches that failed nobody waits for it; a few seconds later one tries again."""
    stack = Near()
    stack.ask(FIRST)
    stack.index.fails = lambda called: called == "shelf"
    for number in range(8):
        stack.ask(f"{FIRST} And for row{number}?")
    assert stack.index.calls.count("shelf") == 1 + FAILURES
    stack.index.fails = lambda _called: False
    assert stack.state_of(SECOND) == "miss"
    stack.gateway.clock.advance(REST_SECONDS + 0.1)
    assert stack.state_of(SECOND.replace("my", "our")) == "near"


def test_unlike_texts_are_refused_by_the_score() -> None:
    """The rules agree, the likeness does not."""
    stack = Near()
    stack.ask(FIRST)
    stack.gateway.likeness = lambda _one, _other: 0.9
    assert stack.state_of(SECOND) == "miss"


def test_a_lookup_shows_what_was_compared_and_runs_nothing() -> None:
    """The match, every candidate with its score and reasons, and the guard as it stands."""
    stack = Near()
    stack.ask(FIRST)
    stack.ask("How can I renew my 2 passports in Geneva?")
    stack.gateway.clock.advance(3)
    _, found, headers = stack.call("POST /v1/cache/lookup", BODY | {"input": SECOND})
    assert (found["cache"], headers["x-tollgate-cache"], headers["Age"]) == ("near", "near", "3")
    near = found["near"]
    assert near["matched"] != found["key"]
    assert [candidate["agreed"] for candidate in near["candidates"]] == [True]
    assert near["candidates"][0]["age_seconds"] == 3
    assert (near["serves"], near["compared"]) == (True, {"agreed": 0, "disagreed": 0})
    assert stack.runs == 2
    _, other, _ = stack.call("POST /v1/cache/lookup", BODY | {"input": SECOND}, tenant="other")
    assert (other["cache"], other["near"]["candidates"], other["near"]["matched"]) == ("miss", [], None)


def answers(*texts: str) -> Iterator[bytes]:
    """One answer after the other."""
    yield from (f'{{"generated_text": "{text}"}}'.encode() for text in texts)


def scripted(stack: Near, *texts: str) -> None:
    made = answers(*texts)
    stack.gateway.realtime.script = lambda: next(made)


def _spent(stack: Near) -> Decimal:
    return sum((counter.spent for counter in stack.gateway.ledger.counters.values()), Decimal(0))


def test_a_sampled_near_hit_is_run_again_and_charged() -> None:
    """The caller has the near answer at once; behind it the question itself runs, on the caller's budget, and is kept.

    Not as a request of its own in usage, but with its cost.
    """
    stack = Near(sample=1.0)
    stack.gateway.catalogues.catalogue = with_budget(stack.gateway.catalogues.catalogue, Decimal(1))
    stack.ask(FIRST)
    spent = _spent(stack)
    assert stack.state_of(SECOND) == "near"
    assert stack.runs == 2
    assert _spent(stack) > spent
    (record,) = stack.telemetry.requests
    assert record.request_id.startswith("req-1.")
    assert record.request_id.endswith("#refresh")
    assert stack.index.guards["echo"]["agreed"] == 1
    assert (stack.telemetry.counts["CacheNearChecked"], stack.telemetry.counts.get("CacheNearWrong")) == (1, None)
    assert not [text for _, text, _ in stack.telemetry.lines if "moved" in text]
    assert stack.state_of(SECOND) == "hit"


def test_wrong_hits_tighten_the_threshold_and_then_end_near_matches() -> None:
    """Two disagreements of two show a rate above 5 %: one step; after the last step nothing is served."""
    stack = Near(sample=1.0)
    scripted(stack, *(f"answer {number}" for number in range(40)))
    seen: list[tuple[float, bool]] = []
    for letter in "abcdef":
        stack.ask(f"How do I renew my passport in Town{letter}?", number=f"a{letter}")
        assert stack.state_of(f"How can I renew my passport in Town{letter}?", number=f"b{letter}") == "near"
        _, found, _ = stack.call("POST /v1/cache/lookup", BODY | {"input": "How would I renew my passport in Towna?"})
        seen.append((found["near"]["threshold"], found["near"]["serves"]))
    on = [(threshold, True) for threshold in (0.985, 0.99, 0.99, 0.995, 0.995)]
    assert seen == [*on, (0.995, False)]
    assert (found["cache"], found["near"]["compared"]) == ("miss", {"agreed": 0, "disagreed": 6})
    assert [stack.telemetry.counts[name] for name in ("CacheNearChecked", "CacheNearWrong")] == [6, 6]
    told = [(values["CacheNearThreshold"], dimensions) for values, dimensions in stack.telemetry.measured]
    assert told == [(threshold if serves else 1.0, {"Model": "echo"}) for threshold, serves in seen]
    moves = [
        (level, said["threshold"], said["serves"]) for level, text, said in stack.telemetry.lines if "moved" in text
    ]
    assert moves == [("WARNING", 0.99, True), ("WARNING", 0.995, True), ("WARNING", 0.995, False)]
    assert stack.state_of("How would I renew my passport in Towna?") == "miss"


def test_comparisons_go_on_where_nothing_is_served() -> None:
    """A guard that has turned near matches off learns from requests that run anyway, at no further cost."""
    stack = Near(sample=1.0)
    scripted(stack, *(f"answer {number}" for number in range(12)), *["the same"] * 8)
    for letter in "abcdef":
        stack.ask(f"How do I renew my passport in Town{letter}?", number=f"a{letter}")
        stack.ask(f"How can I renew my passport in Town{letter}?", number=f"b{letter}")
    stack.ask("How do I renew my passport in Townx?")
    runs = stack.runs
    assert stack.state_of("How can I renew my passport in Townx?") == "miss"
    assert stack.runs == runs + 1
    assert stack.index.guards["echo"]["agreed"] == 1


def test_a_comparison_that_comes_twice_counts_once() -> None:
    """Messages are repeated; neither the model runs again nor the guard counts again."""
    stack = Near(sample=1.0)
    stack.ask(FIRST)
    assert stack.gateway.infer(BODY | {"input": SECOND}).headers["x-tollgate-cache"] == "near"
    stack.deliver(times=3)
    assert stack.runs == 2
    assert stack.index.guards["echo"]["agreed"] == 1


def test_a_failed_rerun_counts_nothing() -> None:
    """The model's failure says nothing about the match; the lease is given back, and the near answer stays."""
    stack = Near(sample=1.0)
    stack.ask(FIRST)
    stack.gateway.realtime.answer = BackendTimeoutError("too slow")
    assert stack.state_of(SECOND) == "near"
    assert [record.outcome for record in stack.telemetry.requests] == ["failed"]
    assert not stack.index.guards
    assert stack.state_of(SECOND) == "near"


def test_a_model_that_no_longer_opts_in_files_nothing() -> None:
    """Orders may come late; what they would do is not wanted any more."""
    stack = Near()
    stack.gateway.infer(BODY)
    stack.gateway.catalogues.catalogue = CacheStack().gateway.catalogue
    stack.deliver()
    assert not stack.index.filed


def test_without_vectors_there_are_no_near_matches() -> None:
    """One log line, and everything else as before."""
    stack = Near()
    stack.ask(FIRST)
    stack.gateway.near = NearAnswers(
        index=stack.index,
        answers=stack.gateway.answers,
        words=lambda: None,
        sentences=lambda _text: None,
        file=lambda _run, order: stack.gateway.filings.append(order),
        check=None,
        clock=stack.gateway.clock,
        telemetry=stack.telemetry,
    )
    assert (stack.state_of(SECOND), stack.state_of(SECOND)) == ("miss", "hit")
    assert len(stack.index.filed) == 1
    ((level, message, _),) = stack.telemetry.lines
    assert (level, "near matching by words is off" in message) == ("WARNING", True)


def test_an_order_files_a_prompt() -> None:
    """The sample of an order that files a prompt: it is filed while it is fresh, and dropped later."""
    order = json.loads((ROOT / "events/cache/near.json").read_text())
    stack = Near()
    stack.gateway.clock.advance(order["made_ms"] / 1000 - stack.gateway.clock.now().timestamp())
    assert handle(order, stack.parts) is None
    assert [filed.prompt for filed in stack.index.filed.values()] == [order["prompt"]]
    stack.index.filed.clear()
    stack.gateway.clock.advance(601)
    assert handle(order, stack.parts) is None
    assert not stack.index.filed
