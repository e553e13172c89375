"""Files, batches and their contents: the same promises in memory and on AWS's own interfaces."""

import urllib.request
from collections.abc import Iterator
from copy import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pytest

from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, LocalAws
from tests.fakes.examples import OWNER
from tests.fakes.files import InMemoryFileBatchStore, InMemoryFileStore
from tests.fakes.messages import BUCKET, InMemoryObjectStore
from tollgate.adapters.dynamodb.jobs.files import DynamoDBFileBatchStore, DynamoDBFileStore
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.adapters.s3.objects import S3ObjectStore
from tollgate.domain.budgets.ledger import Hold, Reservation, reserve
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import Dimensions
from tollgate.domain.errors import InvalidRequestError, LedgerRefusedError, StorageError
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.file_batches import (
    BatchFault,
    CountedPart,
    FileBatch,
    FileBatchStatus,
    FilePart,
    FilePurpose,
    FileState,
    StoredFile,
)
from tollgate.domain.jobs.job import Bill, Owner, Usage
from tollgate.ports.files import ChunkedObjects, FileBatchStore, FileObjects, FileStore

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_FILE = StoredFile("file-1", OWNER, "ä.jsonl", FilePurpose.BATCH, 7, _NOW, _NOW + timedelta(days=30))
_BATCH = FileBatch("batch_1", OWNER, "/v1/embeddings", "file-1", _NOW, _NOW + timedelta(days=1))
_PLAIN = {"Content-Type": "application/octet-stream"}
_HELD = Reservation("h1_held", Decimal(2), (Hold("gateway#total#always", Decimal(3)),))


@pytest.fixture(params=["memory", "dynamodb"])
def files(request: pytest.FixtureRequest) -> FileStore:
    if request.param == "memory":
        return InMemoryFileStore()
    local: LocalAws = request.getfixturevalue("aws")
    return DynamoDBFileStore(local.dynamodb, JOBS_TABLE)


@pytest.fixture(params=["memory", "dynamodb"])
def batches(request: pytest.FixtureRequest) -> FileBatchStore:
    if request.param == "memory":
        return InMemoryFileBatchStore()
    local: LocalAws = request.getfixturevalue("aws")
    return DynamoDBFileBatchStore(local.dynamodb, JOBS_TABLE, DynamoDBLedger(local.dynamodb, LEDGER_TABLE))


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest) -> FileObjects:
    if request.param == "memory":
        return InMemoryObjectStore()
    local: LocalAws = request.getfixturevalue("aws")
    return S3DirectObjects(local.s3, BUCKET)


def test_a_file_comes_back_as_it_was_stored(files: FileStore) -> None:
    """An upload's record too; deleting it twice is no error."""
    upload = replace(_FILE, file_id="upload_1", upload_id="file-2", state=FileState.PENDING, keep_seconds=3_600)
    for file in (_FILE, upload):
        files.add(file)
        assert files.get(file.file_id) == file
    for _ in range(2):
        files.delete("file-1")
        assert files.get("file-1") is None


def test_files_are_listed_by_tenant_and_purpose(files: FileStore) -> None:
    """Newest first unless asked otherwise, page by page; uploads and other tenants' files are none of them."""
    for number in range(5):
        purpose = FilePurpose.BATCH if number % 2 else FilePurpose.USER_DATA
        at = _NOW + timedelta(seconds=number)
        files.add(replace(_FILE, file_id=f"file-{number}", created_at=at, purpose=purpose))
    files.add(replace(_FILE, file_id="upload_1", upload_id="file-9", state=FileState.PENDING))
    files.add(replace(_FILE, file_id="file-x", owner=Owner("other", "key_2")))

    def listed(**options: object) -> tuple[list[str], bool]:
        asked: dict[str, object] = {"purpose": None, "limit": 9, "after": None, "oldest_first": False} | options
        page = files.list_of(OWNER, **asked)  # type: ignore[arg-type]  # each test names some of them
        return [file.file_id for file in page.entries], page.has_more

    assert listed() == (["file-4", "file-3", "file-2", "file-1", "file-0"], False)
    assert listed(oldest_first=True, limit=2) == (["file-0", "file-1"], True)
    assert listed(after="file-3", limit=9) == (["file-2", "file-1", "file-0"], False)
    assert listed(purpose=FilePurpose.BATCH) == (["file-3", "file-1"], False)
    for stranger in ("nothing", "file-x"):
        with pytest.raises(InvalidRequestError):
            listed(after=stranger)


def test_a_client_may_delete_what_it_lists(files: FileStore) -> None:
    """The next page begins after the last one that is gone; that one is in no list, and in no other tenant's."""
    for number in range(5):
        files.add(replace(_FILE, file_id=f"file-{number}", created_at=_NOW + timedelta(seconds=number)))
    seen: list[str] = []
    more, after = True, None
    while more:
        page = files.list_of(OWNER, purpose=None, limit=2, after=after, oldest_first=False)
        for file in page.entries:
            files.delete(file.file_id)
            seen.append(file.file_id)
        more, after = page.has_more, seen[-1]
    assert seen == ["file-4", "file-3", "file-2", "file-1", "file-0"]
    assert files.list_of(OWNER, purpose=None, limit=9, after=None, oldest_first=True).entries == []
    with pytest.raises(InvalidRequestError):
        files.list_of(Owner("other", "key_2"), purpose=None, limit=9, after="file-4", oldest_first=True)


def test_a_batch_comes_back_as_it_was_stored(batches: FileBatchStore) -> None:
    """With everything set, and with nothing optional set."""
    part = FilePart("echo/small", "run-1", lines=3, chunks=2, largest=90, estimate=Decimal("0.1"))
    done = replace(
        part,
        run_id="run-2",
        decided=True,
        admitted=1,
        refusal="too dear",
        reservation=_HELD,
        ended=True,
        last_run="run-2-r2",
        seconds=Decimal("1.5"),
        earlier_seconds=Decimal("0.5"),
        outcome="Failed",
        reason="bad",
        settled=True,
    )
    full = replace(
        _BATCH,
        batch_id="batch_2",
        metadata={"a": "b"},
        traceparent="00-a-b-01",
        cut=True,
        invalid_id="run-0",
        parts=(part, done),
        stop=FileBatchStatus.EXPIRED,
        faults=(BatchFault("empty_file", "nothing", 1),),
        total=6,
        completed=4,
        failed=2,
        output_file_id="file-2",
        error_file_id="file-3",
        usage=Usage(5, 6),
        estimated_cost=Decimal("0.2"),
        effective_cost=Decimal("0.3"),
        avoided_cost=Decimal("-0.1"),
        times={FileBatchStatus.IN_PROGRESS: _NOW},
    )
    for batch in (_BATCH, full):
        assert batches.add(batch)
        assert batches.get(batch.batch_id) == batch
    assert not batches.add(replace(_BATCH, endpoint="/v1/responses"))
    assert batches.get("batch_3") is None


def test_a_batch_is_changed_from_its_last_revision_only(batches: FileBatchStore) -> None:
    """Of two that started from the same one, one succeeds."""
    batches.add(_BATCH)
    changed = batches.change(replace(_BATCH, total=1))
    assert changed is not None
    assert batches.get("batch_1") == changed
    assert batches.change(replace(_BATCH, total=2)) is None
    assert batches.change(replace(changed, total=3)) is not None
    assert batches.change(replace(_BATCH, batch_id="batch_9")) is None


def test_a_batch_and_its_charges_are_written_together(batches: FileBatchStore) -> None:
    """Or neither is: when the budget refuses, and when the batch is another by now."""
    batches.add(_BATCH)
    hold = reserve(_HELD, _HELD.holds[0])
    first = batches.change(replace(_BATCH, total=1), [hold])
    assert first is not None
    second = reserve(_HELD._replace(slot="h1_next"), _HELD.holds[0])
    with pytest.raises(LedgerRefusedError):
        batches.change(replace(first, total=2), [second])
    assert batches.get("batch_1") == first
    small = _HELD._replace(slot="h1_more", amount=Decimal("0.5"))
    assert batches.change(replace(_BATCH, total=3), [reserve(small, small.holds[0])]) is None
    assert batches.change(replace(first, total=4), [reserve(small, small.holds[0])]) is not None


_COUNT = FileCount(
    Bill(_NOW, Decimal("0.25"), Decimal("0.2"), {AvoidedReason.BATCH: Decimal("-0.5")}),
    requests=3,
    errors=1,
    input_tokens=10,
    output_tokens=20,
    effective=Decimal("0.25"),
    held_seconds=Decimal("1.5"),
    unknown_tokens=1,
)
_COUNTED = CountedPart("run-1", "batch_1", OWNER, "echo/small", FileBatchStatus.EXPIRED, Decimal("0.3"), _COUNT)


@pytest.mark.parametrize("charged", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_a_counted_part_is_found_by_when_it_was_settled(aws: LocalAws, charged: bool, unknown: bool) -> None:
    """Once, with everything; written with its batch or not at all, and in nobody's list."""
    count = replace(_COUNT, effective=None, held_seconds=None) if unknown else _COUNT
    part = replace(_COUNTED, count=count)
    store = DynamoDBFileBatchStore(aws.dynamodb, JOBS_TABLE, DynamoDBLedger(aws.dynamodb, LEDGER_TABLE))
    store.add(_BATCH)
    charges = [reserve(_HELD, _HELD.holds[0])] if charged else []
    assert store.change(replace(_BATCH, total=3), charges, part) is not None
    late = replace(part, run_id="run-2")
    assert store.change(replace(_BATCH, total=4), [], late) is None
    settled = SettledJobs(aws.dynamodb, JOBS_TABLE)
    assert list(settled.jobs_between(_NOW, _NOW + timedelta(minutes=5))) == [part]
    (record,) = settled.between(_NOW, _NOW + timedelta(minutes=5))
    owner = (OWNER.tenant, OWNER.key_id, OWNER.team)
    assert record.dimensions == Dimensions(*owner, "echo", "batch", "small", "")
    assert (record.requests, record.errors, record.unknown_tokens) == (3, 1, 1)
    assert (record.charged, record.effective, record.avoided) == (Decimal("0.25"), count.effective, count.bill.avoided)
    assert store.list_of(OWNER, limit=9, after=None).entries == [store.get("batch_1")]
    jobs = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    assert jobs.get("run-1#counted") is None
    with pytest.raises(StorageError):
        DynamoDBFileBatchStore(aws.dynamodb, JOBS_TABLE).change(_BATCH, [], part)


def test_batches_are_listed_and_found_open(batches: FileBatchStore) -> None:
    """By tenant, newest first; those that have ended are not open any more."""
    for number in range(3):
        at = _NOW + timedelta(seconds=number)
        batches.add(replace(_BATCH, batch_id=f"batch_{number}", created_at=at))
    batches.add(replace(_BATCH, batch_id="batch_x", owner=Owner("other", "k"), created_at=_NOW + timedelta(hours=1)))
    page = batches.list_of(OWNER, limit=2, after=None)
    assert [batch.batch_id for batch in page.entries] == ["batch_2", "batch_1"]
    assert page.has_more
    assert [b.batch_id for b in batches.list_of(OWNER, limit=2, after="batch_1").entries] == ["batch_0"]
    later = _NOW + timedelta(seconds=2)
    assert list(batches.open_since(later, limit=9)) == ["batch_0", "batch_1"]
    stored = batches.get("batch_0")
    assert stored is not None
    batches.change(stored.at(FileBatchStatus.COMPLETED, _NOW))
    assert list(batches.open_since(later, limit=9)) == ["batch_1"]


def test_an_upload_is_changed_only_as_it_was(files: FileStore) -> None:
    """Whoever comes second sees that something else happened; nothing is made where there was nothing."""
    upload = replace(_FILE, file_id="upload-1", upload_id="file-9", state=FileState.PENDING)
    claimed = replace(upload, claimed_until=_NOW + timedelta(seconds=35))
    assert not files.change(claimed, upload)
    files.add(upload)
    assert files.change(claimed, upload)
    assert files.get("upload-1") == claimed
    assert not files.change(replace(upload, state=FileState.CANCELLED), upload)
    assert files.change(replace(upload, state=FileState.READY), claimed)
    assert files.get("upload-1") == replace(upload, state=FileState.READY)


def test_parts_are_counted_up_to_a_limit(files: FileStore) -> None:
    """By number and by bytes; a change of the record does not begin the count anew."""
    upload = replace(_FILE, file_id="upload-1", upload_id="file-9", state=FileState.PENDING)
    files.add(upload)
    assert not files.count_part(upload, 11, most=3, most_bytes=10)
    assert files.count_part(upload, 4, most=3, most_bytes=10)
    claimed = replace(upload, claimed_until=_NOW)
    assert files.change(claimed, upload)
    assert not files.count_part(upload, 1, most=3, most_bytes=10)
    assert files.count_part(claimed, 6, most=3, most_bytes=10)
    assert not files.count_part(claimed, 1, most=3, most_bytes=10)
    assert files.count_part(claimed, 0, most=3, most_bytes=10)
    assert not files.count_part(claimed, 0, most=3, most_bytes=99)
    assert files.get("upload-1") == claimed


@pytest.mark.parametrize("after", ["", "x", "x" * 3_000, "\ud800"])
def test_a_page_begins_after_what_is_in_the_list(files: FileStore, batches: FileBatchStore, after: str) -> None:
    """Anything else is the caller's mistake, also what no table takes as a key."""
    with pytest.raises(InvalidRequestError):
        files.list_of(OWNER, purpose=None, limit=9, after=after, oldest_first=False)
    with pytest.raises(InvalidRequestError):
        batches.list_of(OWNER, limit=9, after=after)


def test_files_and_batches_are_no_jobs(aws: LocalAws) -> None:
    """They share a table, and none is taken for another."""
    files, jobs = DynamoDBFileStore(aws.dynamodb, JOBS_TABLE), DynamoDBJobStore(aws.dynamodb, JOBS_TABLE)
    batches = DynamoDBFileBatchStore(aws.dynamodb, JOBS_TABLE)
    files.add(_FILE)
    batches.add(_BATCH)
    assert jobs.get("file-1") is jobs.get("batch_1") is None
    assert files.get("batch_1") is None
    assert batches.get("file-1") is None
    files.delete("batch_1")
    assert batches.get("batch_1") == _BATCH
    assert jobs.list_of(OWNER, state=None, limit=9, after=None).jobs == []
    with pytest.raises(StorageError):
        batches.change(_BATCH, [reserve(_HELD, _HELD.holds[0])])


def test_contents_have_a_size_and_can_be_deleted(objects: FileObjects) -> None:
    """Twice as well."""
    assert objects.size_of("files/a") is None
    objects.put("files/a", b"12345")
    assert objects.size_of("files/a") == 5
    for _ in range(2):
        objects.delete("files/a")
        assert objects.get("files/a") is None


def test_contents_are_copied(objects: FileObjects) -> None:
    """As they are now; of nothing comes nothing."""
    objects.put("files/ä b", b"first")
    objects.copy("files/ä b", "files/c")
    objects.put("files/ä b", b"second")
    assert objects.get("files/c") == b"first"
    objects.copy("files/nowhere", "files/d")
    assert objects.get("files/d") is None


def test_a_presigned_url_takes_the_object(aws: LocalAws) -> None:
    """From anybody who holds it, by PUT."""
    objects = S3DirectObjects(aws.s3, BUCKET)
    url = objects.presigned_put("files/ä b", size=7, expires_seconds=60)
    request = urllib.request.Request(url, data=b"content", headers=_PLAIN, method="PUT")  # noqa: S310 -- our own server
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 -- as above
        assert answer.status == 200
    assert objects.get("files/ä b") == b"content"
    assert objects.size_of("files/ä b") == 7


def test_the_other_store_deletes_as_well(aws: LocalAws) -> None:
    """The one that works on objects of any size."""
    aws.s3.put_object(BUCKET, "transform-input/a", b"x", content_type="text/plain")
    store = S3ObjectStore(BUCKET)
    for _ in range(2):
        store.delete("transform-input/a")
        assert store.get("transform-input/a") is None


@pytest.fixture(params=["memory", "s3"])
def chunked(request: pytest.FixtureRequest) -> ChunkedObjects:
    if request.param == "memory":
        return InMemoryObjectStore()
    request.getfixturevalue("aws")
    return S3ObjectStore(BUCKET)


@pytest.mark.parametrize("size", [1, 300_000, 20_000_000])
def test_contents_are_stored_piece_by_piece(chunked: ChunkedObjects, size: int) -> None:
    """And come back whole, in pieces; what is not there is None."""
    whole = bytes(range(251)) * (size // 251 + 1)
    chunked.put_chunks("files/large", (whole[begin : begin + 70_001] for begin in range(0, len(whole), 70_001)))
    assert b"".join(chunked.chunks("files/large") or ()) == whole
    assert chunked.chunks("files/none") is None


@pytest.mark.parametrize("size", [3, 20_000_000])
def test_pieces_that_end_in_an_error_are_not_stored(chunked: ChunkedObjects, size: int) -> None:
    """The error comes out as it was raised, what was there stays, and no unfinished upload is left."""
    chunked.put_chunks("files/kept", [b"before"])

    def pieces() -> Iterator[bytes]:
        yield b"x" * size
        raise InvalidRequestError("not what was announced", param="bytes")

    with pytest.raises(InvalidRequestError, match="not what was announced"):
        chunked.put_chunks("files/kept", pieces())
    assert b"".join(chunked.chunks("files/kept") or ()) == b"before"
    if isinstance(chunked, S3ObjectStore):
        left = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)
        assert "Uploads" not in left
