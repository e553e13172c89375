"""`tollgate export`: what requests cost, for other programs."""

import argparse
from datetime import UTC, date, datetime
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.stack import Stack, StackError
from tollgate.adapters.focus_file import focus_csv_gz, focus_key, jobs_ended_on
from tollgate.domain.focus import FocusAccount, focus_day
from tollgate.domain.money import usd_text


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("export", help="export what requests cost")
    formats = parser.add_subparsers(dest="format", required=True)
    focus = formats.add_parser("focus", help="one day of ended jobs as FOCUS rows, to the bucket or a file")
    focus.add_argument("--date", type=date.fromisoformat, required=True, help="the day, UTC, like 2026-11-22")
    focus.add_argument("--output", type=Path, help="a local file instead of exports/focus/ in the stack's bucket")
    focus.set_defaults(run=export_focus)


def export_focus(stack: Stack, arguments: argparse.Namespace) -> int:
    """Write the file of a day; doing it again replaces it.

    Raises:
        StackError: the day has not ended, or AWS or the file cannot be used.
    """
    if arguments.date >= datetime.now(UTC).date():
        raise StackError("The day has not ended yet in UTC; its file would be incomplete.")
    session = boto3.session.Session(region_name=stack.region)
    try:
        account = FocusAccount(session.client("sts").get_caller_identity()["Account"], stack.region, stack.name)
        jobs = jobs_ended_on(session.resource("dynamodb"), stack.outputs["JobsTableName"], arguments.date)
        found = focus_day(jobs, arguments.date, account)
        body = focus_csv_gz(found)
        if arguments.output is None:
            place = focus_key(arguments.date)
            session.client("s3").put_object(
                Bucket=stack.outputs["BucketName"], Key=place, Body=body, ContentType="application/gzip"
            )
        else:
            place = str(arguments.output)
            arguments.output.write_bytes(body)
    except (ClientError, BotoCoreError, OSError) as error:
        raise StackError(f"The export failed: {error}") from error
    print(f"{place}: {len(found.rows)} rows, {usd_text(found.total)} USD.")
    if found.unknown:
        print(f"Left out, cost unknown: {len(found.unknown)} jobs, the first {found.unknown[0]}.")
    return 0
