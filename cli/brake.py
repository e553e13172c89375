"""`tollgate brake`: how far spending is slowed down, what a stop would do and save, and releasing it."""

import argparse
import getpass
import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.arguments import add, moment_with_offset
from cli.stack import Stack, StackError
from cli.tables import folding_table, name_of, new_console
from tollgate.adapters.dynamodb.registry.brake_steps import RegistryBrakes
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.adapters.system import SystemClock
from tollgate.api.control_documents import control_document
from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.brakes.plan import brake_plan, saving
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import BackendError, CatalogueError
from tollgate.domain.money import usd_text
from tollgate.domain.places.standing import Place, Standing, places_of
from tollgate.services.brakes.queries import BrakeQueries

_LEVELS = ("warn", "downgrade", "defer", "stop")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "brake", "show, plan, set and release the spend brakes")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = add(
        actions, "status", "the level in force, why, until when, and what was done for it", "brake status --json"
    )
    status.add_argument("--json", action="store_true", help="the whole record as JSON")
    status.set_defaults(run=show_status)
    plan = add(
        actions,
        "plan",
        "what each level would do now, and the dollars an hour it would save",
        "brake plan --dry-run",
        "brake plan --level defer --offline",
    )
    plan.add_argument("--dry-run", action="store_true", help="the default, and all that this command ever does")
    plan.add_argument("--level", choices=_LEVELS, default="stop", help="the furthest level (default: stop)")
    plan.add_argument("--offline", action="store_true", help="count what the catalogue says, without asking SageMaker")
    plan.set_defaults(run=show_plan)
    brake = add(
        actions,
        "set",
        "brake by hand, until someone resumes",
        'brake set stop --reason "a runaway agent"',
        "brake set defer --until 2026-11-23T00:00+00:00",
    )
    brake.add_argument("level", choices=_LEVELS, help="how far")
    brake.add_argument("--reason", default="", help="shown to callers that are refused")
    brake.add_argument(
        "--until", type=moment_with_offset, metavar="TIME", help="release it then, like 2026-11-23T00:00+00:00"
    )
    brake.set_defaults(run=set_level)
    for place in (actions, commands):
        example = "resume" if place is commands else "brake resume"
        resume = add(place, "resume", "release all brakes and undo what they did, the last step first", example)
        resume.set_defaults(run=resume_all)


def show_status(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print the record; exit status 1 while something brakes."""
    registry = stack.registry
    queries = BrakeQueries(RegistryBrakes(stack.tables, registry), RegistryPlaces(stack.tables, registry))
    control = queries.control()
    document = control_document(control, queries.steps(control))
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        _print(document)
    return 1 if control.level > BrakeLevel.WARN else 0


def show_plan(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print the plan; changes nothing."""
    catalogue = _catalogue(stack)
    if catalogue.brakes is None:
        raise CatalogueError("The catalogue has no [brakes], so nothing would happen: see docs/brakes.md.")
    standing: dict[Place, Standing] = {}
    if not arguments.offline:
        endpoints = SageMakerControl()
        for place in places_of(catalogue):
            try:
                standing[place] = endpoints.describe(place)
            except BackendError as error:
                print(f"{place.key} cannot be looked at: {error.message}")
    steps = brake_plan(catalogue, BrakeLevel.of(arguments.level), standing)
    targets = [name_of(step.target) for step in steps]
    headings = ("level", "target", "what", "saves USD/h")
    table = folding_table(headings, title="Dry run: nothing was changed", names={"target": targets})
    for target, step in zip(targets, steps, strict=True):
        what = f"nothing, {step.exempt}" if step.exempt else step.what
        usd = "" if step.usd_per_hour is None or step.exempt else usd_text(step.usd_per_hour)
        table.add_row(step.level.word, target, what, usd)
    new_console().print(table)
    print(f"Saves {usd_text(saving(steps))} USD an hour while everything that stands now is down.")
    return 0


def set_level(stack: Stack, arguments: argparse.Namespace) -> int:
    """Brake to a level by hand.

    Raises:
        CatalogueError: the catalogue has no brakes, which the function would refuse as an order it does not understand.
    """
    if _catalogue(stack).brakes is None:
        raise CatalogueError("The catalogue has no [brakes]: apply one that has, then brake. See docs/brakes.md.")
    until = arguments.until
    order = {"order": "set", "level": arguments.level, "reason": arguments.reason}
    _print(_give(stack, order | ({} if until is None else {"until": until.isoformat()})))
    return 0


def resume_all(stack: Stack, _arguments: argparse.Namespace) -> int:
    """Release all brakes, and undo what they did."""
    _print(_give(stack, {"order": "resume"}))
    return 0


def _catalogue(stack: Stack) -> Catalogue:
    return RegistryCatalogue(stack.tables, stack.registry, SystemClock().monotonic).current()


def _give(stack: Stack, order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have the function do it, which alone may write the record and touch endpoints."""
    payload = json.dumps({"source": "tollgate.brake", "who": getpass.getuser(), **order})
    config = Config(read_timeout=150, retries={"total_max_attempts": 1})
    try:
        client = boto3.client("lambda", region_name=stack.region, config=config)
        answer = client.invoke(FunctionName=stack.outputs["BudgetAlarmFunctionName"], Payload=payload.encode())
        document: Mapping[str, Any] = json.loads(answer["Payload"].read())
    except (ClientError, BotoCoreError) as error:
        raise StackError(f"The budget-alarm function cannot be called: {error}") from error
    if "errorMessage" in document:
        raise StackError(f"The budget-alarm function failed: {document['errorMessage']}")
    return document


def _print(document: Mapping[str, Any]) -> None:
    until = f", until {document['until']}" if document["until"] else ""
    if document["level"] == BrakeLevel.NONE.word:
        print("No brake is on.")
    else:
        print(f"level {document['level']}{until}" + (f": {document['reason']}" if document["reason"] else ""))
    for cause in document["causes"]:
        held = "dismissed" if cause["dismissed"] else cause["level"]
        print(f"  {cause['cause']}: {held}, {cause['reason']}")
    if document["steps"]:
        targets = [name_of(step["target"]) for step in document["steps"]]
        headings = ("#", "level", "target", "state", "changed", "saves USD/h")
        table = folding_table(headings, names={"target": targets})
        for target, step in zip(targets, document["steps"], strict=True):
            changes = (change.removeprefix(step["target"]).lstrip(": ") for change in step["changes"] + step["undone"])
            changed = "; ".join(changes) + (f" ({step['problem']})" if step["problem"] else "")
            table.add_row(
                str(step["number"]),
                step["level"],
                target,
                step["state"],
                changed,
                step["saves_usd_per_hour"] or "",
            )
        new_console().print(table)
