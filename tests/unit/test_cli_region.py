"""The region of the command line: AWS_REGION, which its messages ask for, holds for every client."""

from unittest.mock import Mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError

from cli import calibrate
from cli.main import main


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no region, and leaves none behind."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    # Nobody goes looking for credentials.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return monkeypatch


def test_aws_region_is_enough(bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """boto3 by itself reads AWS_DEFAULT_REGION only."""
    bare.setenv("AWS_REGION", "eu-central-1")
    bare.setattr(calibrate, "measure", lambda *_: {"measured": True})
    assert main(["calibrate", "endpoint", "--json"]) == 0
    assert "measured" in capsys.readouterr().out


def test_without_a_region_it_is_said(bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And not shown as a traceback."""
    assert bare is not None
    assert main(["calibrate", "endpoint"]) == 2
    assert "AWS_REGION" in capsys.readouterr().err


def test_a_stack_that_does_not_run_is_told_from_wrong_credentials(
    bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the address, and what to start."""
    unreachable = EndpointConnectionError(endpoint_url="http://127.0.0.1:4567/")
    bare.setattr(BaseClient, "_make_api_call", Mock(side_effect=unreachable))
    bare.setenv("AWS_REGION", "us-east-1")
    bare.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4567")
    assert main(["report"]) == 2
    said = capsys.readouterr().err
    assert said == "tollgate: Nothing answers at http://127.0.0.1:4567/. Is the local stack running (make run)?\n"
