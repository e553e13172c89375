"""`tollgate endpoints|sleep|wake`: what stands behind the roads, and putting it to sleep or waking it by hand."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3

from cli.arguments import add
from cli.endpoint_outlook import outlook
from cli.stack import Stack, StackError
from cli.tables import folding_table, name_of, new_console
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.places import RegistryPlaces
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.domain.catalogue import Catalogue, Deployment, Road
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase, shared_policy
from tollgate.domain.places.standing import Place, PlaceKind, Standing, places_of
from tollgate.domain.roads.capacity import RoadState

type Users = Sequence[tuple[Deployment, Road]]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the commands."""
    listing = add(
        commands,
        "endpoints",
        "what stands behind the catalogue's deployments, what it costs, and when it sleeps or wakes",
        "endpoints --history",
    )
    listing.add_argument("--history", action="store_true", help="how each came to be so")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=show)
    for name, run, words in (
        ("sleep", sleep, "put a deployment's endpoints to sleep now"),
        ("wake", wake, "wake a deployment's endpoints"),
    ):
        command = add(commands, name, words, f"{name} smollm2/main", f"{name} smollm2/main --road async")
        command.add_argument("deployment", metavar="MODEL/DEPLOYMENT", help="as 'tollgate models show' names them")
        command.add_argument("--road", choices=["realtime", "async"], help="only what serves this road")
        command.set_defaults(run=run)


def show(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print every endpoint, component and model with running transform jobs."""
    control = SageMakerControl()
    records = {record.place: record for record in RegistryPlaces(stack.tables, stack.registry).all()}
    rows = [_row(control.describe(place), users, records.get(place)) for place, users in _places(stack).items()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print("No deployment of the catalogue stands on SageMaker.")
        return 0
    names = [name_of(row["place"]) for row in rows]
    table = folding_table(("name", "kind", "state", "count", "$/hour", "what happens next"), names={"name": names})
    for name, row in zip(names, rows, strict=True):
        asleep = row["phase"] not in {"", Phase.AWAKE.value}
        state = (row["phase"] if asleep else row["status"]).replace("_", " ")
        now, wanted = row["current"], row["desired"]
        count = str(now) if now == wanted else f"{now} of {wanted}"
        kind = PlaceKind(row["place"].partition("/")[0]).name.lower()
        table.add_row(name, kind, state, count, row["usd_per_hour"] or "", row["next"])
        if arguments.history:
            for line in row["history"]:
                table.add_row(
                    f"  {line['at']}", "", line["phase"].replace("_", " "), "", "", line["reason"], style="dim"
                )
    console = new_console()
    console.print(table)
    if arguments.history and not all(row["history"] for row in rows):
        who = "The others have" if any(row["history"] for row in rows) else "There is"
        console.print(f"{who} no history: only places with a sleep policy have one.")
    return 0


def sleep(stack: Stack, arguments: argparse.Namespace) -> int:
    """Begin to put the places to sleep; the keeper goes on with it within a minute."""
    records = RegistryPlaces(stack.tables, stack.registry)
    control, now = SageMakerControl(), datetime.now(UTC)
    for place, users in _chosen(stack, arguments):
        if any(deployment.sleep is None for deployment, _ in users):
            raise StackError(f"{place.key} has no sleep policy in the catalogue, so nothing would wake it again.")
        record = records.get(place) or PlaceRecord(place, Phase.AWAKE, now)
        if record.held_by:
            raise StackError(f"{place.key} is held by {record.held_by}.")
        if record.phase is not Phase.AWAKE:
            print(f"{place.key}: {record.phase.value} already")
            continue
        asleep = record.laid_down(control.describe(place), now, "tollgate sleep")
        if not records.write(asleep):
            raise StackError(f"{place.key} is changing right now; try again.")
        for deployment, road in users:
            records.record_state(deployment.resource, road.inference_type, RoadState.ASLEEP, 0)
        print(f"{place.key}: falling asleep")
    return 0


def wake(stack: Stack, arguments: argparse.Namespace) -> int:
    """Ask for those places that sleep to be woken, as a request would."""
    client, function = boto3.client("lambda", region_name=stack.region), stack.outputs["CapacityFunctionName"]
    records = RegistryPlaces(stack.tables, stack.registry)
    for place, _ in _chosen(stack, arguments):
        record = records.get(place)
        if record is not None and record.held_by:
            raise StackError(f"{place.key} is held by {record.held_by}.")
        if record is None:
            print(f"{place.key}: was never put to sleep; 'tollgate endpoints' shows how it stands")
            continue
        if record.phase in {Phase.AWAKE, Phase.WAKING}:
            print(f"{place.key}: {record.phase.value} already")
            continue
        event = json.dumps({"kind": "wake", "place": place.key})
        client.invoke(FunctionName=function, InvocationType="Event", Payload=event.encode())
        print(f"{place.key}: wake requested")
    return 0


def _catalogue(stack: Stack) -> Catalogue:
    return RegistryCatalogue(stack.tables, stack.registry, lambda: 0.0).current()


def _places(stack: Stack) -> dict[Place, Users]:
    return dict(places_of(_catalogue(stack)))


def _chosen(stack: Stack, arguments: argparse.Namespace) -> list[tuple[Place, Users]]:
    catalogue = _catalogue(stack)
    found: list[tuple[Place, Users]] = [
        (place, users)
        for place, users in places_of(catalogue).items()
        if place.kind is not PlaceKind.BATCH
        and any(
            deployment.resource == arguments.deployment and arguments.road in (None, road.inference_type.value)
            for deployment, road in users
        )
    ]
    if not found:
        named = (one.resource for model in catalogue.models.values() for one in model.deployments)
        if arguments.deployment in named:
            # Paid by the token, or without that road.
            raise StackError(
                f"'{arguments.deployment}' has no such endpoint; 'tollgate endpoints' lists what there is."
            )
        raise StackError(f"The catalogue has no '{arguments.deployment}'; write it as MODEL/DEPLOYMENT.")
    return found


def _row(standing: Standing, users: Users, record: PlaceRecord | None) -> dict[str, Any]:
    prices = [road.usd_per_hour for _, road in users if road.usd_per_hour is not None]
    hourly = None if not prices else max(prices) * Decimal(standing.current)
    return {
        "place": standing.place.key,
        "status": standing.status.value,
        "current": standing.current,
        "desired": standing.desired,
        # A component's instances belong to its endpoint, which others may share.
        "usd_per_hour": None if hourly is None or standing.place.kind is PlaceKind.COMPONENT else f"{hourly:.3f}",
        "deployments": [deployment.resource for deployment, _ in users],
        "phase": "" if record is None else record.phase.value,
        "held_by": "" if record is None else record.held_by,
        "reason": _reason(standing, record),
        "next": outlook(standing, shared_policy(deployment.sleep for deployment, _ in users), record),
        "history": []
        if record is None
        else [{"at": f"{t.at:%Y-%m-%d %H:%M:%S}", "phase": t.phase.value, "reason": t.reason} for t in record.history],
    }


def _reason(standing: Standing, record: PlaceRecord | None) -> str:
    if record is not None and record.held_by:
        return f"held by {record.held_by}"
    if record is not None and record.problem:
        return record.problem
    if standing.problem:
        return standing.problem
    return record.history[-1].reason if record is not None and record.history else ""
