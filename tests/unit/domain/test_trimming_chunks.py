"""Trimming retrieved chunks: budget, order and keep hold; relevance, the second hop and diversity do what they say."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.errors import InputBudgetError, InvalidRequestError
from tollgate.domain.trimming.chunk_relevance import leading_name
from tollgate.domain.trimming.chunks import ELLIPSIS, Chunk, trim_chunks
from tollgate.domain.trimming.terms import DropReason, Trimmed
from tollgate.domain.trimming.words import QueryMatcher, QueryTerm, fold, query_terms

SENTENCES = (
    "The ferry leaves Split at dawn.",
    "Tickets cost 12 euros!",
    "",
    "船は夜明けに出る。",
    "no capital, no end",
    "\ud83d odd?",
    "Was it late? Yes.",
    "A list:\n\n- one\n- two",
)


def count(text: str) -> int:
    """A tokenizer stand-in: characters / 4, rounded up."""
    return -(-len(text) // 4)


def size(chunks: tuple[Chunk, ...] | list[Chunk]) -> int:
    """Tokens of chunks as they are sent."""
    return sum(count(chunk.rendered) for chunk in chunks)


chunk_lists = st.lists(
    st.builds(
        Chunk,
        text=st.lists(st.sampled_from(SENTENCES), max_size=4).map(" ".join),
        title=st.sampled_from(["", "Ferries", "Split", "船"]),
        keep=st.integers(0, 5).map(lambda number: number == 0),
    ),
    max_size=8,
)
queries = st.sampled_from(["", "When does the ferry leave Split?", "船", "\ud83d", "the"])
ways = st.booleans()
shares = st.sampled_from([0.0, 0.3, 1.0])


@given(chunk_lists, queries, st.integers(0, 60), shares, ways)
def test_budget_order_keep_and_report(
    chunks: list[Chunk], query: str, budget: int, diversity: float, cut: bool
) -> None:
    """Whatever is chosen fits, stands in order, leaves kept chunks whole, and is accounted for."""
    try:
        trimmed = trim_chunks(
            chunks, query, budget_tokens=budget, diversity=diversity, cut_sentences=cut, count_tokens=count
        )
    except InputBudgetError:
        assert size([chunk for chunk in chunks if chunk.keep]) > budget
        return
    assert size(trimmed.items) == trimmed.input_tokens_after <= budget
    assert trimmed.input_tokens_saved == sum(entry.tokens for entry in trimmed.dropped)
    gone = {entry.index for entry in trimmed.dropped if not entry.is_partial}
    cut_short = {entry.index for entry in trimmed.dropped if entry.is_partial}
    assert not any(chunks[i].keep for i in gone | cut_short)
    assert cut or not cut_short
    left = [i for i in range(len(chunks)) if i not in gone]
    assert len(left) == len(trimmed.items)
    for i, sent in zip(left, trimmed.items, strict=True):
        assert sent.title == chunks[i].title
        if i in cut_short:
            assert all(part in chunks[i].text for part in sent.text.split(ELLIPSIS))
        else:
            assert sent is chunks[i]


@given(chunk_lists, queries, st.integers(0, 60), ways)
def test_trimming_twice_changes_nothing(chunks: list[Chunk], query: str, budget: int, cut: bool) -> None:
    """What was trimmed once fits and is left alone."""
    try:
        once = trim_chunks(chunks, query, budget_tokens=budget, cut_sentences=cut, count_tokens=count)
    except InputBudgetError:
        return
    twice = trim_chunks(once.items, query, budget_tokens=budget, cut_sentences=False, count_tokens=count)
    repeated = [entry for entry in twice.dropped if entry.reason is not DropReason.DUPLICATE]
    assert repeated == []


@given(chunk_lists, queries, st.integers(0, 5), shares)
def test_top_k(chunks: list[Chunk], query: str, top_k: int, diversity: float) -> None:
    """At most k chunks are sent besides those marked keep, and k if there are as many different ones."""
    trimmed = trim_chunks(chunks, query, top_k=top_k, diversity=diversity)
    kept = {(chunk.title, chunk.text) for chunk in chunks if chunk.keep}
    others = {(chunk.title, chunk.text) for chunk in chunks} - kept
    assert sum(not chunk.keep for chunk in trimmed.items) == min(top_k, len(others))


FERRY = Chunk("The ferry Marina crosses from Split to Hvar. It is painted white.", title="Marina (ferry)", id="ferry")
OWNER = Chunk("Jadro Line is a company in Rijeka. It was founded in 1947 by Ana Kos.", title="Jadro Line", id="owner")
OTHERS = [
    Chunk(f"Line {i} is a company. It was founded somewhere by somebody else at another time.", title=f"Company {i}")
    for i in range(6)
]


def ids(trimmed: Trimmed[Chunk]) -> list[str]:
    """The ids of what is sent."""
    return [chunk.id for chunk in trimmed.items]


def test_the_second_hop_is_followed() -> None:
    """A document that a good one names is found though it shares no topic word with the question."""
    bridge = Chunk("The ferry Marina belongs to Jadro Line.", title="Marina (ferry)", id="bridge")
    target = Chunk("Headquartered in Rijeka, its first director was Ana Kos.", title="Jadro Line", id="target")
    noise = [Chunk(f"Museum {i} shows old maps and coins.", title=f"Museum {i}") for i in range(6)]
    trimmed = trim_chunks([*noise, target, bridge], "Who led the firm with the ferry Marina?", top_k=2)
    assert ids(trimmed) == ["target", "bridge"]


def test_the_second_hop_works_without_titles() -> None:
    """A chunk without a title is known by the name that it begins with."""
    bridge = Chunk("The ferry Marina belongs to Jadro Line.", id="bridge")
    target = Chunk("Jadro Line, headquartered in Rijeka, was first led by Ana Kos.", id="target")
    noise = [Chunk(f"Museum {i} shows old maps and coins.") for i in range(6)]
    trimmed = trim_chunks([*noise, target, bridge], "Where is the ferry Marina?", top_k=2)
    assert ids(trimmed) == ["target", "bridge"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# Night tariff\n\nApplies from ten.", "Night tariff"),
        ("Bank of Split opened in 1902.", "Bank of Split"),
        ("so it goes", ""),
        ("Line " + "on and " * 20 + "on.\nMore.", "Line"),
        ("", ""),
        ("\u6a2a\u6d5c\u306f\u6e2f\u3060", "\u6a2a\u6d5c\u306f\u6e2f\u3060"),
    ],
)
def test_leading_name(text: str, name: str) -> None:
    """A heading, or the capitalised words at the start."""
    assert leading_name(text) == name


def test_sentences_are_cut_where_allowed() -> None:
    """Only the sentences that matter are sent, with a sign where some are left out."""
    text = "Opened in 1901. The tower is 47 metres high. Entry is free. Its bell weighs 900 kilograms."
    chunk = Chunk(text, title="Tower", id="tower")
    trimmed = trim_chunks(
        [chunk, *OTHERS],
        "How high is the tower and how heavy its bell?",
        budget_tokens=18,
        cut_sentences=True,
        count_tokens=count,
    )
    assert trimmed.items == (
        Chunk(f"The tower is 47 metres high.{ELLIPSIS}Its bell weighs 900 kilograms.", "tower", "Tower"),
    )
    assert trimmed.dropped[0].is_partial
    assert trimmed.dropped[0].tokens == count(chunk.rendered) - count(trimmed.items[0].rendered)


def test_without_leave_nothing_is_cut() -> None:
    """A chunk goes whole or not at all unless cutting is allowed, and one marked keep goes whole even then."""
    small = count(FERRY.rendered) - 1
    assert trim_chunks([FERRY], "ferry", budget_tokens=small, count_tokens=count).items == ()
    kept = Chunk(FERRY.text, FERRY.id, FERRY.title, keep=True)
    trimmed = trim_chunks([kept, OWNER], "Jadro Line", budget_tokens=small + 12, cut_sentences=True, count_tokens=count)
    assert trimmed.items[0] is kept


def test_diversity_prefers_what_is_new() -> None:
    """With diversity, a near copy gives way to another fact; without, the copy wins by its words."""
    one = Chunk("The night tariff for batch jobs is 40 percent lower.", id="one")
    copy = Chunk("The night tariff for batch jobs is 40 percent lower now.", id="copy")
    other = Chunk("From ten on, jobs pay a lower tariff, as printed on the bill.", id="other")
    noise = [Chunk(f"Lorem number {i} says nothing.") for i in range(4)]
    query = "night tariff of batch jobs, lower bill"
    assert set(ids(trim_chunks([one, copy, other, *noise], query, top_k=2, diversity=0.0))) == {"one", "copy"}
    assert set(ids(trim_chunks([one, copy, other, *noise], query, top_k=2, diversity=0.9))) == {"one", "other"}


def test_exact_duplicates_are_folded() -> None:
    """Of equal chunks the first is sent, for it has the better rank, even where all would fit."""
    again = Chunk(FERRY.text, "again", FERRY.title)
    trimmed = trim_chunks([FERRY, OWNER, again], "ferry", budget_tokens=1_000)
    assert trimmed.items == (FERRY, OWNER)
    assert [(entry.id, entry.reason) for entry in trimmed.dropped] == [("again", DropReason.DUPLICATE)]


def test_without_a_match_the_retrievers_order_decides() -> None:
    """Where no word of the query occurs, the first chunks win."""
    assert trim_chunks(OTHERS, "zebra", top_k=2).items == tuple(OTHERS[:2])


def test_nothing_to_limit_is_refused() -> None:
    """A call without a budget and without k is a mistake, and so is a share beyond one."""
    with pytest.raises(InvalidRequestError, match="budget or a number"):
        trim_chunks(OTHERS, "x")
    with pytest.raises(InvalidRequestError, match="0 to 1"):
        trim_chunks(OTHERS, "x", top_k=1, diversity=1.5)


def test_kept_chunks_that_do_not_fit_are_refused() -> None:
    """The budget is hard: keep does not lift it."""
    with pytest.raises(InputBudgetError, match="marked keep"):
        trim_chunks([Chunk("word " * 50, keep=True)], "word", budget_tokens=10, count_tokens=count)


def test_a_document_of_nothing_but_spaces_is_soon_read() -> None:
    """In time by its length; an expression that tries every end of the spaces would take many minutes."""
    began = time.perf_counter()
    assert leading_name(" \n" * 200_000) == ""
    assert time.perf_counter() - began < 5


def test_the_sentences_of_a_long_document_are_soon_chosen() -> None:
    """Compared one by one with all the others they would take many minutes, and the caller waits for half of one."""
    text = "".join(f"Word{number} is here. " for number in range(30_000))
    began = time.perf_counter()
    trimmed = trim_chunks([Chunk(text)], "Where is Word7?", budget_tokens=5_000, cut_sentences=True, count_tokens=count)
    assert time.perf_counter() - began < 20
    assert "Word7 is here." in trimmed.items[0].text
    assert 2_500 < trimmed.input_tokens_after <= 5_000


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\uff9e\u0316", "\u0f73\u0301"])
def test_combining_marks_are_folded_in_time_that_grows_with_their_number(marks: str) -> None:
    """Python takes a minute to bring half a megabyte of them in order; the word before them is still found."""
    began = time.process_time()
    assert fold("e\u0301t\u00e9 caf" + marks * 100_000 + " noir").split()[0::2] == ["ete", "noir"]
    assert time.process_time() - began < 1


def _words(count: int, seed: int, *, first: int = 97) -> str:
    """Words of five letters, or of letters beyond `first`, that repeat now and then."""
    numbers = ((seed * 7_919 + i * 104_729) % 20_011 for i in range(count))
    return " ".join("".join(chr(first + number // 26**place % 26) for place in range(5)) for number in numbers)


@pytest.mark.parametrize("first", [97, 0x4E00], ids=["letters", "signs without spaces"])
@pytest.mark.parametrize("cut", [False, True])
def test_many_large_documents_and_a_long_question_take_no_long_time(first: int, *, cut: bool) -> None:
    """About as much as a call can bring; it once took half a minute."""
    chunks = [Chunk(_words(250, number, first=first).replace(" a", ". A")) for number in range(1_500)]
    began = time.process_time()
    kept = trim_chunks(chunks, _words(16_000, 1, first=first), top_k=900, diversity=1.0, cut_sentences=cut)
    assert time.process_time() - began < 8
    assert 800 < len(kept.items) <= 900


def test_one_large_document_is_cut_in_no_long_time() -> None:
    """Its tokens are counted with every sentence that might be added."""
    chunk = Chunk("Aa bb. " * 600_000)
    began = time.process_time()
    kept = trim_chunks([chunk], "aa", budget_tokens=1_000_000, cut_sentences=True)
    assert time.process_time() - began < 8
    assert 0 < kept.input_tokens_after <= 1_000_000


@given(text=st.text(st.sampled_from("abc de.\u4e2d\u6587\u5b57"), max_size=200), more=st.integers(0, 1))
def test_many_terms_are_found_where_few_are(text: str, more: int) -> None:
    """However they are looked for: by the machine's own search, or word by word."""
    terms = query_terms("abc cab bed \u4e2d\u6587 \u6587\u5b57")
    others = tuple(QueryTerm(f"{chr(0x3B1 + i)}xyz", 1.0) for i in range(40)) if more else ()
    pieces = tuple(QueryTerm(chr(0x5000 + i) * 2, 1.0, is_piece=True) for i in range(40)) if more else ()
    few, many = QueryMatcher(terms), QueryMatcher((*terms, *others, *pieces))
    assert many.postings([fold(text)])[: len(terms)] == few.postings([fold(text)])
