"""The index of near-duplicates: the same behaviour in memory and in DynamoDB, and what only the table can get wrong."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.moto_stores import CACHE_TABLE, LocalAws
from tests.fakes.near import InMemoryNear
from tollgate.adapters.dynamodb.cache.near import DynamoDBNear
from tollgate.domain.near.guard import guard_of
from tollgate.domain.near.index import BUCKET_CAPACITY, NearEntry
from tollgate.domain.near.policy import NearPolicy
from tollgate.domain.near.reading import read
from tollgate.domain.near.record import FiledPrompt, NearShelf
from tollgate.domain.near.signature import NearSignature, bucket_keys
from tollgate.ports.near import NearStore

NOW, CONTEXT, PROMPT = 1_800_000_000, "c" * 64, "How do I renew my passport in Zürich? \ud83d"
BUCKETS = bucket_keys(CONTEXT, read(PROMPT))


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> NearStore:
    if request.param == "memory":
        return InMemoryNear()
    return DynamoDBNear(request.getfixturevalue("aws").dynamodb, CACHE_TABLE)


def filed(number: int = 1, *, expires_s: int = NOW + 600) -> FiledPrompt:
    return FiledPrompt(f"{number:064x}"[::-1], CONTEXT, PROMPT, NOW * 1000, expires_s)


def entry(of: FiledPrompt) -> NearEntry:
    return NearEntry(of.entry_id, NearSignature.of(read(of.prompt)), of.expires_s)


def test_what_is_filed_is_found(store: NearStore) -> None:
    """Under each of its buckets, with its prompt as it was written, and once however often it is filed."""
    assert store.shelf(BUCKETS, "echo") == NearShelf(((),) * len(BUCKETS), None)
    for _ in range(3):
        store.file(filed(), entry(filed()), BUCKETS, NOW)
    assert store.shelf(BUCKETS, "echo").buckets == ((entry(filed()),),) * len(BUCKETS)
    assert store.prompts([filed().entry_id, "f" * 32]) == {filed().entry_id: filed()}


def test_a_prompt_keeps_its_vector(store: NearStore) -> None:
    """To the last byte; one that was filed without has none."""
    one, other = dataclasses.replace(filed(1), vector=bytes(range(256))), filed(2)
    for each in (one, other):
        store.file(each, entry(each), BUCKETS[:1], NOW)
    assert store.prompts([one.entry_id, other.entry_id]) == {one.entry_id: one, other.entry_id: other}


def test_a_later_answer_takes_the_place_of_the_earlier(store: NearStore) -> None:
    """The entry lives as long as the answer that it points to now."""
    later = filed(expires_s=NOW + 900)
    store.file(filed(), entry(filed()), BUCKETS, NOW)
    store.file(later, entry(later), BUCKETS, NOW + 300)
    assert store.shelf(BUCKETS[:1], "echo").buckets == ((entry(later),),)
    assert store.prompts([later.entry_id])[later.entry_id].expires_s == NOW + 900


def test_a_bucket_is_bounded(store: NearStore) -> None:
    """Of more entries than it holds, the oldest go, and what has expired goes first."""
    for number in range(1, BUCKET_CAPACITY + 4):
        store.file(filed(number), entry(filed(number)), BUCKETS[:1], NOW)
    ids = [each.entry_id for each in store.shelf(BUCKETS[:1], "echo").buckets[0]]
    assert ids == [filed(number).entry_id for number in range(4, BUCKET_CAPACITY + 4)]
    new = filed(999, expires_s=NOW + 9_000)
    store.file(new, entry(new), BUCKETS[:1], NOW + 600)
    assert [each.entry_id for each in store.shelf(BUCKETS[:1], "echo").buckets[0]] == [new.entry_id]


def test_a_dropped_prompt_is_gone(store: NearStore) -> None:
    """Its entries point to nothing; dropping it again is no error."""
    store.file(filed(), entry(filed()), BUCKETS, NOW)
    store.drop(filed().entry_id)
    store.drop(filed().entry_id)
    assert store.prompts([filed().entry_id]) == {}
    assert store.shelf(BUCKETS, "echo").buckets[0]


def test_the_guard_is_written_by_one_at_a_time(store: NearStore) -> None:
    """Who has read an older state is told, reads again, and counts on top of what the other one counted."""
    policy = NearPolicy()
    new = guard_of(policy, store.guard("echo"))
    first, second = new.observe("a", agrees=True), new.observe("b", agrees=False)
    assert first is not None
    assert second is not None
    assert store.put_guard("echo", first)
    assert not store.put_guard("echo", second)
    again = guard_of(policy, store.guard("echo")).observe("b", agrees=False)
    assert again is not None
    assert store.put_guard("echo", again)
    kept = guard_of(policy, store.shelf(BUCKETS, "echo").guard)
    assert (kept.agreed, kept.disagreed, kept.seen, kept.version) == (1, 1, ("a", "b"), 2)
    assert store.guard("other") is None


def test_damaged_and_misplaced_items_are_as_good_as_none(aws: LocalAws) -> None:
    """A bucket or prompt that was changed, cut, or copied to another name is not read."""
    store, table = DynamoDBNear(aws.dynamodb, CACHE_TABLE), aws.dynamodb
    store.file(filed(), entry(filed()), BUCKETS[:1], NOW)
    bucket = table.get_item(CACHE_TABLE, {"cache_key": f"near#{BUCKETS[0]}"})
    prompt = table.get_item(CACHE_TABLE, {"cache_key": f"near-text#{filed().entry_id}"})
    assert bucket is not None
    assert prompt is not None
    assert len(bucket["entries"]) <= 49
    assert bucket["ttl"] > NOW
    assert prompt["ttl"] > NOW
    table.put_item(CACHE_TABLE, {**bucket, "cache_key": f"near#{BUCKETS[1]}"})
    table.put_item(CACHE_TABLE, {**bucket, "cache_key": f"near#{BUCKETS[2]}", "entries": bucket["entries"][:-1]})
    assert store.shelf(BUCKETS[1:3], "echo").buckets == ((), ())
    other = "e" * 32
    table.put_item(CACHE_TABLE, {**prompt, "cache_key": f"near-text#{other}"})
    assert store.prompts([other]) == {}
    for change in (
        {"context": "d" * 64},
        {"prompt": b"another"},
        {"prompt": "text"},
        {"check": ""},
        {"made": None},
        {"vector": b"1"},
        {"vector": "1"},
    ):
        table.put_item(CACHE_TABLE, {**prompt, **change})
        assert store.prompts([filed().entry_id]) == {}
    store.file(filed(), entry(filed()), BUCKETS[1:3], NOW)
    assert store.shelf(BUCKETS[1:3], "echo").buckets == ((entry(filed()),), (entry(filed()),))


def test_writers_of_one_bucket_do_not_lose_each_other(aws: LocalAws) -> None:
    """Pairs at the same moment, again and again: whoever comes second reads anew and adds to it."""
    store = DynamoDBNear(aws.dynamodb, CACHE_TABLE)

    def write(number: int) -> None:
        store.file(filed(number), entry(filed(number)), BUCKETS[:1], NOW)

    with ThreadPoolExecutor(2) as pool:
        for number in range(1, 21, 2):
            list(pool.map(write, (number, number + 1)))
    found = {each.entry_id for each in store.shelf(BUCKETS[:1], "echo").buckets[0]}
    assert found == {filed(number).entry_id for number in range(1, 21)}


def test_a_full_bucket_is_one_read_unit(aws: LocalAws) -> None:
    """The fullest bucket with the longest signatures stays under 4 KB."""
    store = DynamoDBNear(aws.dynamodb, CACHE_TABLE)
    words = " ".join(f"river{letter}stone" for letter in "abcdefghijklmnop")
    signature = NearSignature.of(read(words))
    for number in range(1, BUCKET_CAPACITY + 1):
        one = filed(number)
        store.file(one, dataclasses.replace(entry(one), signature=signature), BUCKETS[:1], NOW)
    item = aws.dynamodb.get_item(CACHE_TABLE, {"cache_key": f"near#{BUCKETS[0]}"})
    assert item is not None
    assert 2_500 < len(item["entries"]) + 200 < 4_096
