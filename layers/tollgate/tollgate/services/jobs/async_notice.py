"""What SageMaker says of an asynchronous invocation."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AsyncNotice:
    """The end of one invocation.

    Attributes:
        inference_id: our job id, or that of a group of jobs.
        completed: whether the container answered well.
        received_at: when SageMaker took the request.
        finished_at: when it was done.
        output_location: of the answer, where the notice has one.
        failure_reason: SageMaker's words for a failure, where it has any.
    """

    inference_id: str
    completed: bool
    received_at: datetime
    finished_at: datetime
    output_location: str | None = None
    failure_reason: str | None = None
