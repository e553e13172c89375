"""What is known of a job that has not ended, without its large fields."""

from datetime import timedelta

import pytest

from tests.fakes.examples import make_job
from tollgate.domain.jobs.job import JobState, Payload
from tollgate.domain.jobs.open_jobs import STORED_TOKENS, OpenJob, outline


@pytest.mark.parametrize(
    ("payload", "tokens"),
    [(Payload(inline="x" * 38), 10), (Payload(inline=None), 1), (Payload(key="async-input/inf_1"), STORED_TOKENS)],
)
def test_an_outline_has_a_size_for_the_input(payload: Payload, tokens: int) -> None:
    """A token for four characters of it; many where it is too large to be read."""
    assert outline(make_job(input=payload)).input_tokens == tokens


def test_an_outline_has_all_that_decides_when_a_job_runs() -> None:
    """And who it belongs to."""
    created = make_job().created_at
    job = make_job(
        state=JobState.SUBMITTED,
        parameters={"max_tokens": 7},
        deadline_at=created + timedelta(hours=1),
        submit_lease_until=created + timedelta(hours=2),
        submitted_at=created + timedelta(hours=3),
    )
    assert outline(job) == OpenJob(
        job_id="inf_1",
        owner=job.owner,
        resource="echo/small",
        traceparent=job.traceparent,
        state=JobState.SUBMITTED,
        created_at=created,
        deadline_at=created + timedelta(hours=1),
        submit_lease_until=created + timedelta(hours=2),
        submitted_at=created + timedelta(hours=3),
        input_tokens=3,
        output_limit=7,
    )
