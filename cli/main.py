"""The `tollgate` command line."""

import argparse
import os
import sys
from collections.abc import Sequence

from cli import brake, calibrate, endpoints, export, keys, models, orphans, plan, prices, report, rightsize, webhooks
from cli.stack import Stack, StackError
from tollgate.domain.errors import TollgateError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tollgate", description="Keys, catalogue, prices and webhook secrets of a deployed Tollgate stack."
    )
    parser.add_argument(
        "--stack", default=os.environ.get("TOLLGATE_STACK", "tollgate"), help="CloudFormation stack (TOLLGATE_STACK)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    keys.add_parser(commands)
    models.add_parser(commands)
    prices.add_parser(commands)
    export.add_parser(commands)
    report.add_parser(commands)
    webhooks.add_parser(commands)
    plan.add_parser(commands)
    endpoints.add_parser(commands)
    brake.add_parser(commands)
    rightsize.add_parser(commands)
    orphans.add_parser(commands)
    calibrate.add_parser(commands)
    parsed = parser.parse_args(arguments)
    if "AWS_REGION" in os.environ:
        # The one that our messages ask for. In Lambda both are set; boto3 by itself reads only the other.
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    try:
        if hasattr(parsed, "run_offline"):
            return int(parsed.run_offline(parsed))
        return int(parsed.run(Stack.find(parsed.stack), parsed))
    except (StackError, TollgateError) as error:
        print(f"tollgate: {error}", file=sys.stderr)
        return 2
