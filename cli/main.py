"""The `tollgate` command line."""

import argparse
import os
import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from cli import brake, calibrate, endpoints, export, keys, models, orphans, plan, prices, report, rightsize, webhooks
from cli.arguments import USAGE, Parser
from cli.stack import Stack, StackError
from tollgate.domain.errors import TollgateError

_INTERRUPTED = 130
_EPILOG = """\
Commands work on a deployed stack, with the caller's AWS credentials and the region in AWS_REGION;
plan, estimate and calibrate need no stack. Every command has examples: tollgate COMMAND --help.

exit status: 0 done; 1 done, and there is something to look at (a difference, a pending price, a brake
that is on, an orphan); 2 not done, and the message says why.

first steps:
  tollgate models apply models.toml
  tollgate keys create --tenant acme
  tollgate report --group-by team,model
"""


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = Parser(
        prog="tollgate",
        description="Run a Tollgate stack: its keys, models, prices, endpoints, budgets and bills.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--stack",
        default=os.environ.get("TOLLGATE_STACK", "tollgate"),
        help="name of the CloudFormation stack (default: TOLLGATE_STACK, or tollgate)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for part in (keys, models, webhooks, report, export, prices, brake, endpoints, rightsize, orphans, plan, calibrate):
        part.add_parser(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = parser().parse_args(arguments)
    if "AWS_REGION" in os.environ:
        # The one that our messages ask for. In Lambda both are set; boto3 by itself reads only the other.
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    try:
        if hasattr(parsed, "run_offline"):
            return int(parsed.run_offline(parsed))
        return int(parsed.run(Stack.find(parsed.stack), parsed))
    except (StackError, TollgateError) as error:
        return _failed(str(error))
    except (BotoCoreError, ClientError) as error:
        return _failed(f"An AWS call failed: {error}")
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; without this Python complains once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _failed(reason: str) -> int:
    print(f"tollgate: {' '.join(reason.split())}", file=sys.stderr)
    return USAGE
