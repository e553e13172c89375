"""Tables, a queue and a bucket on moto's server, behind the real clients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from functions.cost_reconcile.app import CostReconcileSettings
from tests.fakes.messages import BUCKET
from tests.unit.template_document import resources
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.messaging.sqs_client import SqsClient
from tollgate.adapters.s3.client import S3Client

JOBS_TABLE = "Jobs"
REGISTRY_TABLE = "Registry"
LEDGER_TABLE = "Ledger"
CACHE_TABLE = "Answers"
GATEWAY_LOGS = "/aws/lambda/tollgate-gateway"
CACHE_LOGS = "/aws/lambda/tollgate-cache"
STREAMING_LOGS = "/aws/lambda/tollgate-streaming"
_REGION = "us-east-1"
STORE_VARIABLES = {
    "AWS_REGION": _REGION,
    "TABLE_JOBS": JOBS_TABLE,
    "TABLE_REGISTRY": REGISTRY_TABLE,
    "TABLE_LEDGER": LEDGER_TABLE,
    "TABLE_CACHE": CACHE_TABLE,
    "BUCKET": BUCKET,
}
"""What functions are told of the stores below."""


@dataclass(frozen=True, slots=True)
class LocalAws:
    """Where the stand-in is, and the clients that reach it."""

    url: str
    dynamodb: DynamoDBClient
    sqs: SqsClient
    s3: S3Client

    def boto3_client(self, service: Any) -> Any:
        return boto3.client(service, region_name=_REGION, endpoint_url=self.url)


@pytest.fixture(scope="session")
def _server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAws]:
    """Empty tables and an empty bucket for each test."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_ENDPOINT_URL": _server,
    }.items():
        monkeypatch.setenv(name, value)
    config = TransportConfig.from_mapping({"AWS_REGION": _REGION, "AWS_ENDPOINT_URL": _server})
    transport = AwsTransport(config)
    local = LocalAws(url=_server, dynamodb=DynamoDBClient(transport), sqs=SqsClient(transport), s3=S3Client(transport))
    tables = local.boto3_client("dynamodb")
    tables.create_table(**jobs_table())
    tables.create_table(**registry_table())
    tables.create_table(**registry_table() | {"TableName": LEDGER_TABLE})
    tables.create_table(**cache_table())
    bucket = local.boto3_client("s3")
    bucket.create_bucket(Bucket=BUCKET)
    yield local
    tables.delete_table(TableName=JOBS_TABLE)
    tables.delete_table(TableName=REGISTRY_TABLE)
    tables.delete_table(TableName=LEDGER_TABLE)
    tables.delete_table(TableName=CACHE_TABLE)
    for page in bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            bucket.delete_object(Bucket=BUCKET, Key=entry["Key"])
    bucket.delete_bucket(Bucket=BUCKET)
    transport.close()


def reconcile_settings() -> CostReconcileSettings:
    """Settings of the function that reconciles, for these tables and this bucket."""
    return CostReconcileSettings(
        {
            "table_jobs": JOBS_TABLE,
            "table_ledger": LEDGER_TABLE,
            "table_registry": REGISTRY_TABLE,
            "bucket": BUCKET,
            "gateway_log_group": GATEWAY_LOGS,
            "cache_log_group": CACHE_LOGS,
            "streaming_log_group": STREAMING_LOGS,
            "stack_name": "tollgate",
            "account_id": "123456789012",
            "aws_region": _REGION,
        }
    )


def jobs_table() -> dict[str, Any]:
    """The table as `create_table` wants it; the template's twin."""
    names = ("job_id", "tenant", "created_at", "open_group", "settled_group", "settled_at")
    return {
        "TableName": JOBS_TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": [{"AttributeName": "job_id", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [_index("by_owner", "tenant"), _index("open", "open_group"), _settled_index()],
    }


def cache_table() -> dict[str, Any]:
    """As `jobs_table`."""
    return {
        "TableName": CACHE_TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "cache_key", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "cache_key", "KeyType": "HASH"}],
    }


def _index(name: str, partition: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": partition, "KeyType": "HASH"},
            {"AttributeName": "created_at", "KeyType": "RANGE"},
        ],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


def _settled_index() -> dict[str, Any]:
    """From the template: what it copies decides about what can be read back."""
    indexes = resources()["JobsTable"]["Properties"]["GlobalSecondaryIndexes"]
    found: dict[str, Any] = next(index for index in indexes if index["IndexName"] == "settled")
    return found


def registry_table() -> dict[str, Any]:
    """As `jobs_table`."""
    return {
        "TableName": REGISTRY_TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    }
