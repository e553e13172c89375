"""What a call that is paid by the token costs at most, and what it did cost."""

import json
import tracemalloc
from copy import replace
from decimal import Decimal
from time import process_time
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fakes.examples import PRICES
from tollgate.adapters.dialects.messages import MessagesDialect
from tollgate.adapters.dialects.token_priced import TokenPricedDialect
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    ModelFailedError,
    PriceUnknownError,
)
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import compact_json
from tollgate.domain.providers.backend import MostTokens, Provider, TokenBackend
from tollgate.domain.providers.charges import (
    TEMPLATE_TOKENS,
    charged_token_cost,
    expected_token_cost,
    may_be_charged,
    most_input_tokens,
    most_token_cost,
    token_ask,
)
from tollgate.domain.providers.prices import BucketRates

RATES = st.decimals(0, 1000, places=4)
BACKENDS = st.builds(
    TokenBackend,
    provider=st.sampled_from(Provider),
    rates=st.builds(BucketRates, RATES, RATES, st.none() | RATES, st.none() | RATES),
    max_output_tokens=st.integers(1, 100_000),
)
COUNTS = st.integers(0, 200_000)


def _backend(*rates: str, most: int = 100) -> TokenBackend:
    return TokenBackend(Provider.BEDROCK, BucketRates(*map(Decimal, rates)), most)


@given(backend=BACKENDS, most=st.tuples(st.integers(1, 200_000), st.integers(1, 200_000)), parts=st.data())
def test_no_usage_within_the_bounds_costs_more_than_was_held(
    backend: TokenBackend, most: tuple[int, int], parts: st.DataObject
) -> None:
    """Whatever the rates, and however the provider splits its tokens into buckets, or does not say."""
    read, made = (parts.draw(st.integers(1, max(1, bound))) for bound in most)
    cached, reasoning = (parts.draw(st.none() | st.integers(0, whole)) for whole in (read, made))
    cost = charged_token_cost(backend, Usage(read, made, cached, reasoning))
    assert cost is not None
    assert cost <= most_token_cost(backend, MostTokens(*most))


@given(
    backend=BACKENDS, read=st.integers(1, 200_000), made=COUNTS, cached=st.none() | COUNTS, reasoning=st.none() | COUNTS
)
def test_what_is_not_told_never_makes_a_call_cheaper(
    backend: TokenBackend, read: int, made: int, cached: int | None, reasoning: int | None
) -> None:
    """A provider that says nothing of a bucket is paid as if the tokens were in the dearer one."""
    told = charged_token_cost(backend, Usage(read, made, cached, reasoning))
    silent = charged_token_cost(backend, Usage(read, made))
    assert silent is not None
    if told is None:
        assert (cached or 0) > read or (reasoning or 0) > made
    else:
        assert told <= silent


@given(text=st.text(min_size=1), schemas=st.booleans())
@example(text="\ufdfa" * 50, schemas=False)
@example(text="\ud800", schemas=False)
def test_a_prompt_has_fewer_tokens_than_its_bound(text: str, schemas: bool) -> None:
    """A byte-level tokenizer makes at most one token of a byte, also of a text that was normalised before."""
    body = MessagesDialect().render(text, {}).body
    bound = most_input_tokens(body, schemas=schemas)
    for form in (text, normalize("NFKC", text)):
        assert len(form.encode(errors="surrogatepass")) <= bound


def test_a_schema_that_is_written_out_with_indents_has_fewer_tokens_than_its_bound() -> None:
    """A caller may nest a list of figures deeply: each of its two bytes becomes a line of its own."""
    schema: Any = [1] * 1_000
    for _ in range(80):
        schema = [schema]
    tool = {"type": "function", "function": {"name": "a", "parameters": {"enum": schema}}}
    rendered = TokenPricedDialect(_backend("1", "1"), MessagesDialect()).render("hello", {"tools": [tool]})
    assert rendered.most is not None
    assert rendered.most.input > len(json.dumps(tool, indent=4))


def test_a_schema_is_held_for_as_it_may_be_written_out() -> None:
    """With a line for each entry where it is deep, or as types, in twice its bytes, where it is flat."""
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    flat = {"description": "Where a toll booth stands. " * 40}
    for schema, written in ((deep, json.dumps(deep, indent=4)), (flat, 2 * compact_json(flat))):
        assert most_input_tokens(compact_json(schema).encode(), schemas=True) == len(written) + TEMPLATE_TOKENS


@pytest.mark.parametrize("text", ["toll", "Zöllner müssen büßen", "税関", "таможня"])
def test_a_usual_text_is_held_for_no_more_than_its_bytes(text: str) -> None:
    """In whichever way the body writes it."""
    plain = compact_json({"messages": [{"role": "user", "content": text}]}).encode()
    escaped = json.dumps(json.loads(plain), separators=(",", ":")).encode()
    assert most_input_tokens(plain, schemas=False) == len(plain) + TEMPLATE_TOKENS
    assert most_input_tokens(escaped, schemas=False) == len(escaped) + TEMPLATE_TOKENS


@given(limit=st.none() | st.integers(1, 5_000), choices=st.none() | st.integers(1, 128), most=st.integers(1, 4_000))
def test_a_body_says_the_limit_that_is_reserved_for(limit: int | None, choices: int | None, most: int) -> None:
    """The provider is told the caller's limit or the deployment's, the smaller one, for each choice."""
    dialect = TokenPricedDialect(_backend("1", "1", most=most), MessagesDialect())
    parameters: dict[str, Any] = {"max_tokens": limit, "n": choices}
    rendered = dialect.render("hello", parameters)
    assert rendered.most is not None
    told = json.loads(rendered.body)
    assert told["max_tokens"] == min(most, limit or most)
    assert rendered.most.output == told["max_tokens"] * told.get("n", 1)
    assert rendered.most.input >= len(rendered.body)


@pytest.mark.parametrize("kind", [InferenceType.REALTIME, InferenceType.ASYNC])
def test_a_hold_covers_tokens_and_the_gateways_own_parts(kind: InferenceType) -> None:
    """It is never below the most that the tokens cost and what the road is expected to cost the gateway."""
    backend = _backend("3", "15", "0.3")
    road = Road(kind, "model", "", None, tokens=backend)
    rates = gateway_rates(PRICES)
    most = MostTokens(2_000, 100)
    ask = token_ask(road, most, rates, 500, lambda_gb_seconds=Decimal(7))
    own = rates.realtime(Decimal(7))
    if kind is InferenceType.ASYNC:
        own = rates.expected(kind, 500, 0) + rates.waiting(60)
    assert most_token_cost(backend, most) + own < ask.amount < most_token_cost(backend, most) + 2 * own
    assert ask.seconds is None, "nothing cuts such a call"
    with pytest.raises(PriceUnknownError):
        token_ask(road, None, rates, 500, lambda_gb_seconds=Decimal(7))


def test_cached_and_reasoning_tokens_cost_their_own_rates() -> None:
    """Each token once, in the bucket that the provider named."""
    backend = _backend("2", "10", "0.5", "4")
    cost = charged_token_cost(backend, Usage(1_000, 100, 400, 60))
    assert cost == (600 * Decimal(2) + 400 * Decimal("0.5") + 40 * Decimal(10) + 60 * Decimal(4)) / 1_000_000
    without = replace(backend, rates=BucketRates(Decimal(2), Decimal(10)))
    assert charged_token_cost(without, Usage(1_000, 100, 400, 60)) == expected_token_cost(without, 1_000, 100)


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(10, None), Usage(None, 10), Usage(10, 10, 11), Usage(0, 0), Usage(10, 10, 0, 11)]
)
def test_tokens_that_nobody_told_have_no_known_cost(usage: Usage) -> None:
    """Neither missing figures nor such as contradict each other become a price."""
    assert charged_token_cost(_backend("2", "10", "0.5", "4"), usage) is None


@pytest.mark.parametrize("usage", [Usage(10, 10, 11), Usage(10, 10, None, 11)])
def test_contradictions_count_where_the_parts_have_no_rates(usage: Usage) -> None:
    """Whoever leaves thoughts out of the output bills them all the same."""
    assert charged_token_cost(_backend("2", "10"), usage) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BackendTimeoutError("late"), True),
        (ModelFailedError("no answer", original_status=502), True),
        (ModelFailedError("bad input", original_status=400), False),
        (ModelFailedError("failed", original_status=500), False),
        (BackendThrottledError("busy"), False),
        (BackendError("no permission"), False),
    ],
)
def test_only_calls_that_may_have_run_are_charged(error: BackendError, expected: bool) -> None:
    """A refusal costs nothing; an answer that broke off in the caller's sight does, whatever ended it."""
    assert may_be_charged(error) is expected
    error.answer_begun = True
    assert may_be_charged(error)


@given(text=st.text(st.sampled_from("aeK \u00e9\u1e17\u0301\u0316\u0323\u0f73\uff9e\u304b\u1100\u1161\uac00\ufb2e")))
@example(text="\u00e9\u0323")
def test_marks_that_change_places_do_not_exceed_the_bound(text: str) -> None:
    """A mark that moves before another undoes what the other had become part of."""
    bound = most_input_tokens(MessagesDialect().render(text or "a", {}).body, schemas=False)
    overhead = most_input_tokens(MessagesDialect().render("a", {}).body, schemas=False) - 1
    assert len(normalize("NFKC", text).encode()) + overhead <= bound or not text


def test_combining_marks_are_counted_in_time_that_grows_with_their_number() -> None:
    """Python itself takes a minute to normalise half a megabyte of them."""
    began = process_time()
    rendered = MessagesDialect().render("a" + "\u0301\u0316" * 100_000, {})
    assert most_input_tokens(rendered.body, schemas=True) >= 400_000
    assert process_time() - began < 1


def test_indents_of_a_schema_are_counted_and_not_written() -> None:
    """Deep lists of figures would take hundreds of times the body's memory."""
    schema: Any = [1] * 100_000
    for _ in range(90):
        schema = [schema]
    body = json.dumps({"tools": schema}).encode()
    tracemalloc.start()
    bound = most_input_tokens(body, schemas=True)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bound > len(json.dumps({"tools": schema}, indent=4))
    assert most < 5_000_000
