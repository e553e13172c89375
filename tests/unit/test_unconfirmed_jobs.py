"""What a caller is told of a job when the table did not confirm that it was written."""

from collections.abc import Sequence

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.jobs import InMemoryJobStore
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import OutcomeUnknownError, StorageError
from tollgate.domain.jobs.job import Job

LATER = {"model": "echo", "input": "hello", "priority": "medium"}


class Unconfirmed(InMemoryJobStore):
    """Its first write may arrive, but nobody hears of it; reading can fail as well."""

    def __init__(self, *, arrives: bool, reads: bool = True) -> None:
        super().__init__()
        self.arrives = arrives
        self.reads = reads

    def add(self, job: Job, charges: Sequence[LedgerWrite] = ()) -> None:
        if self.arrives:
            super().add(job, charges)
        raise OutcomeUnknownError("The job store did not confirm in time.")

    def get(self, job_id: str) -> Job | None:
        if not self.reads:
            raise StorageError("throttled")
        return super().get(job_id)


def test_a_job_that_is_there_is_accepted() -> None:
    """And queued: the caller need not repeat the call."""
    gateway = FakeGateway(shared_jobs=Unconfirmed(arrives=True))
    answer = gateway.infer(LATER)
    assert (answer.status, [document(answer)["id"]]) == (202, list(gateway.jobs.jobs))
    assert len(gateway.async_queue.sent) == 1


@pytest.mark.parametrize(("arrives", "reads"), [(False, True), (True, False)])
def test_nothing_is_promised_of_a_job_that_may_not_be_there(*, arrives: bool, reads: bool) -> None:
    """The caller is told that it is unknown, and nothing is queued that has no record."""
    gateway = FakeGateway(shared_jobs=Unconfirmed(arrives=arrives, reads=reads))
    answer = gateway.infer(LATER)
    assert answer.status == 503
    assert "did not confirm" in answer.body
    assert gateway.async_queue.sent == []
