"""What the functions that end jobs write of their deployments, and when."""

from functools import partial
from typing import Any

import pytest

from tollgate.domain.choice.outcomes import of_run
from tollgate.settings import AsyncSettings, RoadSettings
from tollgate.wiring.jobs import AsyncParts, JobParts

_ENVIRONMENT = {
    "TABLE_JOBS": "jobs",
    "TABLE_LEDGER": "ledger",
    "TABLE_REGISTRY": "registry",
    "TABLE_CACHE": "cache",
    "BUCKET": "bucket",
    "ASYNC_QUEUE_URL": "http://127.0.0.1/async",
}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(partial(JobParts, RoadSettings.load(_ENVIRONMENT)), id="deferred"),
        pytest.param(partial(AsyncParts, AsyncSettings.load(_ENVIRONMENT)), id="asynchronous"),
    ],
)
def test_each_job_is_on_record_at_once(parts: Any, recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends it: a function that waits for its next job may never see one."""
    for name, value in {"AWS_ENDPOINT_URL": recorder.url, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    parts().outcomes.add("chat", "next", "task", of_run(failed=False, seconds=1.0, usd=0.01, output_tokens=7))
    [request] = recorder.requests
    assert request.headers["x-amz-target"].endswith("UpdateItem")
    assert b'"outcomes#chat"' in request.body
