"""GET /v1/inferences, GET and DELETE /v1/inferences/{id}."""

from functools import cache
from typing import Any

from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.s3.client import S3Client
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.api.http import read_call
from tollgate.api.jobs_routes import JobsApi
from tollgate.services.jobs.queries import JobQueries
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts


class JobsSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    bucket: str


def build(settings: JobsSettings) -> JobsApi:
    """Wire the service; nothing is connected before the first call."""
    parts = Parts(settings)
    parts.transport.prepare()
    ledger = DynamoDBLedger(parts.tables, settings.table_ledger)
    return JobsApi(
        queries=JobQueries(
            jobs=DynamoDBJobStore(parts.tables, settings.table_jobs, ledger),
            objects=S3DirectObjects(S3Client(parts.transport), settings.bucket),
            clock=parts.clock,
        ),
        telemetry=parts.telemetry,
    )


def handle(event: dict[str, Any], service: JobsApi) -> dict[str, Any]:
    """One API call."""
    return service.respond(read_call(event)).to_event()


@cache
def _service() -> JobsApi:
    return build(JobsSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())


# Lambda imports the module by this name, and gives it more CPU now than for the first request.
if __name__ == "app":
    _service()
