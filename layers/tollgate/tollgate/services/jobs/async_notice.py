"""SageMaker's notification about an asynchronous invocation."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tollgate.domain.catalogue import Model


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

    def never_ran(self, model: Model) -> bool:
        """Whether the request waited until SageMaker threw it away, and no container has seen it."""
        waited = self.finished_at - self.received_at
        thrown_away = waited >= timedelta(seconds=model.asynchronous.request_ttl_seconds)
        return thrown_away and not self.completed and self.output_location is None
