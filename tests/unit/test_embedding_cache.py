"""Lists of texts to embed: only what nobody has seen is sent on, and every caller gets the whole list, in order."""

import json
from collections.abc import Iterator
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import DAY, make_budget
from tests.fakes.cache_function import CacheStack
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tollgate.api.http import Answer
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import ModelKind, Road
from tollgate.domain.errors import CapacityError
from tollgate.ports.backends import ModelAnswer


class Embedder:
    """A container that makes a vector of each text's length, and remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.error: Exception | None = None
        self.short = False
        self.numbers = 2

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        assert road.target
        assert content_type
        assert timeout_seconds > 0
        assert trace
        texts = json.loads(body)["inputs"]
        texts = [texts] if isinstance(texts, str) else texts
        self.sent.append(texts)
        if self.error is not None:
            raise self.error
        vectors = [[float(len(text)), *[0.5] * (self.numbers - 1)] for text in texts]
        return ModelAnswer(json.dumps(vectors[1:] if self.short else vectors).encode(), "application/json", 0.2)


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def gateway(embedder: Embedder) -> FakeGateway:
    catalogue = make_catalogue()
    policy = CachePolicy(per_text=True)
    model = replace(catalogue.models["echo"], kind=ModelKind.EMBEDDING, cache=policy)
    made = FakeGateway(catalogue=replace(catalogue, models={"echo": model}))
    made.realtime.invoke = embedder.invoke  # type: ignore[method-assign]  # the container of these tests
    return made


def embed(gateway: FakeGateway, texts: list[str], **options: Any) -> Answer:
    body = {"model": "echo", "input": texts, "service_tier": "priority"}
    return gateway.call("POST /v1/embeddings", body, **options)


def vectors(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    return [entry["embedding"] for entry in document(answer)["data"]]


def test_only_new_texts_are_sent_on(gateway: FakeGateway, embedder: Embedder) -> None:
    """The second list brings one new text: that one is sent, and the answer is whole and in order."""
    embed(gateway, ["a", "bb"])
    answer = embed(gateway, ["bb", "ccc", "a", "bb"])
    assert embedder.sent == [["a", "bb"], ["ccc"]]
    assert vectors(answer) == [[2.0, 0.5], [3.0, 0.5], [1.0, 0.5], [2.0, 0.5]]
    assert answer.headers["x-tollgate-cache"] == "miss"


def test_what_one_request_may_have_written_is_limited(gateway: FakeGateway, embedder: Embedder) -> None:
    """No budget counts the table's writes: of vectors that fill 15 KB each, 125 are kept, and more by the next list."""
    embedder.numbers = 1_536
    texts = [f"text {number}" for number in range(500)]
    for _ in range(3):
        assert len(vectors(embed(gateway, texts))) == 500
    assert [len(sent) for sent in embedder.sent] == [500, 500 - 125, 500 - 2 * 125]


def test_a_list_that_is_all_known_is_free(gateway: FakeGateway, embedder: Embedder) -> None:
    """Nothing runs; cost 0, and what was avoided."""
    embed(gateway, ["a", "bb"])
    gateway.clock.advance(5)
    answer = embed(gateway, ["bb", "a"])
    assert len(embedder.sent) == 1
    assert (answer.headers["x-tollgate-cache"], answer.headers["Age"]) == ("hit", "5")
    assert answer.headers["x-tollgate-cost-usd"] == "0"
    assert Decimal(answer.headers["x-tollgate-avoided-cost-usd"]) > 0


def test_one_text_shares_its_vector_with_lists(gateway: FakeGateway, embedder: Embedder) -> None:
    """In both directions."""
    embed(gateway, ["a", "bb"])
    assert embed(gateway, ["a"]).headers["x-tollgate-cache"] == "hit"
    embed(gateway, ["ccc"])
    assert embed(gateway, ["ccc", "a"]).headers["x-tollgate-cache"] == "hit"
    assert embedder.sent == [["a", "bb"], ["ccc"]]


def test_texts_of_other_tenants_are_sent(gateway: FakeGateway, embedder: Embedder) -> None:
    """Nothing is shared, and what was forgotten or has expired is made again."""
    embed(gateway, ["a", "bb"])
    embed(gateway, ["a", "bb"], tenant="other")
    gateway.clock.advance(1)
    gateway.answers.forget_all("private#acme", "all", int(gateway.clock.now().timestamp() * 1000))
    gateway.clock.advance(5)
    embed(gateway, ["a", "bb"])
    gateway.clock.advance(601)
    embed(gateway, ["a", "bb"])
    assert embedder.sent == [["a", "bb"]] * 4


def test_without_capacity_the_whole_list_becomes_a_job(gateway: FakeGateway, embedder: Embedder) -> None:
    """Never a job for the missing texts alone, whose answer would lack the others."""
    embed(gateway, ["a", "bb"])
    embedder.error = CapacityError("asleep")
    answer = embed(gateway, ["a", "ccc"], headers={"Prefer": "respond-async"})
    assert answer.status == 202
    (job,) = gateway.jobs.jobs.values()
    assert job.input.inline == {"inputs": ["a", "ccc"]}


def test_an_answer_with_a_vector_missing_is_refused_and_not_kept(gateway: FakeGateway, embedder: Embedder) -> None:
    """A vector is never given to the wrong text."""
    embedder.short = True
    assert embed(gateway, ["a", "bb"]).status == 502
    embedder.short = False
    assert embed(gateway, ["a", "bb"]).headers["x-tollgate-cache"] == "miss"


def test_when_the_table_is_down_a_share_of_the_lists_is_embedded(gateway: FakeGateway, embedder: Embedder) -> None:
    """Within the policy's share of 0.5, chosen by the request's id, as for any other request; the others get 503."""
    gateway.answers.fails = lambda _operation: True
    answers = [embed(gateway, ["a", "bb"], request_id=f"req-{number}") for number in range(100)]
    served = [answer for answer in answers if answer.status == 200]
    assert {answer.status for answer in answers} == {200, 503}
    assert 35 <= len(served) <= 65
    assert vectors(served[0]) == [[1.0, 0.5], [2.0, 0.5]]
    assert len(embedder.sent) == len(served)


def test_a_read_that_fails_halfway_is_capped_too(gateway: FakeGateway, embedder: Embedder) -> None:
    """Reads of many entries fail: the list is looked up as a whole, and where that works it is a miss like others."""
    gateway.answers.fails = lambda operation: operation == "read_many"
    assert vectors(embed(gateway, ["a", "bb"])) == [[1.0, 0.5], [2.0, 0.5]]
    assert embed(gateway, ["a", "bb"]).headers["x-tollgate-cache"] == "hit"
    assert embedder.sent == [["a", "bb"]]


def test_wishes_hold_for_lists_too(gateway: FakeGateway, embedder: Embedder) -> None:
    """Who wants a new answer gets one for the whole list."""
    embed(gateway, ["a", "bb"])
    embed(gateway, ["a", "bb"], headers={"Cache-Control": "no-cache"})
    embed(gateway, ["a", "bb"], headers={"Cache-Control": "no-store"})
    assert embedder.sent == [["a", "bb"]] * 3


def test_a_list_that_is_run_again_as_a_whole_costs_what_was_charged(gateway: FakeGateway) -> None:
    """The new texts found no place, which took the gateway's work; the whole list found one. The answer says both."""
    catalogue = replace(gateway.catalogues.catalogue, budgets=(make_budget("5"),))
    gateway = FakeGateway(catalogue=catalogue)
    results: Iterator[bytes | Exception] = iter([CapacityError("full"), b"[[1.0], [2.0]]"])
    gateway.realtime.script = lambda: next(results)
    answer = embed(gateway, ["a", "bb"])
    assert vectors(answer) == [[1.0], [2.0]]
    assert len(gateway.realtime.calls) == 2
    spent = gateway.ledger.counters[DAY].spent
    assert Decimal(answer.headers["x-tollgate-cost-usd"]) == spent > 0


def test_a_native_list_of_texts_is_looked_up_text_by_text(gateway: FakeGateway, embedder: Embedder) -> None:
    """A bare list is sent as `inputs` is, so it shares the vectors of every other list."""
    embed(gateway, ["a", "bb"])
    body = {"model": "echo", "priority": "high"}
    mixed = gateway.infer(body | {"input": ["bb", "ccc"]})
    assert document(mixed)["output"] == [[2.0, 0.5], [3.0, 0.5]]
    assert embedder.sent == [["a", "bb"], ["ccc"]]
    for texts in (["ccc", "a"], ["a"]):
        assert gateway.infer(body | {"input": texts}).headers["x-tollgate-cache"] == "hit"


def test_a_list_that_may_not_run_is_answered_from_its_vectors(gateway: FakeGateway, embedder: Embedder) -> None:
    """`only-if-cached` gives the list if every vector is there, and otherwise runs nothing."""
    embed(gateway, ["a", "bb"])
    only = {"headers": {"Cache-Control": "only-if-cached"}}
    assert vectors(embed(gateway, ["bb", "a"], **only)) == [[2.0, 0.5], [1.0, 0.5]]
    assert embed(gateway, ["bb", "ccc"], **only).status == 504
    assert len(embedder.sent) == 1


def test_a_lookup_of_a_list_says_what_the_request_would_find(embedder: Embedder) -> None:
    """All vectors there is a hit, as old as the oldest; one missing is a miss; nothing runs."""
    stack = CacheStack(per_text=True)
    catalogue = stack.gateway.catalogue
    model = replace(catalogue.models["echo"], kind=ModelKind.EMBEDDING)
    stack.gateway.catalogues.catalogue = replace(catalogue, models={"echo": model})
    stack.gateway.realtime.invoke = embedder.invoke  # type: ignore[method-assign]  # the container of these tests
    embed(stack.gateway, ["a", "dddd"])
    stack.gateway.clock.advance(5)
    embed(stack.gateway, ["bb", "a"])
    body = {"model": "echo", "priority": "high"}
    _, found, headers = stack.call("POST /v1/cache/lookup", body | {"input": {"inputs": ["bb", "a"]}})
    assert (found["cache"], found["output"], headers["Age"]) == ("hit", [[2.0, 0.5], [1.0, 0.5]], "5")
    assert Decimal(found["avoided_cost_usd"]) > 0
    _, missing, _ = stack.call("POST /v1/cache/lookup", body | {"input": ["bb", "ccc"]})
    assert missing["cache"] == "miss"
    assert embedder.sent == [["a", "dddd"], ["bb"]]
