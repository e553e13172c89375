"""Trimming a conversation: what must never happen, and what a reader would expect to be kept."""

import itertools
from collections.abc import Sequence
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.errors import InputBudgetError, InvalidRequestError
from tollgate.domain.trimming.conversation import (
    MESSAGE_OVERHEAD_TOKENS,
    Message,
    Role,
    message_tokens,
    trim_conversation,
)
from tollgate.domain.trimming.terms import DUPLICATE_MIN_CHARACTERS, DropReason, Trimmed
from tollgate.domain.trimming.words import QUERY_CHARACTERS, query_terms, stem

WORDS = ("boat", "harbour", "invoice", "the", "was", "größe", "船", "?", "\ud83d", "", "deploy_failed", "2024", "naïve")
LONG = "the same long text that a client sends again with every single question"


def count(text: str) -> int:
    """A tokenizer stand-in: characters / 4, rounded up."""
    return -(-len(text) // 4)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Messages of every role, with tool calls that are answered, answered late, or not at all."""
    messages: list[Message] = []
    for number in range(draw(st.integers(0, 12))):
        text = " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=12)))
        text = draw(st.sampled_from([text, LONG]))
        role = draw(st.sampled_from([Role.SYSTEM, Role.USER, Role.USER, Role.ASSISTANT, Role.TOOL]))
        calls = [f"call-{number}-{i}" for i in range(draw(st.integers(0, 2)))] if role is Role.ASSISTANT else []
        messages.append(
            Message(
                role,
                text,
                keep=draw(st.integers(0, 7)) == 0,
                tool_call_ids=tuple(calls),
                tool_result_of="unknown" if role is Role.TOOL else "",
                name=draw(st.sampled_from(["", "Ana"])),
            )
        )
        results = [Message(Role.TOOL, f"{call} {text}", tool_result_of=call) for call in calls]
        messages += results[: draw(st.integers(0, len(results)))] if draw(st.booleans()) else results
    return messages


def trimmed_or_refused(
    messages: Sequence[Message], budget: int, query: str | None, keep_last: int
) -> Trimmed[Message] | None:
    """The result, or None where what must stay does not fit."""
    try:
        return trim_conversation(messages, budget, query, keep_last=keep_last, count_tokens=count)
    except InputBudgetError:
        assert needed_at_least(messages, keep_last) > budget
        return None


def needed_at_least(messages: Sequence[Message], keep_last: int) -> int:
    """Tokens of what must stay, with the other halves of its tool calls."""
    caller_of = {call: i for i, message in enumerate(messages) for call in message.tool_call_ids}
    heads = [caller_of.get(message.tool_result_of, i) for i, message in enumerate(messages)]
    fixed = {
        heads[i]
        for i, message in enumerate(messages)
        if message.keep or message.role is Role.SYSTEM or i >= len(messages) - keep_last
    }
    return sum(message_tokens(message, count) for i, message in enumerate(messages) if heads[i] in fixed)


budgets = st.integers(0, 120)
queries = st.sampled_from([None, "", "where is the boat?", "船", "größe \ud83d", "the was"])
lasts = st.integers(0, 3)


@given(conversations(), budgets, queries, lasts)
def test_the_budget_is_never_exceeded(messages: list[Message], budget: int, query: str | None, keep_last: int) -> None:
    """What is sent fits, by a count made afresh, and the report adds up to the token."""
    trimmed = trimmed_or_refused(messages, budget, query, keep_last)
    if trimmed is not None:
        after = sum(message_tokens(message, count) for message in trimmed.items)
        assert after == trimmed.input_tokens_after <= budget
        assert trimmed.input_tokens_saved == sum(entry.tokens for entry in trimmed.dropped)
        assert trimmed.input_tokens_before == sum(message_tokens(message, count) for message in messages)


@given(conversations(), budgets, queries, lasts)
def test_order_is_preserved_and_nothing_is_altered(
    messages: list[Message], budget: int, query: str | None, keep_last: int
) -> None:
    """Messages that were sent and dropped interleave to exactly what came in."""
    trimmed = trimmed_or_refused(messages, budget, query, keep_last)
    if trimmed is not None:
        dropped = {entry.index for entry in trimmed.dropped}
        left = [message for i, message in enumerate(messages) if i not in dropped]
        assert list(map(id, trimmed.items)) == list(map(id, left))
        assert len(dropped) == len(trimmed.dropped)


@given(conversations(), budgets, queries, lasts)
def test_what_must_stay_stays(messages: list[Message], budget: int, query: str | None, keep_last: int) -> None:
    """System messages, the last turns and what is marked keep are always sent."""
    trimmed = trimmed_or_refused(messages, budget, query, keep_last)
    if trimmed is not None:
        dropped = {entry.index for entry in trimmed.dropped}
        for i, message in enumerate(messages):
            if message.keep or message.role is Role.SYSTEM or i >= len(messages) - keep_last:
                assert i not in dropped


@given(conversations(), budgets, queries, lasts)
def test_tool_calls_and_results_go_together(
    messages: list[Message], budget: int, query: str | None, keep_last: int
) -> None:
    """A call is sent exactly when its results are; a result without any call only where it must stay."""
    trimmed = trimmed_or_refused(messages, budget, query, keep_last)
    if trimmed is not None:
        dropped = {entry.index for entry in trimmed.dropped}
        for i, message in enumerate(messages):
            for j, result in enumerate(messages):
                if result.tool_result_of and result.tool_result_of in message.tool_call_ids:
                    assert (i in dropped) == (j in dropped)
            if message.tool_result_of == "unknown":
                assert i in dropped or message.keep or i >= len(messages) - keep_last


@given(conversations(), budgets, queries, lasts)
def test_trimming_twice_changes_nothing(
    messages: list[Message], budget: int, query: str | None, keep_last: int
) -> None:
    """What was trimmed once fits and is left alone."""
    once = trimmed_or_refused(messages, budget, query, keep_last)
    if once is not None:
        twice = trim_conversation(once.items, budget, query, keep_last=keep_last, count_tokens=count)
        assert twice.items == once.items
        assert twice.dropped == ()


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=30), budgets)
def test_any_text_is_accepted(texts: list[str], query: str, budget: int) -> None:
    """No text and no query, however odd, breaks the scorer or the default token count."""
    trimmed = trim_conversation([Message(Role.USER, text) for text in texts], budget, query, keep_last=0)
    assert trimmed.input_tokens_after <= budget


def talk(*texts: str) -> list[Message]:
    """A dialogue of user and assistant."""
    return [
        Message(role, text) for role, text in zip(itertools.cycle([Role.USER, Role.ASSISTANT]), texts, strict=False)
    ]


def texts_of(trimmed: Trimmed[Message]) -> list[str]:
    """What is sent."""
    return [message.text for message in trimmed.items]


SMALL_TALK = [f"Small talk number {i}, about nothing that anybody would ask for later." for i in range(20)]


def test_the_relevant_turn_and_its_answer_are_kept() -> None:
    """An answer that shares no word with the query is found next to the question that does."""
    messages = talk(*SMALL_TALK[:10], "Which port did the ferry leave from?", "Split, at dawn.", *SMALL_TALK[10:])
    trimmed = trim_conversation(messages, 60, "From which port did the ferry leave?", keep_last=0, count_tokens=count)
    assert {"Which port did the ferry leave from?", "Split, at dawn."} <= set(texts_of(trimmed))


def test_forms_of_a_word_match() -> None:
    """Endings, case, accents and compatibility forms do not hide a word."""
    for said, asked in [
        ("She adopted two puppies.", "When did she ADOPT a puppy?"),
        ("Der Müller kam später.", "muller"),
        ("The \ufb01nal invoice is paid.", "final INVOICES"),
        ("\u6a2a\u6d5c\u306b\u884c\u304d\u307e\u3057\u305f", "\u6a2a\u6d5c\u306f\u3044\u3064\u3067\u3059\u304b"),
    ]:
        messages = talk(*SMALL_TALK[:6], said, *SMALL_TALK[6:12])
        trimmed = trim_conversation(messages, 40, asked, keep_last=0, count_tokens=count)
        assert said in texts_of(trimmed)


def test_a_speakers_name_counts() -> None:
    """A question about somebody finds what they said."""
    messages = [Message(Role.USER, text, name="Tom") for text in SMALL_TALK]
    messages[7] = Message(Role.USER, "It rained all week, so I stayed in and painted.", name="Miriam")
    trimmed = trim_conversation(messages, 40, "What did Miriam do?", keep_last=0, count_tokens=count)
    assert messages[7] in trimmed.items


def test_the_last_user_message_is_the_query() -> None:
    """Without a query the last question decides what is relevant."""
    messages = talk(
        *SMALL_TALK[:8], "My locker code is on the blue card.", *SMALL_TALK[8:13], "What was on the blue card?"
    )
    trimmed = trim_conversation(messages, 60, keep_last=1, count_tokens=count)
    assert "My locker code is on the blue card." in texts_of(trimmed)


def test_what_the_model_said_last_is_not_the_query() -> None:
    """A conversation may end with its answer, or with what it has begun to say."""
    messages = talk(
        *SMALL_TALK[:8],
        "My locker code is on the blue card.",
        *SMALL_TALK[8:13],
        "What was on the blue card?",
        "Zebras.",
    )
    trimmed = trim_conversation(messages, 60, keep_last=1, count_tokens=count)
    assert "My locker code is on the blue card." in texts_of(trimmed)


def test_without_a_match_the_latest_win() -> None:
    """Where no word of the query occurs, recency decides."""
    messages = talk(*SMALL_TALK)
    trimmed = trim_conversation(
        messages, 3 * message_tokens(messages[-1], count), "zebra", keep_last=0, count_tokens=count
    )
    assert trimmed.items == tuple(messages[-3:])


def test_everything_fits() -> None:
    """Nothing is dropped, and nothing reported, where the budget suffices."""
    messages = talk(*SMALL_TALK)
    trimmed = trim_conversation(messages, 10_000)
    assert (trimmed.items, trimmed.dropped, trimmed.input_tokens_saved) == (tuple(messages), (), 0)


def test_exact_duplicates_are_folded() -> None:
    """A long text that comes again is sent once, the last time; a short one every time."""
    assert len(LONG) >= DUPLICATE_MIN_CHARACTERS
    messages = talk(LONG, "yes", LONG, "yes", "Bye.")
    trimmed = trim_conversation(messages, 10_000)
    assert texts_of(trimmed) == ["yes", LONG, "yes", "Bye."]
    assert [(entry.index, entry.reason) for entry in trimmed.dropped] == [(0, DropReason.DUPLICATE)]
    assert [entry.reason for entry in trimmed.dropped].count(DropReason.DUPLICATE) == 1
    assert len(trim_conversation(messages, 10_000, fold_duplicates=False).items) == 5


def test_a_duplicate_of_what_must_stay_is_folded_away() -> None:
    """The copy that must stay is the one that is sent, wherever it is."""
    kept = Message(Role.USER, LONG, keep=True)
    trimmed = trim_conversation([kept, Message(Role.USER, LONG), Message(Role.USER, "Bye.")], 10_000, keep_last=1)
    assert trimmed.items[0] is kept
    assert len(trimmed.items) == 2


def test_the_same_words_by_another_speaker_are_no_duplicate() -> None:
    """Who says it is part of what is said; pictures cannot be compared by their text."""
    messages = [
        Message(Role.USER, LONG),
        Message(Role.ASSISTANT, LONG),
        Message(Role.USER, LONG, name="Ana"),
        Message(Role.USER, LONG, extra_tokens=85),
    ]
    assert len(trim_conversation(messages, 10_000, keep_last=0).items) == 4


def test_repeated_tool_reads_are_folded_as_a_whole() -> None:
    """The same call with the same result goes once, with both its halves."""

    def read(call: str) -> list[Message]:
        return [
            Message(Role.ASSISTANT, "read_file(path='report.txt')", tool_call_ids=(call,)),
            Message(Role.TOOL, LONG, tool_result_of=call),
        ]

    trimmed = trim_conversation([*read("a"), *read("b"), Message(Role.USER, "Sum it up.")], 10_000)
    assert [message.tool_result_of for message in trimmed.items if message.role is Role.TOOL] == ["b"]
    assert [entry.index for entry in trimmed.dropped] == [0, 1]


def test_the_last_turn_brings_its_tool_call() -> None:
    """Keeping the last message keeps the call that it answers, though the call is older."""
    call = Message(Role.ASSISTANT, "search", tool_call_ids=("a",))
    result = Message(Role.TOOL, "found", tool_result_of="a")
    trimmed = trim_conversation([*talk(*SMALL_TALK), call, result], 30, "zebra", keep_last=1, count_tokens=count)
    assert trimmed.items[-2:] == (call, result)


def test_a_reused_call_id_belongs_to_the_latest_call() -> None:
    """Clients that number calls from 1 in every turn still get the right pairs."""
    first = [Message(Role.ASSISTANT, "one", tool_call_ids=("1",)), Message(Role.TOOL, "r1", tool_result_of="1")]
    second = [Message(Role.ASSISTANT, "two", tool_call_ids=("1",)), Message(Role.TOOL, "r2", tool_result_of="1")]
    budget = sum(message_tokens(message, count) for message in second)
    trimmed = trim_conversation([*first, *second], budget, keep_last=1, count_tokens=count)
    assert trimmed.items == tuple(second)


def test_a_budget_below_what_must_stay_is_refused() -> None:
    """The error says how much is needed, and is the caller's to mend."""
    with pytest.raises(InputBudgetError, match=r"need .* input tokens, the budget is 5") as caught:
        trim_conversation([Message(Role.SYSTEM, "You are a helpful clerk. " * 5)], 5)
    assert isinstance(caught.value, InvalidRequestError)
    assert (caught.value.budget, caught.value.param) == (5, "messages")
    assert caught.value.needed > 5


def test_drops_are_reported_by_the_callers_ids() -> None:
    """The caller's own id, or else the index, names what was dropped, with its tokens."""
    messages = [
        Message(Role.USER, SMALL_TALK[0], id="m-0"),
        Message(Role.USER, SMALL_TALK[1]),
        Message(Role.USER, "ok"),
    ]
    trimmed = trim_conversation(messages, 6, keep_last=1, count_tokens=count)
    each = count(SMALL_TALK[0]) + MESSAGE_OVERHEAD_TOKENS
    assert [(entry.id, entry.tokens, entry.reason) for entry in trimmed.dropped] == [
        ("m-0", each, DropReason.BUDGET),
        ("1", each, DropReason.BUDGET),
    ]


def test_exact_figures_are_taken_as_given() -> None:
    """A message that brings its own token count is not counted again; pictures are added otherwise."""
    assert message_tokens(Message(Role.USER, "long " * 100, tokens=3), count) == 3
    assert message_tokens(Message(Role.USER, "", extra_tokens=85), count) == 85 + MESSAGE_OVERHEAD_TOKENS


def test_an_empty_conversation() -> None:
    """Nothing in, nothing out."""
    trimmed = trim_conversation([], 0)
    assert (trimmed.items, trimmed.input_tokens_before) == ((), 0)


def test_a_long_question_to_many_messages_takes_no_long_time() -> None:
    """The work once grew with the product of their numbers: half a minute for half a megabyte."""
    words = [f"w{number:x}q" for number in range(5_000)]
    messages = [Message(Role.USER, words[number % 5_000]) for number in range(10_000)]
    began = process_time()
    kept = trim_conversation(messages, 10_000, " ".join(words))
    assert process_time() - began < 6
    assert kept.input_tokens_after <= 10_000


def test_a_question_around_a_long_text_is_read_and_the_text_is_not() -> None:
    """Each of its words would be looked for in every message."""
    pasted = " ".join(f"word{number}" for number in range(20_000))
    for query in (f"Which turbine? {pasted}", f"{pasted} Which turbine?"):
        terms = [term.text for term in query_terms(query)]
        assert stem("turbine") in terms
        assert len(terms) < QUERY_CHARACTERS / 4
