"""Cached answers: the same behaviour in memory and in DynamoDB, and what only the table can get wrong."""

import hashlib
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.moto_stores import CACHE_TABLE, LocalAws
from tests.fakes.cache import InMemoryAnswers
from tests.fakes.messages import BUCKET
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.domain.cache.entry import MOST_FORGOTTEN, CachedAnswer, CacheSlot, Refusal
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import Usage
from tollgate.ports.cache import AnswerStore

KEY, SCOPE, NOW = "k" * 64, "private#acme", 1_800_000_000_000
ANSWER = CachedAnswer(
    output={"text": "hé\ud83d lo", "scores": [0.5, 1]},
    usage=Usage(3, None),
    resource="echo/small",
    worth=Decimal("0.000012"),
    began_ms=NOW - 50,
    made_ms=NOW,
    fresh_ms=NOW + 600_000,
    kept_ms=NOW + 660_000,
)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> AnswerStore:
    if request.param == "memory":
        return InMemoryAnswers()
    return in_dynamodb(request.getfixturevalue("aws"))


def in_dynamodb(aws: LocalAws) -> DynamoDBAnswers:
    return DynamoDBAnswers(aws.dynamodb, CACHE_TABLE, S3DirectObjects(aws.s3, BUCKET))


def ticket(fence: int) -> CacheTicket:
    return CacheTicket(KEY, fence, ttl_seconds=600, kept_seconds=60, began_ms=NOW - 50, scope=SCOPE)


def led(store: AnswerStore, now: int = NOW) -> int:
    """Take the lease; its fence."""
    seen, _ = store.read(KEY)
    assert store.lead(KEY, seen, scope=SCOPE, now_ms=now, until_ms=now + 10_000) is None
    return seen.fence + 1


def test_what_is_stored_is_read(store: AnswerStore) -> None:
    """Output, usage, money and times come back as they were, and the lease is given back with the answer."""
    assert store.read(KEY) == (CacheSlot(), None)
    assert store.store(ticket(led(store)), ANSWER)
    slot, forgotten = store.read(KEY)
    assert slot == CacheSlot(ANSWER, fence=1)
    assert forgotten is None


def test_a_refusal_is_stored_as_such(store: AnswerStore) -> None:
    """A model's 4xx has no output, and its words and status come back."""
    refusal = replace(ANSWER, output=None, refusal=Refusal("too long", 413))
    assert store.store(ticket(led(store)), refusal)
    assert store.read(KEY)[0].answer == refusal


def test_one_of_many_gets_the_lease(store: AnswerStore) -> None:
    """Everybody saw an empty key, one leads, and the others are told until when."""
    led(store)
    for _ in range(3):
        there = store.lead(KEY, CacheSlot(), scope=SCOPE, now_ms=NOW + 1, until_ms=NOW + 99_000)
        assert there is not None
        assert there.is_led(NOW + 1)
        assert there.lease_until_ms == NOW + 10_000


def test_a_lease_that_ended_is_taken_over_and_its_holder_cannot_store(store: AnswerStore) -> None:
    """The dead leader's fence is worthless: what it brings later changes nothing."""
    dead = led(store)
    heir = led(store, NOW + 10_000)
    assert not store.store(ticket(dead), replace(ANSWER, output="late"))
    assert store.read(KEY)[0].answer is None
    assert store.store(ticket(heir), ANSWER)
    assert not store.store(ticket(dead), replace(ANSWER, output="late"))
    assert store.read(KEY)[0].answer == ANSWER


def test_nobody_leads_on_an_outdated_look(store: AnswerStore) -> None:
    """Between the look and the lease an answer was stored: the lease is refused and the answer shown."""
    seen = store.read(KEY)[0]
    assert store.store(ticket(led(store)), ANSWER)
    there = store.lead(KEY, seen, scope=SCOPE, now_ms=NOW, until_ms=NOW + 1)
    assert there is not None
    assert there.answer == ANSWER


def test_a_lease_given_back_is_free(store: AnswerStore) -> None:
    """After a failed run the next caller need not wait; a stranger's release frees nothing."""
    fence = led(store)
    store.release(ticket(fence + 1))
    assert store.read(KEY)[0].is_led(NOW)
    store.release(ticket(fence))
    assert not store.read(KEY)[0].is_led(NOW)
    assert led(store) == fence + 1


def test_a_job_holds_the_lease(store: AnswerStore) -> None:
    """Whoever looks sees the job's name, until the next leader, who is none."""
    assert store.lead(KEY, CacheSlot(), scope=SCOPE, now_ms=NOW, until_ms=NOW + 90_000, job_id="inf_7") is None
    assert store.read(KEY)[0] == CacheSlot(fence=1, lease_until_ms=NOW + 90_000, job_id="inf_7")
    led(store, NOW + 90_000)
    assert not store.read(KEY)[0].job_id


def test_few_may_stray_beside_a_lease(store: AnswerStore) -> None:
    """As many as allowed, and as many again under the next lease."""
    led(store)
    assert [store.stray(KEY, 2) for _ in range(4)] == [True, True, False, False]
    led(store, NOW + 10_000)
    assert store.stray(KEY, 2)
    assert not store.stray(KEY, 0)


def test_without_a_lease_an_answer_is_stored_beside_it(store: AnswerStore) -> None:
    """A model that does not coalesce: nobody is refused, and a lease that is there stays."""
    assert store.store(ticket(0), ANSWER)
    fence = led(store)
    assert store.store(ticket(0), replace(ANSWER, output="other"))
    slot = store.read(KEY)[0]
    assert slot.answer is not None
    assert (slot.answer.output, slot.fence, slot.is_led(NOW)) == ("other", fence, True)


def test_forgetting_one_entry_also_stops_what_is_being_made(store: AnswerStore) -> None:
    """Only the owner's scope can; a run that had begun cannot bring the entry back."""
    assert store.store(ticket(led(store)), ANSWER)
    running = led(store)
    assert not store.forget(KEY, "private#other", NOW)
    assert store.forget(KEY, SCOPE, NOW)
    assert store.read(KEY)[0].answer is None
    assert not store.store(ticket(running), ANSWER)


def test_a_run_without_a_lease_cannot_bring_back_what_was_forgotten(store: AnswerStore) -> None:
    """Such as a batch: what began before the entry was forgotten is not kept, what begins afterwards is."""
    assert store.store(ticket(0), ANSWER)
    assert store.forget(KEY, SCOPE, ANSWER.began_ms)
    assert not store.store(ticket(0), ANSWER)
    assert store.read(KEY)[0].answer is None
    assert store.store(ticket(0), replace(ANSWER, began_ms=ANSWER.began_ms + 1))
    assert store.read(KEY)[0].answer is not None


def test_forgetting_by_name_is_told_with_the_entry(store: AnswerStore) -> None:
    """One read gives both; other scopes forget nothing."""
    store.forget_all(SCOPE, "model#echo", NOW)
    store.forget_all(SCOPE, "all", NOW - 100)
    assert store.store(ticket(led(store)), ANSWER)
    slot, forgotten = store.read(KEY, SCOPE)
    assert forgotten is not None
    assert forgotten.at_ms == {"model#echo": NOW, "all": NOW - 100}
    assert slot.answer is not None
    assert forgotten.covers(slot.answer, "echo", "")
    assert not forgotten.covers(slot.answer, "other", "")
    other = store.read(KEY, "private#other")[1]
    assert other is not None
    assert not other.at_ms


def test_a_list_of_names_does_not_grow_for_ever(store: AnswerStore) -> None:
    """A namespace for each user would fill the item; then nothing could be forgotten any more, and reads be slow."""
    names = [f"namespace#user-{number}" for number in range(MOST_FORGOTTEN)]
    for name in names:
        store.forget_all(SCOPE, name, NOW)
    store.forget_all(SCOPE, names[0], NOW + 1)
    known = store.read(KEY, SCOPE)[1]
    assert known is not None
    assert known.at_ms == dict.fromkeys(names, NOW) | {names[0]: NOW + 1}
    store.forget_all(SCOPE, "namespace#one-more", NOW + 2)
    known = store.read(KEY, SCOPE)[1]
    assert known is not None
    assert known.at_ms == {"all": NOW + 2}


def test_many_are_read_at_once(store: AnswerStore) -> None:
    """Those that are there, each under its own key."""
    assert store.store(ticket(led(store)), ANSWER)
    assert store.read_many([KEY, "m" * 64]) == {KEY: ANSWER}


def test_a_large_body_lies_in_the_bucket(aws: LocalAws) -> None:
    """What compression cannot bring under 200 KB is an object, and reads the same."""
    store = in_dynamodb(aws)
    noise = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(8_000))
    large = replace(ANSWER, output=noise)
    assert store.store(ticket(led(store)), large)
    item = _item(aws)
    assert "body" not in item
    assert item["object"]["S"].startswith(f"cache/{KEY}/")
    assert store.read(KEY)[0].answer == large


def test_a_body_that_compresses_is_compressed(aws: LocalAws) -> None:
    """A repetitive text of 50 KB takes a few hundred bytes of the item."""
    store = in_dynamodb(aws)
    assert store.store(ticket(led(store)), replace(ANSWER, output="all work and no play " * 2_500))
    assert len(_item(aws)["body"]["B"]) < 2_000


def _item(aws: LocalAws) -> dict[str, Any]:
    found = aws.boto3_client("dynamodb").get_item(TableName=CACHE_TABLE, Key={"cache_key": {"S": f"answer#{KEY}"}})
    item: dict[str, Any] = found["Item"]
    return item


@pytest.mark.parametrize(
    "poison",
    [
        lambda item: item.update(body={"B": item["body"]["B"][:-3]}),
        lambda item: item.update(body={"B": item["body"]["B"].replace(b"scores", b"scared")}),
        lambda item: item.update(fresh={"N": str(NOW + 10**9)}),
        lambda item: item.update(made={"S": "yesterday"}),
        lambda item: item.pop("began"),
        lambda item: item.pop("body"),
        lambda item: item.update(check={"S": "0" * 64}),
        lambda item: item.update(body={"S": "text"}),
    ],
)
def test_a_damaged_entry_is_a_miss(aws: LocalAws, poison: Callable[[dict[str, Any]], None]) -> None:
    """Truncated, changed, aged by hand or of the wrong type: no answer, no error, and the lease can be taken."""
    store = in_dynamodb(aws)
    assert store.store(ticket(led(store)), ANSWER)
    item = _item(aws)
    poison(item)
    aws.boto3_client("dynamodb").put_item(TableName=CACHE_TABLE, Item=item)
    assert store.read(KEY)[0].answer is None
    assert led(store) == 2


@pytest.mark.parametrize("field", ["fence", "lease_until"])
def test_an_entry_with_a_damaged_lease_is_a_miss_that_nobody_leads(aws: LocalAws, field: str) -> None:
    """No answer and no error, but as if somebody led who never answers: callers wait for a while, then run alone."""
    store = in_dynamodb(aws)
    assert store.store(ticket(led(store)), ANSWER)
    damaged = _item(aws) | {field: {"S": "seven"}}
    aws.boto3_client("dynamodb").put_item(TableName=CACHE_TABLE, Item=damaged)
    seen = store.read(KEY)[0]
    assert seen.answer is None
    for slot in (seen, store.lead(KEY, seen, scope=SCOPE, now_ms=NOW, until_ms=NOW + 10_000)):
        assert slot is not None
        assert slot.is_led(NOW + 10**9)


def test_an_entry_under_another_key_is_a_miss(aws: LocalAws) -> None:
    """The checksum covers the key: copying a good entry of another tenant over does not work."""
    store = in_dynamodb(aws)
    assert store.store(ticket(led(store)), ANSWER)
    copied = _item(aws) | {"cache_key": {"S": f"answer#{'v' * 64}"}}
    aws.boto3_client("dynamodb").put_item(TableName=CACHE_TABLE, Item=copied)
    assert store.read("v" * 64)[0].answer is None


def test_an_object_that_is_gone_is_a_miss(aws: LocalAws) -> None:
    """The bucket's lifecycle was faster than the table's."""
    store = in_dynamodb(aws)
    assert store.store(ticket(led(store)), ANSWER)
    item = _item(aws)
    del item["body"]
    item["object"] = {"S": "cache/gone"}
    aws.boto3_client("dynamodb").put_item(TableName=CACHE_TABLE, Item=item)
    assert store.read(KEY)[0].answer is None


def test_what_is_no_json_is_not_stored(aws: LocalAws) -> None:
    """NaN would be read back as something that no client can parse."""
    store = in_dynamodb(aws)
    with pytest.raises(ValueError, match="JSON"):
        store.store(ticket(led(store)), replace(ANSWER, output=float("nan")))


def test_a_table_that_is_not_there_fails_quickly(aws: LocalAws) -> None:
    """One attempt, no back-off: the caller decides what to do without a cache."""
    pauses: list[float] = []
    config = TransportConfig.from_mapping({"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    transport = AwsTransport(config, sleep=pauses.append)
    client = DynamoDBClient(transport, read_timeout_s=0.2, retry=RetryPolicy.NEVER)
    store = DynamoDBAnswers(client, CACHE_TABLE, S3DirectObjects(aws.s3, BUCKET))
    with pytest.raises(StorageError):
        store.read(KEY)
    assert not pauses
