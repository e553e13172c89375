"""What the owner of a job may ask for."""

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.examples import OWNER
from tests.fakes.jobs import InMemoryJobStore
from tests.fakes.messages import InMemoryObjectStore
from tollgate.domain.errors import NotFoundError, StorageError
from tollgate.domain.jobs import Job
from tollgate.services.job_queries import JobQueries


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
