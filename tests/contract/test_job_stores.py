"""The same promises, kept by the store in memory and by the one on DynamoDB."""

import base64
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.contract.moto_stores import JOBS_TABLE, LocalAws
from tests.contract.stored.work import full_job
from tests.fakes.examples import OWNER, make_job
from tests.fakes.jobs import InMemoryJobStore
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore, encode_cursor
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ConflictError, InvalidRequestError
from tollgate.domain.jobs.job import OPEN_STATES, Bill, Job, JobState, Owner, Payload
from tollgate.domain.jobs.open_jobs import outline
from tollgate.ports.jobs import JobStore, PooledJob

_NOW = make_job().created_at


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> JobStore:
    if request.param == "memory":
        return InMemoryJobStore()
    local: LocalAws = request.getfixturevalue("aws")
    return DynamoDBJobStore(local.dynamodb, JOBS_TABLE)


@pytest.mark.parametrize("job", [make_job(), full_job(), make_job(traceparent="", owner=Owner("t", "k"))])
def test_a_job_comes_back_as_it_was_stored(store: JobStore, job: Job) -> None:
    """Floats, empty texts, decimals and microseconds survive."""
    store.add(job)
    assert store.get(job.job_id) == job


def test_the_full_job_leaves_nothing_out() -> None:
    """A field that is added to jobs and forgotten in the items would be lost without a word."""
    full, plain = full_job(), make_job(traceparent="", catalogue_version=0, input=Payload())
    given = {"job_id", "owner", "model", "deployment", "inference_type", "created_at", "route_reason", "estimated_cost"}
    for name in set(Job._fields) - given:
        assert getattr(full, name) != getattr(plain, name), name


def test_an_id_is_taken_once(store: JobStore) -> None:
    """A second job of the same id is refused and the first stays."""
    store.add(make_job())
    with pytest.raises(ConflictError):
        store.add(make_job(model="other"))
    assert store.get("inf_1") == make_job()


def test_an_unknown_job_is_none(store: JobStore) -> None:
    """Neither get nor change invents a job."""
    assert store.get("inf_1") is None
    assert not store.change(make_job(), expected=OPEN_STATES)
    assert store.get("inf_1") is None


def test_many_jobs_come_in_the_order_asked_for(store: JobStore) -> None:
    """More than one read's worth, with one that does not exist."""
    names = [f"inf_{number:03d}" for number in range(120)]
    for name in names:
        store.add(make_job(name))
    found = store.get_many([*reversed(names), "inf_none"])
    assert [job.job_id for job in found] == list(reversed(names))
    assert list(store.get_many([])) == []


def test_a_change_needs_the_expected_state(store: JobStore) -> None:
    """The second of two changes from the same state does nothing."""
    store.add(make_job())
    submitted = make_job()._replace(state=JobState.SUBMITTED)
    assert store.change(submitted, expected=frozenset({JobState.QUEUED}))
    assert not store.change(make_job(model="x"), expected=frozenset({JobState.QUEUED}))
    assert store.get("inf_1") == submitted


def test_a_lease_that_runs_keeps_others_out(store: JobStore) -> None:
    """It is free when absent, and again at its end."""
    until = _NOW + timedelta(seconds=30)
    store.add(make_job())
    claimed = make_job(submit_lease_until=until)
    queued = frozenset({JobState.QUEUED})
    assert store.change(claimed, expected=queued, lease_free_at=_NOW)
    assert not store.change(claimed, expected=queued, lease_free_at=until - timedelta(microseconds=1))
    assert store.change(claimed, expected=queued, lease_free_at=until)
    assert store.get(claimed.job_id) == claimed


@pytest.mark.parametrize("lease", [None, _NOW + timedelta(seconds=90, microseconds=1)])
@pytest.mark.parametrize("batch_id", [None, "mb_1"])
def test_a_change_may_need_the_record_as_it_was_read(
    store: JobStore, lease: datetime | None, batch_id: str | None
) -> None:
    """Another lease or batch, or none any more, means that somebody else has had the job since."""
    read = make_job(submit_lease_until=lease, batch_id=batch_id)
    store.add(read)
    queued = frozenset({JobState.QUEUED})
    for other in (read._replace(submit_lease_until=_NOW), read._replace(batch_id="mb_2")):
        assert not store.change(read, expected=queued, as_read=other)
    changed = read._replace(submit_lease_until=_NOW, batch_id="mb_2")
    assert store.change(changed, expected=queued, as_read=read)
    assert not store.change(read, expected=queued, as_read=read)


def test_an_owner_sees_the_tenants_jobs_newest_first(store: JobStore) -> None:
    """In pages, without those of other tenants."""
    for number in range(5):
        store.add(make_job(f"inf_{number}", created_at=_NOW + timedelta(seconds=number)))
    store.add(make_job("inf_other", owner=Owner(tenant="other", key_id="key_9")))
    first = store.list_of(OWNER, state=None, limit=3, after=None)
    second = store.list_of(OWNER, state=None, limit=3, after=first.after)
    assert [job.job_id for job in [*first.jobs, *second.jobs]] == ["inf_4", "inf_3", "inf_2", "inf_1", "inf_0"]
    assert second.after is None


def test_a_list_can_be_narrowed_to_a_state(store: JobStore) -> None:
    """Only jobs in that state are shown, over all pages."""
    for number in range(4):
        state = JobState.FAILED if number % 2 else JobState.QUEUED
        store.add(make_job(f"inf_{number}", state=state, created_at=_NOW + timedelta(seconds=number)))
    found: list[str] = []
    after = None
    while True:
        page = store.list_of(OWNER, state=JobState.FAILED, limit=1, after=after)
        found += [job.job_id for job in page.jobs]
        after = page.after
        if after is None:
            break
    assert found == ["inf_3", "inf_1"]


_POSITION = {"job_id": "a", "created_at": "2026-03-01T12:00:00.000Z"}


@pytest.mark.parametrize(
    "after",
    [
        *("", "x", "[]", "💥", encode_cursor({"job_id": "a"}), encode_cursor({"a": "b"})),
        # Of the right form, with what no table takes.
        *(encode_cursor(_POSITION | {"job_id": odd}) for odd in ("", "x" * 3_000, "\ud800", "ä")),
        base64.urlsafe_b64encode(b"[" * 200_000).decode(),
    ],
)
def test_a_made_up_cursor_is_refused(store: JobStore, after: str) -> None:
    """With the name of the parameter at fault."""
    with pytest.raises(InvalidRequestError) as caught:
        store.list_of(OWNER, state=None, limit=3, after=after)
    assert caught.value.param == "after"


def test_unfinished_jobs_are_found_page_by_page(store: JobStore) -> None:
    """Every road, waiting or submitted, and ended ones whose webhook is still to deliver; nothing else."""
    batch = InferenceType.BATCH
    open_jobs = [
        *(make_job(f"inf_a{number}", created_at=_NOW + timedelta(seconds=number)) for number in range(9)),
        make_job("inf_b", state=JobState.SUBMITTED),
        make_job("inf_c", inference_type=batch),
        make_job("inf_d", inference_type=batch, state=JobState.SUBMITTED),
        make_job("inf_e", deployment="another#one"),
        make_job("inf_f", state=JobState.COMPLETED, webhook_pending=True),
    ]
    for job in open_jobs:
        store.add(job)
    store.add(make_job("inf_done", state=JobState.COMPLETED))
    store.add(make_job("inf_new", created_at=_NOW + timedelta(hours=1)))
    found: list[str] = []
    after = None
    for _ in range(20):
        page = store.open_since(_NOW + timedelta(minutes=1), limit=3, after=after)
        assert len(page.jobs) <= 3
        found += [job.job_id for job in page.jobs]
        after = page.after
        if after is None:
            break
    assert sorted(found) == sorted(job.job_id for job in open_jobs)


def test_waiting_batch_jobs_come_oldest_first(store: JobStore) -> None:
    """Only queued ones of that deployment, at most as many as asked for."""
    batch = InferenceType.BATCH
    for number in (3, 1, 2):
        store.add(make_job(f"inf_{number}", inference_type=batch, created_at=_NOW + timedelta(seconds=number)))
    store.add(make_job("inf_gone", inference_type=batch, state=JobState.SUBMITTED))
    store.add(make_job("inf_other", inference_type=batch, deployment="large"))
    store.add(make_job("inf_async"))
    assert [job.job_id for job in store.waiting_for_batch("echo/small", limit=9)] == ["inf_1", "inf_2", "inf_3"]
    assert [job.job_id for job in store.waiting_for_batch("echo/small", limit=2)] == ["inf_1", "inf_2"]


def test_a_pool_is_seen_without_what_is_on_the_records(store: JobStore) -> None:
    """Oldest first, queued ones only, with the times that decide when they leave."""
    batch, later = InferenceType.BATCH, _NOW + timedelta(hours=1)
    store.add(make_job("inf_2", inference_type=batch, created_at=_NOW + timedelta(seconds=1), deadline_at=later))
    store.add(make_job("inf_1", inference_type=batch, created_at=_NOW))
    store.add(make_job("inf_gone", inference_type=batch, state=JobState.SUBMITTED))
    second = PooledJob("inf_2", _NOW + timedelta(seconds=1), later)
    assert list(store.pool_of("echo/small", limit=9)) == [PooledJob("inf_1", _NOW, None), second]
    assert [job.job_id for job in store.pool_of("echo/small", limit=1)] == ["inf_1"]
    assert list(store.pool_of("echo/none", limit=9)) == []


def test_unfinished_jobs_of_a_road_come_oldest_first(store: JobStore) -> None:
    """Over all shards of the road, up to a limit; ended ones and those of other roads and deployments are left out."""
    realtime = InferenceType.REALTIME
    start = make_job().created_at
    for number in (3, 1, 2, 0, 4):
        created = start + timedelta(seconds=number)
        store.add(make_job(f"inf_{number}", inference_type=realtime, created_at=created))
    store.add(make_job("inf_done", inference_type=realtime, state=JobState.COMPLETED))
    store.add(make_job("inf_async"))
    store.add(make_job("inf_other", inference_type=realtime, deployment="large"))
    found = store.unfinished("echo/small", realtime, limit=9)
    assert [job.job_id for job in found] == [f"inf_{number}" for number in range(5)]
    assert [job.job_id for job in store.unfinished("echo/small", realtime, limit=2)] == ["inf_0", "inf_1"]
    assert list(store.open_of("echo/small", realtime, limit=9)) == [outline(job) for job in found]
    assert [job.job_id for job in store.open_of("echo/small", realtime, limit=2)] == ["inf_0", "inf_1"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"input": Payload(key="async-input/inf_1.json")},
        {"input": Payload(inline={"text": "h\u00e9 " * 500}), "parameters": {"max_tokens": 7, "stop": ["x" * 900]}},
        {"deadline_at": _NOW, "submitted_at": _NOW, "submit_lease_until": _NOW, "state": JobState.SUBMITTED},
        {"traceparent": "", "owner": Owner("acme", "k1", "search", frozenset({"infer", "read"}))},
    ],
)
def test_an_open_job_in_outline_is_that_of_its_record(store: JobStore, changes: dict[str, Any]) -> None:
    """Whether the record is read whole or not, it is counted and timed the same."""
    store.add(make_job(**changes))
    (record,) = store.unfinished("echo/small", InferenceType.ASYNC, limit=9)
    assert list(store.open_of("echo/small", InferenceType.ASYNC, limit=9)) == [outline(record)]


def test_unfinished_jobs_are_counted_by_road(store: JobStore) -> None:
    """Ended jobs do not count, with a webhook to deliver or not."""
    for number in range(7):
        store.add(make_job(f"inf_{number}"))
    store.add(make_job("inf_s", state=JobState.SUBMITTED))
    store.add(make_job("inf_w", state=JobState.FAILED, webhook_pending=True))
    store.add(make_job("inf_b", inference_type=InferenceType.BATCH, state=JobState.SUBMITTED))
    assert store.count_open("echo/small", InferenceType.ASYNC) == 8
    assert store.count_open("echo/small", InferenceType.BATCH) == 1
    assert store.count_open("echo/large", InferenceType.ASYNC) == 0


def test_a_late_charge_is_stored_once_and_is_no_job(store: JobStore) -> None:
    """Callers cannot ask for it; the second time nothing is written."""
    moment = datetime(2026, 3, 1, 13, tzinfo=UTC)
    job = make_job(state=JobState.EXPIRED, bill=Bill(moment, Decimal(0)))
    store.add(job)
    late = job._replace(job_id="inf_1#late", effective_cost=Decimal("0.5"), bill=Bill(moment, Decimal("0.5")))
    assert store.add_late(late, ())
    assert not store.add_late(late, ())
    assert store.get("inf_1#late") is None


def test_a_queued_job_is_handed_on_once(store: JobStore) -> None:
    """Its record names the other deployment, where it is found from then on, and the sweeper's pages have it."""
    store.add(make_job())
    moved = make_job(deployment="paid", route_reason="priority=medium;handed_on=paid")
    assert store.hand_on(moved, was="small")
    assert not store.hand_on(moved, was="small")
    assert store.get("inf_1") == moved
    assert store.count_open("echo/small", InferenceType.ASYNC) == 0
    assert [job.job_id for job in store.unfinished("echo/paid", InferenceType.ASYNC, limit=9)] == ["inf_1"]
    assert [job.job_id for job in store.open_since(_NOW + timedelta(seconds=1), limit=9).jobs] == ["inf_1"]


@pytest.mark.parametrize(
    "stored",
    [
        make_job(state=JobState.SUBMITTED),
        make_job(state=JobState.CANCELLED, finished_at=_NOW),
        make_job(submit_lease_until=_NOW - timedelta(days=1)),
    ],
)
def test_a_job_that_was_touched_is_not_handed_on(store: JobStore, stored: Job) -> None:
    """Neither one that has begun or ended, nor one that somebody ever claimed."""
    store.add(stored)
    assert not store.hand_on(make_job(deployment="paid"), was="small")
    assert store.get("inf_1") == stored


def test_who_read_a_job_before_it_was_handed_on_changes_nothing(store: JobStore) -> None:
    """A claim, a cancellation or an end with the old record would undo it."""
    store.add(make_job())
    moved = make_job(deployment="paid")
    assert store.hand_on(moved, was="small")
    claimed = make_job(submit_lease_until=_NOW + timedelta(seconds=30))
    assert not store.change(claimed, expected=OPEN_STATES, lease_free_at=_NOW)
    assert not store.change(make_job(state=JobState.CANCELLED), expected=OPEN_STATES)
    assert store.get("inf_1") == moved
