"""The latest right-sizing report in the registry table: pk ``recommendations``, sk ``current``, a JSON document."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.large_text import packed, unpacked

_KEY = {"pk": "recommendations", "sk": "current"}


class RegistryRecommendations:
    """Stores and reads the report."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def store(self, report: Mapping[str, Any], *, now: datetime) -> None:
        """Replace the report.

        Raises:
            StorageError
        """
        document = packed(json.dumps(report, separators=(",", ":"), ensure_ascii=False))
        with storage_errors("registry"):
            self._client.put_item(self._table, {**_KEY, "document": document, "created_at": now.isoformat()})

    def latest(self) -> Mapping[str, Any] | None:
        """The report, None before the first.

        Raises:
            StorageError
        """
        with storage_errors("registry"):
            item = self._client.get_item(self._table, _KEY)
        return None if item is None else json.loads(unpacked(item["document"]))
