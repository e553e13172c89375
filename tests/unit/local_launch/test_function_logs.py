"""What `make logs` prints of a function."""

import time
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.launch import function_logs
from local.launch.errors import LaunchError, NotRunningError
from local.launch.function_logs import printed, show
from local.launch.layout import ROOT, Layout

GROUP = "/aws/lambda/tollgate-batch-dispatch"


def _logs(*messages: str) -> Any:
    logs = boto3.client("logs", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="one")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + number, "message": text} for number, text in enumerate(messages)]
    logs.put_log_events(logGroupName=GROUP, logStreamName="one", logEvents=events)
    return logs


@mock_aws
def test_lines_of_the_function_without_those_of_the_runtime() -> None:
    """In order, one line each."""
    logs = _logs(
        "START RequestId: 1 Version: 1",
        '{"message":"a"}\n',
        '{"message":"b"}',
        "END RequestId: 1",
        "REPORT RequestId: 1",
    )
    assert list(printed(logs, "batch-dispatch")) == ['{"message":"a"}', '{"message":"b"}']


@mock_aws
def test_a_function_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    """Also none at all, as in `make logs`; by the names of their folders, as everywhere else."""
    logs = _logs("x")
    for name in ("toaster", ""):
        with pytest.raises(LaunchError, match="take one of these: batch_dispatch"):
            list(printed(logs, name))


@mock_aws
def test_a_function_that_has_said_nothing_is_said_to_have(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty answer would look like a command that does not work."""
    logs = _logs("START RequestId: 1 Version: 1")
    monkeypatch.setattr(function_logs, "client", lambda _service, _layout: logs)
    monkeypatch.setattr("local.launch.state.launcher_pid", lambda _layout: 1)
    show(Layout(ROOT, 65_000), "batch_dispatch")
    assert capsys.readouterr().out == "batch_dispatch has logged nothing yet.\n"


def test_without_a_stack_it_is_said() -> None:
    """And nothing is waited for."""
    with pytest.raises(NotRunningError):
        show(Layout(ROOT, 65_000), "gateway")
