"""The candidate index: bounded work, isolation between contexts, and finding paraphrases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.near_index import NearIndex
from tollgate.domain.near.index import MAX_CANDIDATES, NearEntry, admit, shortlist
from tollgate.domain.near.reading import read
from tollgate.domain.near.signature import MAX_KEYS, MAX_WORDS, NearSignature, bucket_keys

prompts = st.lists(
    st.sampled_from(
        [
            "red",
            "green",
            "blue",
            "river",
            "bridge",
            "castle",
            "Paris",
            "Rome",
            "train",
            "7",
            "not",
            "the",
            "of",
            "best",
        ]
    ),
    max_size=9,
).map(" ".join)
signatures = prompts.map(lambda text: NearSignature.of(read(text)))
entries = st.builds(NearEntry, st.text("abc", min_size=1, max_size=2), signatures, st.integers(0, 20))


@given(st.text(max_size=200) | prompts)
def test_a_prompt_has_few_different_keys(text: str) -> None:
    """However long or odd the prompt, a lookup reads at most six items."""
    keys = bucket_keys("context", read(text))
    assert len(keys) == len(set(keys)) <= MAX_KEYS


@given(prompts)
def test_contexts_share_no_bucket(text: str) -> None:
    """Another tenant, model or system prompt means other buckets: nothing can leak between them."""
    assert not set(bucket_keys("one", read(text))) & set(bucket_keys("other", read(text)))


def test_long_prompts_take_no_part() -> None:
    """A prompt of more words than the limit has no near match."""
    assert bucket_keys("context", read("word " * MAX_WORDS))
    assert not bucket_keys("context", read("word " * (MAX_WORDS + 1)))


def test_a_prompt_without_words_takes_no_part() -> None:
    """All of these would share one bucket."""
    assert not bucket_keys("context", read("?! \u2622"))


def test_the_order_of_signs_says_nothing() -> None:
    """The facts of a signature are those of the text, whichever way a set of them is gone through."""
    one, other = (
        NearSignature.of(read(" ".join(signs)))
        for signs in ("\u2622\u2623\u2665\u2666\u2663", "\u2663\u2666\u2665\u2623\u2622")
    )
    assert one == other


@given(signatures)
def test_a_signature_survives_storage(signature: NearSignature) -> None:
    """What is packed comes back, in at most 28 bytes."""
    packed = signature.pack()
    assert len(packed) <= 28
    assert NearSignature.unpack(packed) == signature


@pytest.mark.parametrize("packed", [b"", b"abc", b"abcde", b"a" * 30])
def test_a_broken_signature_is_reported(packed: bytes) -> None:
    """Bytes of an impossible length are an error, not a match."""
    with pytest.raises(ValueError, match="near signature"):
        NearSignature.unpack(packed)


@given(st.lists(entries, max_size=12), entries, st.integers(0, 20), st.integers(1, 5))
def test_a_bucket_stays_bounded_and_fresh(bucket: list[NearEntry], entry: NearEntry, now: int, capacity: int) -> None:
    """After a write: within capacity, the new entry last and once, nothing expired beside it."""
    after = admit(bucket, entry, now=now, capacity=capacity)
    assert len(after) <= capacity
    assert after[-1] == entry
    assert [old.entry_id for old in after].count(entry.entry_id) == 1
    assert all(old.expires_at > now for old in after[:-1])


@given(signatures, st.lists(st.lists(entries, max_size=5), max_size=4), st.integers(0, 20))
def test_the_shortlist_is_short_fresh_and_ordered(
    signature: NearSignature, buckets: list[list[NearEntry]], now: int
) -> None:
    """At most `MAX_CANDIDATES` entries, none expired, none twice, none without likeness, likeliest first."""
    found = shortlist(signature, buckets, now=now)
    assert len(found) == len({entry.entry_id for entry in found}) <= MAX_CANDIDATES
    assert all(entry.expires_at > now for entry in found)
    likeness = [entry.signature.likeness(signature) for entry in found]
    assert likeness == sorted(likeness, reverse=True)
    assert all(likeness)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("How do I reset my password?", "what's the best way to reset a password"),
        ("How can I lose weight quickly?", "What should I do to reduce weight?"),
        ("Which is the best laptop for video editing?", "What laptop is good for editing videos?"),
        ("Why?", "why"),
    ],
)
def test_paraphrases_are_found(stored: str, asked: str) -> None:
    """Other wordings of a stored prompt share a bucket with it."""
    index = NearIndex()
    index.add("context", read(stored), "entry", expires_at=10, now=0)
    assert [entry.entry_id for entry in index.candidates("context", read(asked), now=0)] == ["entry"]


def test_other_numbers_are_not_even_fetched() -> None:
    """A candidate that the verifier would refuse for its facts costs no read."""
    index = NearIndex()
    index.add("context", read("best phone under 300 dollars"), "entry", expires_at=10, now=0)
    assert not index.candidates("context", read("best phone under 500 dollars"), now=0)


def test_expired_entries_are_not_found() -> None:
    """An entry is gone at the second it expires."""
    index = NearIndex()
    index.add("context", read("reset password"), "entry", expires_at=10, now=0)
    assert index.candidates("context", read("reset password"), now=9)
    assert not index.candidates("context", read("reset password"), now=10)


def test_work_does_not_grow_with_the_index() -> None:
    """Two thousand entries of one topic leave buckets at capacity and a lookup at its six reads."""
    index = NearIndex(capacity=8)
    for number in range(2_000):
        index.add("context", read(f"castle bridge river topic{number}"), str(number), expires_at=10, now=0)
    index.items_read = 0
    found = index.candidates("context", read("castle bridge river"), now=0)
    assert index.items_read <= MAX_KEYS
    assert index.largest_bucket() == 8
    assert len(found) == MAX_CANDIDATES
