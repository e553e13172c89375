"""`tollgate export`: what requests cost, for other programs."""

import argparse
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.arguments import add, day
from cli.stack import Stack, StackError
from cli.tables import counted
from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.adapters.metering.focus_file import FocusBucket, focus_file, focus_key
from tollgate.adapters.s3.client import S3Client
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.adapters.system import SystemClock
from tollgate.api.telemetry import Telemetry
from tollgate.domain.costs.focus import FocusAccount, FocusRow
from tollgate.domain.money import usd_text
from tollgate.services.usage.export_focus import FocusExport

if TYPE_CHECKING:
    from tollgate.ports.usage import FocusFiles


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "export", "export what requests cost")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    focus = add(
        formats,
        "focus",
        "one day as FOCUS rows, to the bucket or a file",
        "export focus --date 2026-11-21",
        "export focus --date 2026-11-21 --output day.csv.gz",
    )
    focus.add_argument("--date", type=day, required=True, help="the day, UTC, like 2026-11-22")
    focus.add_argument(
        "--output", type=Path, metavar="FILE", help="a local file instead of exports/focus/ in the stack's bucket"
    )
    focus.set_defaults(run=export_focus)


class _LocalFile:
    """The `FocusFiles` of one local file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, _day: date) -> bool:
        """Whether the file is there; it has one day at most."""
        return self._path.exists()

    def write(self, day: date, parts: Iterable[Iterable[FocusRow]]) -> None:
        """See `FocusFiles`."""
        body = focus_file(parts)
        try:
            self._path.write_bytes(body)
        except OSError as error:
            raise StackError(f"The file of {day} cannot be written: {error}") from error


def export_focus(stack: Stack, arguments: argparse.Namespace) -> int:
    """Write the file of a day; doing it again replaces it.

    Raises:
        StackError: the day has not ended, or AWS or the file cannot be used.
        StorageError: its usage is not complete yet, or cannot be read.
    """
    if arguments.date >= datetime.now(UTC).date():
        raise StackError("The day has not ended yet in UTC; its file would be incomplete.")
    try:
        account_id = boto3.session.Session(region_name=stack.region).client("sts").get_caller_identity()["Account"]
    except (ClientError, BotoCoreError) as error:
        raise StackError(f"The export failed: {error}") from error
    files: FocusFiles
    if arguments.output is None:
        objects = S3DirectObjects(S3Client(stack.transport), stack.outputs["BucketName"])
        files, place = FocusBucket(objects), focus_key(arguments.date)
    else:
        files, place = _LocalFile(arguments.output), str(arguments.output)
    export = FocusExport(
        store=DynamoDBUsage(stack.tables, stack.outputs["LedgerTableName"]),
        jobs=SettledJobs(stack.tables, stack.outputs["JobsTableName"]),
        files=files,
        account=FocusAccount(account_id, stack.region, stack.name),
        telemetry=Telemetry(namespace="Tollgate", service="cli", write=lambda _line: None),
        clock=SystemClock(),
        catalogues=RegistryCatalogue(stack.tables, stack.registry, lambda: 0.0),
    )
    found = export.export(datetime(arguments.date.year, arguments.date.month, arguments.date.day, tzinfo=UTC))
    print(f"{place}: {found.rows} rows, {usd_text(found.total)} USD.")
    if found.unknown:
        first = f", the first job {found.first_unknown}" if found.first_unknown else ""
        print(f"Left out, cost unknown: {counted(found.unknown, 'request')}{first}.")
    return 0
