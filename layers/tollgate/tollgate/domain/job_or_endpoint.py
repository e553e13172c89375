"""Whether requests that wait together are served by a transform job or by an endpoint that is woken for them.

A job starts sooner and costs the gateway less for each request, but serves only what was there when it was created. An
endpoint also takes the requests that come while it starts and works.
"""

from decimal import Decimal


def job_is_cheaper(
    *,
    endpoint_start: Decimal,
    job_start: Decimal,
    requests: int,
    less_in_job: Decimal,
    saved_per_second: Decimal,
    endpoint_seconds: float,
) -> bool:
    """Whether a job costs less than an endpoint for what waits now.

    Args:
        endpoint_start: dollars of an endpoint's start-up.
        job_start: dollars of a job's.
        requests: that wait.
        less_in_job: dollars that the gateway's own parts of a request are less in a job.
        saved_per_second: dollars that those who came lately would have saved on an instance that was up.
        endpoint_seconds: for which the endpoint would take those who come.
    """
    return saved_per_second * Decimal(endpoint_seconds) < endpoint_start - job_start + requests * less_in_job
