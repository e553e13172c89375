"""Parts die in the middle of work and come back: no job is lost, none is charged twice."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.gateway.conftest import FINAL, Client
from tests.integration.gateway.receiver import Receiver
from tests.integration.sagemaker_standin.process import until
from tollgate.adapters.dynamodb.jobs.items import time_text
from tollgate.domain.jobs.job import JobState

pytestmark = pytest.mark.integration


def test_the_standin_dies_in_the_middle_of_async_and_batch_work(client: Client) -> None:
    """Killed twice; every job ends completed, with one settlement each."""
    slow = {"inputs": {"_sleep": 0.3}}
    with ThreadPoolExecutor(8) as pool:
        accepted = list(
            pool.map(lambda i: client.infer("echo", slow, priority=("medium", "low")[i % 2]).body["id"], range(24))
        )
    for _ in range(2):
        time.sleep(2)
        client.stack.kill_standin()
        time.sleep(1)
        client.stack.restart_standin()
    jobs = [client.ended(job_id, within=400) for job_id in accepted]
    assert Counter(job["status"] for job in jobs) == {"completed": 24}
    assert all(job["cost"]["effective_cost_usd"] for job in jobs)
    assert _settlements(client, accepted) == Counter(dict.fromkeys(accepted, 1))


def test_lost_and_doubled_notifications(client: Client) -> None:
    """What SNS loses the sweeper's schedule finds, once it is two minutes old; what comes twice counts once."""
    _faults(client, [{"op": "sns", "kind": "drop", "count": 1}, {"op": "sns", "kind": "duplicate", "count": 3}])
    try:
        accepted = [client.infer("echo", f"n {i}", priority="medium").body["id"] for i in range(4)]
        until(lambda: len(_open(client, accepted)) <= 1, 90)
        [lost] = _open(client, accepted)
        _submitted_earlier(client, lost, timedelta(seconds=150))
        jobs = [client.ended(job_id, within=300) for job_id in accepted]
    finally:
        _faults(client, None)
    assert Counter(job["status"] for job in jobs) == {"completed": 4}
    assert _settlements(client, accepted) == Counter(dict.fromkeys(accepted, 1))


def test_a_finished_job_calls_its_webhook_signed(client: Client) -> None:
    """Through a receiver that fails at first; the retry carries the same id and a valid signature."""
    with Receiver(fail_first=1) as receiver:
        reply = client.infer("echo", "call me", priority="medium", webhook_url=receiver.url)
        assert reply.status == 202, reply.text
        calls = receiver.wait_for(2, within=240)
    assert {call.headers["webhook-id"] for call in calls} == {calls[0].headers["webhook-id"]}
    assert calls[-1].verifies(_webhook_secret(client))
    assert json.loads(calls[-1].body)["data"]["id"] == reply.body["id"]
    assert json.loads(calls[-1].body)["type"] == "inference.completed"


def _open(client: Client, job_ids: list[str]) -> list[str]:
    return [job_id for job_id in job_ids if client.job(job_id)["status"] not in FINAL]


def _submitted_earlier(client: Client, job_id: str, by: timedelta) -> None:
    """Write down that a job was submitted so much earlier, so that nobody need wait for it to grow old."""
    client.stack.aws("dynamodb").update_item(
        TableName=client.stack.outputs["JobsTableName"],
        Key={"job_id": {"S": job_id}},
        UpdateExpression="SET created_at = :earlier, submitted_at = :earlier",
        ConditionExpression="#state = :submitted",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={
            ":earlier": {"S": time_text(datetime.now(UTC) - by)},
            ":submitted": {"S": JobState.SUBMITTED.value},
        },
    )


def _settlements(client: Client, job_ids: list[str]) -> Counter[str]:
    """How often each job's final record was written, by the functions' logs."""
    logs = client.stack.aws("logs")
    found: Counter[str] = Counter()
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    for group in groups:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group):
            for event in page["events"]:
                for line in event["message"].splitlines():
                    record = _json(line)
                    if record.get("message") == "request" and record.get("outcome") == "completed":
                        found[record.get("job_id", "")] += 1
    return Counter({job_id: found[job_id] for job_id in job_ids})


def _json(line: str) -> Any:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _faults(client: Client, rules: list[dict[str, Any]] | None) -> None:
    from urllib.request import Request, urlopen

    data = None if rules is None else json.dumps(rules).encode()
    url = client.stack.standin_url + "/_standin/faults"
    request = Request(url, data=data, method="DELETE" if rules is None else "PUT")  # noqa: S310 -- our own stand-in
    with urlopen(request, timeout=10):  # noqa: S310 -- as above
        return


def _webhook_secret(client: Client) -> str:
    import subprocess
    import sys

    from local.launch import programs
    from local.launch.layout import ROOT

    command = [sys.executable, "-m", "cli", "webhooks", "secret", "--tenant", "local"]
    environment = programs.environment(client.stack.layout)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip().splitlines()[-1]
