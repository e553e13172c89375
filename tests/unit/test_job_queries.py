"""What the owner of a job may ask for."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER, make_job
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.messages import InMemoryObjectStore
from tollgate.domain.errors import NotFoundError, StorageError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.services.jobs.queries import JobQueries


class RealisticStore(InMemoryJobStore):
    """Refuses long keys as DynamoDB does."""

    def get(self, job_id: str) -> Job | None:
        if len(job_id.encode()) > 2048:
            raise StorageError("ValidationException")
        return super().get(job_id)


@pytest.mark.parametrize("job_id", ["inf_nobody", "x" * 3000, ""])
def test_an_id_that_no_job_has_is_not_found(job_id: str) -> None:
    """Also one that is too long for the table: the caller is at fault, not the store."""
    queries = JobQueries(jobs=RealisticStore(), objects=InMemoryObjectStore(), clock=ManualClock())
    with pytest.raises(NotFoundError):
        queries.get(OWNER, job_id)


def test_a_list_by_state_goes_on_behind_a_page_without_one() -> None:
    """Failed jobs behind fifty newer ones are found at the first call, and none is shown twice."""
    store = InMemoryJobStore()
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(60):
        state = JobState.FAILED if number < 10 else JobState.COMPLETED
        store.add(make_job(f"inf_{number:02d}", state=state, created_at=start + timedelta(seconds=number)))
    queries = JobQueries(jobs=store, objects=InMemoryObjectStore(), clock=ManualClock())
    first = queries.list(OWNER, status="failed", limit="8", after=None)
    second = queries.list(OWNER, status="failed", limit="8", after=first.after)
    assert [job.job_id for job in first.jobs] == [f"inf_{number:02d}" for number in range(9, 1, -1)]
    assert [job.job_id for job in second.jobs] == ["inf_01", "inf_00"]


def test_a_list_by_state_ends_its_search() -> None:
    """A state that no job is in does not read the whole history; the caller may go on."""
    store = InMemoryJobStore()
    for number in range(60):
        store.add(make_job(f"inf_{number:02d}"))
    queries = JobQueries(jobs=store, objects=InMemoryObjectStore(), clock=ManualClock())
    page = queries.list(OWNER, status="failed", limit="2", after=None)
    assert page.jobs == []
    assert page.after is not None
