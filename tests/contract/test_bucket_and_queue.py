"""The bucket, the queue and the holding record: the same promises in memory and on the AWS stand-in."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.contract.moto_stores import REGISTRY_TABLE, LocalAws
from tests.fakes.messages import BUCKET, InMemoryObjectStore
from tests.fakes.telemetry import InMemoryHoldingStore
from tollgate.adapters.dynamodb.registry.backlog import DynamoDBBacklog
from tollgate.adapters.dynamodb.registry.holding import DynamoDBHoldingStore
from tollgate.adapters.messaging.sqs_queue import SqsQueue
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.adapters.s3.objects import S3ObjectStore, split_lines
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.ports.jobs import HoldingStore
from tollgate.ports.objects import ObjectStore, WholeObjectStore

_KEYS = ["files/a b+c.json", "files/ä/💡.json", "files/%41.json"]


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest) -> ObjectStore:
    return InMemoryObjectStore() if request.param == "memory" else _boto3_objects(request)


@pytest.fixture(params=["memory", "s3", "direct"])
def whole_objects(request: pytest.FixtureRequest) -> WholeObjectStore:
    if request.param == "direct":
        local: LocalAws = request.getfixturevalue("aws")
        return S3DirectObjects(local.s3, BUCKET)
    return InMemoryObjectStore() if request.param == "memory" else _boto3_objects(request)


def _boto3_objects(request: pytest.FixtureRequest) -> S3ObjectStore:
    request.getfixturevalue("aws")
    return S3ObjectStore(BUCKET)


@pytest.fixture(params=["memory", "dynamodb"])
def holding(request: pytest.FixtureRequest) -> HoldingStore:
    if request.param == "memory":
        return InMemoryHoldingStore()
    local: LocalAws = request.getfixturevalue("aws")
    return DynamoDBHoldingStore(local.dynamodb, REGISTRY_TABLE)


@pytest.mark.parametrize("key", _KEYS)
def test_an_object_comes_back_under_any_key(whole_objects: WholeObjectStore, key: str) -> None:
    """Keys with blanks, plus signs, per cent signs and other alphabets are not changed."""
    assert whole_objects.get(key) is None
    assert whole_objects.stored_at(key) is None
    whole_objects.put(key, b"\x00\xff")
    assert whole_objects.get(key) == b"\x00\xff"
    stored_at = whole_objects.stored_at(key)
    assert stored_at is not None
    assert stored_at.tzinfo is not None


@pytest.mark.parametrize("key", _KEYS)
def test_any_key_is_listed(objects: ObjectStore, key: str) -> None:
    """As it was given; an object that is not there has no lines."""
    assert objects.lines(key) is None
    objects.put(key, b"\x00\xff")
    assert list(objects.list_keys("files/")) == [key]


@pytest.mark.parametrize("key", _KEYS)
def test_both_clients_name_the_same_object(aws: LocalAws, key: str) -> None:
    """What one stores the other reads, whatever the key, in both directions."""
    direct, boto3_store = S3DirectObjects(aws.s3, BUCKET), S3ObjectStore(BUCKET)
    direct.put(key, b"direct")
    assert boto3_store.get(key) == b"direct"
    boto3_store.put(key, b"boto3")
    assert direct.get(key) == b"boto3"
    assert direct.stored_at(key) == boto3_store.stored_at(key)


@pytest.mark.parametrize("key", _KEYS)
def test_a_presigned_url_gives_the_object(aws: LocalAws, key: str) -> None:
    """Without any header of AWS's."""
    objects = S3DirectObjects(aws.s3, BUCKET)
    objects.put(key, b"for you")
    url = objects.presigned_get(key, expires_seconds=60)
    with urllib.request.urlopen(url) as answer:  # noqa: S310 -- our own URL
        assert answer.read() == b"for you"


def test_lines_are_read_and_written(objects: ObjectStore) -> None:
    """Either line end, a byte order mark, empty lines and a last line without an end."""
    objects.put("files/in", b"\xef\xbb\xbfone\r\n\ntwo\nthree")
    lines = objects.lines("files/in")
    assert lines is not None
    assert list(lines) == [b"one", b"", b"two", b"three"]
    objects.put_lines("files/out", iter([b"a", b"", b"b"]))
    assert objects.get("files/out") == b"a\n\nb\n"


def test_many_lines_go_up_in_parts(objects: ObjectStore) -> None:
    """Nine megabytes come back as they were; lines that end in an error leave no object behind."""
    line = b"x" * 999
    objects.put_lines("files/long", (line for _ in range(9_500)))
    assert objects.get("files/long") == (line + b"\n") * 9_500

    def broken() -> Iterator[bytes]:
        yield from (line for _ in range(9_500))
        raise StorageError("The source failed.")

    with pytest.raises(StorageError):
        objects.put_lines("files/broken", broken())
    assert objects.get("files/broken") is None


def test_keys_are_listed_in_byte_order(objects: ObjectStore) -> None:
    """Below the prefix only."""
    for key in ("p/b", "p/Z", "p/a", "q/a"):
        objects.put(key, b"")
    assert list(objects.list_keys("p/")) == ["p/Z", "p/a", "p/b"]


def test_a_location_is_understood(whole_objects: WholeObjectStore) -> None:
    """Only of this bucket."""
    assert whole_objects.key_of(whole_objects.location_of("async-output/a b.out")) == "async-output/a b.out"
    assert whole_objects.key_of(f"s3://{BUCKET}2/x") is None
    assert whole_objects.key_of("https://example.com/x") is None
    assert whole_objects.presigned_get("results/x", expires_seconds=60).startswith("http")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_do_not_depend_on_chunks(size: int) -> None:
    """However the bytes arrive, the lines are the same."""
    text = b"\xef\xbb\xbfab\r\n\r\nc\xef\xbb\xbf\n\nlast"
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(split_lines(chunks)) == [b"ab", b"", b"c\xef\xbb\xbf", b"", b"last"]


def test_a_line_without_end_is_cut_before_it_fills_the_memory() -> None:
    """Those before and after it are whole; a file is read for one tenant in a function that works for many."""
    endless = (b"x" * 1_000 for _ in range(50))
    chunks = [b"first\n", *endless, b"y\nlast"]
    first, cut, last = split_lines(chunks, longest=10_000)
    assert (first, last) == (b"first", b"last")
    assert cut == b"x" * 10_000


@pytest.mark.parametrize("direct", [True, False])
def test_a_missing_bucket_is_a_storage_error(aws: LocalAws, *, direct: bool) -> None:
    """For reading and writing."""
    name = "tollgate-no-such-bucket"
    nowhere: WholeObjectStore = S3DirectObjects(aws.s3, name) if direct else S3ObjectStore(name)
    with pytest.raises(StorageError):
        nowhere.put("a", b"")
    with pytest.raises(StorageError):
        nowhere.get("a")


@pytest.mark.usefixtures("aws")
def test_a_missing_bucket_cannot_be_listed() -> None:
    """It is not taken for an empty one."""
    with pytest.raises(StorageError):
        list(S3ObjectStore("tollgate-no-such-bucket").list_keys("a"))


def test_a_message_travels_with_its_trace(aws: LocalAws) -> None:
    """Body as JSON, whatever its texts hold; traceparent as an attribute, none when there is none."""
    client = aws.boto3_client("sqs")
    url = client.create_queue(QueueName="work")["QueueUrl"]
    queue = SqsQueue(aws.sqs, url)
    queue.send({"job_id": "inf_ü"}, trace="00-a-b-01", group="acme")
    first = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"][0]
    assert json.loads(first["Body"]) == {"job_id": "inf_ü"}
    assert first["MessageAttributes"]["traceparent"]["StringValue"] == "00-a-b-01"
    client.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    queue.send({"prompt": "half a pair \ud83d"})
    half = client.receive_message(QueueUrl=url)["Messages"][0]
    assert json.loads(half["Body"]) == {"prompt": "half a pair \ud83d"}
    client.delete_message(QueueUrl=url, ReceiptHandle=half["ReceiptHandle"])
    queue.send({"job_id": "inf_2"}, delay_seconds=900)
    assert "Messages" not in client.receive_message(QueueUrl=url)
    with pytest.raises(StorageError):
        SqsQueue(aws.sqs, url + "-none").send({})


def test_places_are_remembered(holding: HoldingStore) -> None:
    """The second request waited for the first one's place and pays for the rest; told again, each pays as before."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    seconds = [
        holding.take_place(
            "echo/small",
            InferenceType.ASYNC,
            request_id=name,
            received=start,
            finished=start + timedelta(seconds=end),
            places=1,
            most_seconds=None,
        )
        for name, end in (("a", 2), ("b", 5.5), ("b", 9), ("a", 2))
    ]
    assert seconds == [Decimal(2), Decimal("3.5"), Decimal("3.5"), Decimal(2)]
    other = holding.take_place(
        "echo/large",
        InferenceType.ASYNC,
        request_id="b",
        received=start,
        finished=start + timedelta(seconds=9),
        places=1,
        most_seconds=4,
    )
    assert other == Decimal(4)


def test_many_at_once_are_charged_for_one_place(aws: LocalAws) -> None:
    """Racing writers take turns: ten requests that ended a second apart on one place pay ten seconds in all."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    store = DynamoDBHoldingStore(aws.dynamodb, REGISTRY_TABLE)

    def take(number: int) -> Decimal:
        finished = start + timedelta(seconds=number)
        return store.take_place(
            "echo/small",
            InferenceType.ASYNC,
            request_id=str(number),
            received=start,
            finished=finished,
            places=1,
            most_seconds=9,
        )

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(take, range(1, 11))) == Decimal(10)


def test_the_backlog_is_written_beside_other_observations(aws: LocalAws) -> None:
    """What others keep in the item stays."""
    key = {"pk": "capacity", "sk": "echo/small#async"}
    aws.dynamodb.put_item(REGISTRY_TABLE, {**key, "measured_seconds": Decimal("0.5")})
    DynamoDBBacklog(aws.dynamodb, REGISTRY_TABLE).record_backlog(
        "echo/small", InferenceType.ASYNC, 7, observed_at=datetime(2026, 3, 1, tzinfo=UTC)
    )
    assert aws.dynamodb.get_item(REGISTRY_TABLE, key) == {
        **key,
        "measured_seconds": Decimal("0.5"),
        "backlog": Decimal(7),
        "observed_at": "2026-03-01T00:00:00.000000Z",
    }
