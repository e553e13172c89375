"""Cold start is a product feature: what the hot functions must not import."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FORBIDDEN = ("boto3", "botocore", "s3transfer", "aws_xray_sdk")


@pytest.mark.parametrize("function", ["gateway", "authorizer"])
def test_hot_functions_do_not_import_boto3(function: str) -> None:
    """Neither at import nor when the service is built."""
    program = (
        f"import sys, functions.{function}.app as app\n"
        "app._service()\n"
        f"print(*(name for name in {FORBIDDEN!r} if name in sys.modules))"
    )
    environment = {
        "PYTHONPATH": f"{ROOT / 'layers' / 'tollgate'}:{ROOT}",
        "AWS_REGION": "us-east-1",
        "TABLE_JOBS": "j",
        "TABLE_CACHE": "c",
        "TABLE_REGISTRY": "r",
        "BUCKET": "b",
        "ASYNC_QUEUE_URL": "http://127.0.0.1/q",
        "BATCH_QUEUE_URL": "http://127.0.0.1/q",
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 -- our own program
    assert done.stdout.strip() == ""
