"""What has to be known of a job that has not ended, to count and time it and to queue it again.

Thousands of them wait for an endpoint that sleeps, and who looks after it has little memory: what callers have put on
the records is left out.
"""

from datetime import datetime
from typing import NamedTuple

from tollgate.domain.jobs.job import Job, JobState, Owner
from tollgate.domain.json_values import json_text
from tollgate.domain.roads.estimates import output_limit

STORED_TOKENS = 50_000
"""Token estimate for an input that is too large for its record."""


class OpenJob(NamedTuple):
    """A job in outline.

    Attributes:
        input_tokens: about as many.
        output_limit: the caller's own, None without one.
    """

    job_id: str
    owner: Owner
    resource: str
    traceparent: str
    state: JobState
    created_at: datetime
    deadline_at: datetime | None
    submit_lease_until: datetime | None
    submitted_at: datetime | None
    input_tokens: int
    output_limit: int | None


def outline(job: Job) -> OpenJob:
    """The job without its large fields."""
    stored = job.input.key is not None
    return OpenJob(
        job_id=job.job_id,
        owner=job.owner,
        resource=job.resource,
        traceparent=job.traceparent,
        state=job.state,
        created_at=job.created_at,
        deadline_at=job.deadline_at,
        submit_lease_until=job.submit_lease_until,
        submitted_at=job.submitted_at,
        input_tokens=STORED_TOKENS if stored else tokens_of(json_text(job.input.inline)),
        output_limit=output_limit(job.parameters),
    )


def tokens_of(text: str) -> int:
    """Estimate the tokens of an input from its JSON text."""
    return len(text) // 4
