"""How many requests wait on each road, in the Registry table, where routing reads it."""

from datetime import datetime

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.items import time_text
from tollgate.domain.catalogue import InferenceType


class DynamoDBBacklog:
    """The `BacklogRecorder` of AWS. Other attributes of the item belong to other writers and stay."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def record_backlog(
        self, resource: str, inference_type: InferenceType, backlog: int, *, observed_at: datetime
    ) -> None:
        """See `BacklogRecorder`."""
        with storage_errors("registry"):
            self._client.update_item(
                self._table,
                {"pk": "capacity", "sk": f"{resource}#{inference_type}"},
                update="SET backlog = :backlog, observed_at = :at",
                values={":backlog": backlog, ":at": time_text(observed_at)},
            )
