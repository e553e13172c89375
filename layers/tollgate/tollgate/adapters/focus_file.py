"""FOCUS rows as a gzipped CSV file, and the jobs they are made of."""

import csv
import gzip
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from tollgate.adapters.job_items import from_item, time_text
from tollgate.domain.errors import StorageError
from tollgate.domain.focus import COLUMNS, FocusDay
from tollgate.domain.jobs import Job

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBServiceResource

# All that a row needs; bodies, the large attributes, are left out, and make a job without payloads.
_ATTRIBUTES = (
    *("job_id", "model", "deployment", "route_reason", "tenant", "key_id", "team", "inference_type", "state"),
    *("estimated_cost", "effective_cost", "avoided_cost", "held_seconds", "catalogue_version"),
    *("created_at", "finished_at", "input_tokens", "output_tokens"),
)
_FORMULA_STARTS = ("=", "+", "@", "\t", "\r")


def focus_key(day: date) -> str:
    """Where the file of a day lies in the bucket."""
    return f"exports/focus/date={day.isoformat()}/part.csv.gz"


def focus_csv_gz(found: FocusDay) -> bytes:
    """The file: UTF-8, a heading, one line per row. The same day gives the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [column.name for column in COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in found.rows)
    return gzip.compress(text.getvalue().encode("utf-8"), mtime=0)


def _harmless(value: str) -> str:
    """A spreadsheet runs what begins like a formula; team and tenant are texts that somebody chose."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value


def jobs_ended_on(tables: "DynamoDBServiceResource", table: str, day: date) -> Iterator[Job]:
    """All jobs that ended on a day, UTC. Reads the whole table, for no index is sorted by that.

    Raises:
        StorageError: the table cannot be read.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    request: dict[str, Any] = {
        "FilterExpression": "finished_at >= :start AND finished_at < :end",
        "ExpressionAttributeValues": {":start": time_text(start), ":end": time_text(start + timedelta(days=1))},
        "ProjectionExpression": ", ".join(f"#{name}" for name in _ATTRIBUTES),
        "ExpressionAttributeNames": {f"#{name}": name for name in _ATTRIBUTES},
    }
    try:
        while True:
            page = tables.Table(table).scan(**request)
            for item in page["Items"]:
                yield from_item(item)
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
    except (ClientError, BotoCoreError) as error:
        raise StorageError(f"The table of jobs cannot be read: {type(error).__name__}.") from error
