"""OpenAI's files, uploads and batches: /v1/files, /v1/uploads, /v1/batches."""

import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.dynamodb.cache.idempotency import DynamoDBIdempotency
from tollgate.adapters.dynamodb.jobs.files import DynamoDBFileBatchStore, DynamoDBFileStore
from tollgate.adapters.messaging.sqs_client import SqsClient
from tollgate.adapters.messaging.sqs_queue import SqsQueue
from tollgate.adapters.s3.client import S3Client
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.api.files_routes import FilesApi
from tollgate.api.http import read_call
from tollgate.services.batches.file_batches import FileBatches
from tollgate.services.batches.files import Files
from tollgate.services.batches.uploads import Uploads
from tollgate.services.requests.idempotency import Idempotency
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts

if TYPE_CHECKING:
    from tollgate.ports.files import ChunkedObjects


class FilesBatchesSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_cache: str
    bucket: str
    batch_queue_url: str
    file_retention_days: int


def build(settings: FilesBatchesSettings) -> FilesApi:
    """Wire the services; nothing is connected before the first call."""
    parts = Parts(settings)
    parts.transport.prepare()
    tables, clock, ids = parts.tables, parts.clock, parts.ids
    objects = S3DirectObjects(S3Client(parts.transport), settings.bucket)

    def chunked() -> "ChunkedObjects":
        # Needs boto3, and few calls join parts.
        from tollgate.adapters.s3.objects import S3ObjectStore  # noqa: PLC0415 -- see above

        return S3ObjectStore(settings.bucket)

    store = DynamoDBFileStore(tables, settings.table_jobs)
    files = Files(
        files=store,
        objects=objects,
        clock=clock,
        ids=ids,
        kept=timedelta(days=settings.file_retention_days),
    )
    batches = FileBatches(
        batches=DynamoDBFileBatchStore(tables, settings.table_jobs),
        files=files,
        queue=SqsQueue(SqsClient(parts.transport), settings.batch_queue_url),
        telemetry=parts.telemetry,
        clock=clock,
        ids=ids,
    )
    return FilesApi(
        files=files,
        uploads=Uploads(store=store, files=files, objects=objects, chunked=cache(chunked), clock=clock, ids=ids),
        batches=batches,
        idempotency=Idempotency(DynamoDBIdempotency(tables, settings.table_cache, objects), clock),
        telemetry=parts.telemetry,
        random_hex=lambda: os.urandom(24).hex(),
    )


def handle(event: dict[str, Any], service: FilesApi) -> dict[str, Any]:
    """One API call."""
    return service.respond(read_call(event)).to_event()


@cache
def _service() -> FilesApi:
    return build(FilesBatchesSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())


# Lambda imports the module by this name, and gives it more CPU now than for the first request.
if __name__ == "app":
    _service()
