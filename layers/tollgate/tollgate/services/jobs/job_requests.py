"""What is sent to a deployment for a job."""

import json
from typing import Any

from tollgate.domain.catalogue import Deployment
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Job, Payload
from tollgate.ports.dialects import Dialects, RenderedRequest
from tollgate.ports.objects import WholeObjectStore


class JobRequests:
    """Renders jobs in the dialects of their deployments."""

    def __init__(self, dialects: Dialects, objects: WholeObjectStore) -> None:
        self._dialects = dialects
        self._objects = objects

    def of(self, job: Job, deployment: Deployment) -> RenderedRequest:
        """The request for a job.

        Raises:
            InvalidRequestError: it cannot be rendered, or its input was deleted from the bucket.
            StorageError: the bucket failed.
        """
        return self._dialects.of(deployment).render(stored_input(job.input, self._objects), job.parameters)


def stored_input(payload: Payload, objects: WholeObjectStore) -> Any:
    """The input of a job, from its record or from the bucket.

    Raises:
        InvalidRequestError: it was deleted from the bucket.
        StorageError: the bucket failed.
    """
    if payload.key is None:
        return payload.inline
    body = objects.get(payload.key)
    if body is None:
        raise InvalidRequestError("The input of this request is no longer in the bucket.", param="input")
    return json.loads(body)
