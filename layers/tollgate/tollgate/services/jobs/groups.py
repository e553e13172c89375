"""How jobs that share an invocation are known by it: in their records, and in the bucket."""

from tollgate.domain.jobs.job import Job

GROUP_PREFIX = "mb_"
ALONE = "alone"
"""What a job's `batch_id` begins with if its group has failed: it is submitted by itself.

The group follows, and then another one, if that answered the job after all: their shares are on its record.
"""


def group_of(job: Job) -> str | None:
    """The group that the job was submitted in; None where it went alone, or its record does not say."""
    return job.batch_id if job.batch_id is not None and job.batch_id.startswith(GROUP_PREFIX) else None


def members_key(group_id: str) -> str:
    """Key of the list of jobs that were submitted together."""
    return f"async-input/{group_id}.members.json"


def goes_alone(job: Job) -> bool:
    """Whether the job's group has failed, so that it is not put into another one."""
    return job.batch_id is not None and job.batch_id.startswith(ALONE)
