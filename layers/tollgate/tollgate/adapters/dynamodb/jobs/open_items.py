"""Items of the Jobs table, read in outline; `items` reads the whole."""

import json
from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dynamodb.jobs.items import owner_of, time_of
from tollgate.domain.jobs.job import JobState
from tollgate.domain.jobs.open_jobs import STORED_TOKENS, OpenJob, tokens_of
from tollgate.domain.roads.estimates import output_limit

_TIMES = ("deadline_at", "submit_lease_until", "submitted_at")


def outline_of(item: Mapping[str, Any]) -> OpenJob:
    """The job of an item that `to_item` wrote, without what is large; see `outline`."""
    deadline, lease, submitted = (time_of(item[name]) if name in item else None for name in _TIMES)
    return OpenJob(
        job_id=item["job_id"],
        owner=owner_of(item),
        resource=f"{item['model']}/{item['deployment']}",
        traceparent=item.get("traceparent", ""),
        state=JobState(item["state"]),
        created_at=time_of(item["created_at"]),
        deadline_at=deadline,
        submit_lease_until=lease,
        submitted_at=submitted,
        input_tokens=STORED_TOKENS if "input_key" in item else tokens_of(item.get("input", "null")),
        output_limit=output_limit(json.loads(item["parameters"])) if "parameters" in item else None,
    )
