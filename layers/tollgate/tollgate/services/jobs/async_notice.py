"""SageMaker's notification about an asynchronous invocation."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AsyncNotice:
    """The end of one invocation.

    Attributes:
        inference_id: our job id, or that of a group of jobs.
        completed: whether the container answered successfully.
        received_at: when SageMaker accepted the request.
        finished_at: when processing ended.
        output_location: where the answer is stored, if the notice says.
        failure_reason: SageMaker's words for a failure, if it gives any.
    """

    inference_id: str
    completed: bool
    received_at: datetime
    finished_at: datetime
    output_location: str | None = None
    failure_reason: str | None = None
