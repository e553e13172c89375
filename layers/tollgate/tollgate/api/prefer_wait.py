"""``Prefer: wait=N``: an accepted request whose caller would rather wait some seconds for the answer.

https://www.rfc-editor.org/rfc/rfc7240#section-4.3
"""

import re
from collections.abc import Mapping

from tollgate.api.http import Answer, Call, json_answer
from tollgate.api.job_rendering import job_document, job_headers
from tollgate.api.repeating import replay_headers
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import FINAL_STATES
from tollgate.services.jobs.wait import JobWaiter
from tollgate.services.requests.trail import Trail

LONGEST_SECONDS = 26.0
"""From the start of the call; API Gateway gives up after 29."""

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})(?:$|[,;\s])", re.IGNORECASE)
_PATH = "/v1/inferences/"


def wished_seconds(headers: Mapping[str, str]) -> int | None:
    """How long the caller is ready to wait, None if it does not say."""
    found = _WAIT.search(headers.get("prefer", ""))
    return None if found is None else int(found[1])


def waited(call: Call, accepted: Answer, trail: Trail, waiter: JobWaiter, now: float) -> Answer:
    """The ended job within the wished time; otherwise what was accepted, still to be asked for.

    Args:
        call: with the preference.
        accepted: the 202 answer, whose `Location` names the job.
        trail: of the call; the longest wait counts from its start.
        waiter: looks at the job.
        now: on the monotonic clock.
    """
    wished = wished_seconds(call.headers)
    if wished is None:
        return accepted
    until = min(now + wished, trail.started + LONGEST_SECONDS)
    applied = {"Preference-Applied": f"wait={wished}"}
    try:
        job = waiter.wait(call.owner, accepted.headers["Location"].removeprefix(_PATH), until=until)
    except StorageError:
        # The job is written down; it can be asked for later.
        return Answer(accepted.status, accepted.body, {**accepted.headers, **applied})
    if job.state not in FINAL_STATES or job.output.key is not None:
        return Answer(accepted.status, accepted.body, {**accepted.headers, **applied})
    return json_answer(200, job_document(job), {**job_headers(job), **replay_headers(accepted), **applied})
