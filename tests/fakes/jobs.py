"""Jobs in memory."""

from collections.abc import Sequence
from datetime import datetime

from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ConflictError, InvalidRequestError
from tollgate.domain.jobs.job import OPEN_STATES, Job, JobState, Owner
from tollgate.domain.jobs.open_jobs import OpenJob, outline
from tollgate.ports.jobs import JobPage, PooledJob


class InMemoryJobStore:
    """The `JobStore` of tests."""

    def __init__(self, ledger: InMemoryLedger | None = None) -> None:
        self.jobs: dict[str, Job] = {}
        self.late: dict[str, Job] = {}
        self.ledger = ledger or InMemoryLedger()

    def add(self, job: Job, charges: Sequence[LedgerWrite] = ()) -> None:
        if job.job_id in self.jobs:
            raise ConflictError(f"There is already a job '{job.job_id}'.")
        if charges:
            self.ledger.write(charges)
        self.jobs[job.job_id] = job

    def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        return [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]

    def list_of(self, owner: Owner, *, state: JobState | None, limit: int, after: str | None) -> JobPage:
        own = sorted(
            (job for job in self.jobs.values() if job.owner.tenant == owner.tenant),
            key=lambda job: (job.created_at, job.job_id),
            reverse=True,
        )
        page = _from(own, after)[:limit]
        more = len(_from(own, after)) > limit
        shown = [job for job in page if state is None or job.state is state]
        return JobPage(jobs=shown, after=f"after-{page[-1].job_id}" if more else None)

    def change(
        self,
        job: Job,
        *,
        expected: frozenset[JobState],
        lease_free_at: datetime | None = None,
        as_read: Job | None = None,
        charges: Sequence[LedgerWrite] = (),
    ) -> bool:
        stored = self.jobs.get(job.job_id)
        if stored is None or stored.state not in expected or stored.deployment != job.deployment:
            return False
        lease = stored.submit_lease_until
        if lease_free_at is not None and lease is not None and lease > lease_free_at:
            return False
        if as_read is not None and (lease, stored.batch_id) != (as_read.submit_lease_until, as_read.batch_id):
            return False
        if charges:
            self.ledger.write(charges)
        self.jobs[job.job_id] = job
        return True

    def hand_on(self, job: Job, *, was: str, charges: Sequence[LedgerWrite] = ()) -> bool:
        stored = self.jobs.get(job.job_id)
        if stored is None or (stored.state, stored.deployment) != (JobState.QUEUED, was):
            return False
        if stored.submit_lease_until is not None:
            return False
        if charges:
            self.ledger.write(charges)
        self.jobs[job.job_id] = job
        return True

    def add_late(self, late: Job, charges: Sequence[LedgerWrite]) -> bool:
        if late.job_id in self.late:
            return False
        if charges:
            self.ledger.write(charges)
        self.late[late.job_id] = late
        return True

    def open_since(self, before: datetime, *, limit: int, after: str | None = None) -> JobPage:
        found = sorted(
            (
                job
                for job in self.jobs.values()
                if (job.state in OPEN_STATES or job.webhook_pending) and job.created_at < before
            ),
            key=lambda job: (job.created_at, job.job_id),
        )
        rest = _from(found, after)
        page = rest[:limit]
        return JobPage(jobs=page, after=f"after-{page[-1].job_id}" if len(rest) > limit else None)

    def waiting_for_batch(self, resource: str, *, limit: int) -> Sequence[Job]:
        return sorted(
            (
                job
                for job in self.jobs.values()
                if job.inference_type is InferenceType.BATCH
                and job.state is JobState.QUEUED
                and job.resource == resource
            ),
            key=lambda job: (job.created_at, job.job_id),
        )[:limit]

    def pool_of(self, resource: str, *, limit: int) -> Sequence[PooledJob]:
        waiting = self.waiting_for_batch(resource, limit=limit)
        return [PooledJob(job.job_id, job.created_at, job.deadline_at) for job in waiting]

    def unfinished(self, resource: str, inference_type: InferenceType, *, limit: int) -> Sequence[Job]:
        return sorted(
            (
                job
                for job in self.jobs.values()
                if job.resource == resource and job.inference_type is inference_type and job.state in OPEN_STATES
            ),
            key=lambda job: (job.created_at, job.job_id),
        )[:limit]

    def open_of(self, resource: str, inference_type: InferenceType, *, limit: int) -> Sequence[OpenJob]:
        return [outline(job) for job in self.unfinished(resource, inference_type, limit=limit)]

    def count_open(self, resource: str, inference_type: InferenceType) -> int:
        return sum(
            job.resource == resource and job.inference_type is inference_type and job.state in OPEN_STATES
            for job in self.jobs.values()
        )


def _from(jobs: list[Job], after: str | None) -> list[Job]:
    if after is None:
        return jobs
    names = [job.job_id for job in jobs]
    last = after.removeprefix("after-")
    if not after.startswith("after-") or last not in names:
        raise InvalidRequestError("'after' is not a cursor from an earlier page.", param="after")
    return jobs[names.index(last) + 1 :]
