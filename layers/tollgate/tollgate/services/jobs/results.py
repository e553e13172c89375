"""The result of a finished job, wherever it is stored."""

import json
from typing import Any

from tollgate.domain.errors import NotFoundError
from tollgate.domain.jobs.job import Job
from tollgate.ports.objects import WholeObjectStore


def output_of(job: Job, objects: WholeObjectStore) -> Any:
    """The output of a completed job, from its record or from the bucket.

    Raises:
        NotFoundError: it was deleted from the bucket.
        StorageError: the bucket failed.
    """
    if job.output.key is None:
        return job.output.inline
    body = objects.get(job.output.key)
    if body is None:
        raise NotFoundError("The result of this request is no longer in the bucket.", param="id")
    return json.loads(body)
