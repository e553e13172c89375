"""A claimed job's finished work, saved in the bucket when the table cannot record it.

Without it, the next function to get the job's message after the lease would repeat the work: it would be paid for
twice, and the first run charged to nobody. The object's name holds the job and the end of the lease under which the
work was done, so the bucket is read only for a job whose last lease holder left no record.
"""

import json
from collections.abc import Mapping
from typing import Any

from tollgate.domain.jobs.job import Job
from tollgate.ports.objects import WholeObjectStore


def keep_work(objects: WholeObjectStore, job: Job, done: Mapping[str, Any]) -> None:
    """Store what was done for a job under its current lease.

    Raises:
        StorageError: the bucket cannot be written either.
    """
    objects.put(_key(job), json.dumps(done).encode())


def kept_work(objects: WholeObjectStore, job: Job) -> Mapping[str, Any] | None:
    """What was done for a job under the lease on its record; None if nothing is stored.

    Raises:
        StorageError: try again later.
    """
    body = None if job.submit_lease_until is None else objects.get(_key(job))
    if body is None:
        return None
    done: Mapping[str, Any] = json.loads(body)
    return done


def _key(job: Job) -> str:
    lease = 0 if job.submit_lease_until is None else int(job.submit_lease_until.timestamp())
    return f"results/{job.job_id}.{lease}.done.json"
