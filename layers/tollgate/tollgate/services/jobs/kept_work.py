"""What was done for a claimed job, kept in the bucket where the table does not take the record of it.

Without it, whoever has the job's message after the lease would do the same again: the work would be paid for twice, and
the first time be charged to nobody. It lies under the name of the job and the end of the lease that it was done under,
so only a job that still has the lease of somebody who ended without a record is looked for: the bucket is not asked
otherwise.
"""

import json
from collections.abc import Mapping
from typing import Any

from tollgate.domain.jobs.job import Job
from tollgate.ports.objects import WholeObjectStore


def keep_work(objects: WholeObjectStore, job: Job, done: Mapping[str, Any]) -> None:
    """Put down what was done for a job under the lease that it has.

    Raises:
        StorageError: the bucket does not take it either.
    """
    objects.put(_key(job), json.dumps(done).encode())


def kept_work(objects: WholeObjectStore, job: Job) -> Mapping[str, Any] | None:
    """What was done for a job under the lease on its record; None if nothing is known of any.

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
