"""`tollgate orphans`: what runs for nobody, what it costs a day, and stopping it when told to."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from cli.arguments import add
from cli.prices import price_book
from cli.stack import Stack, StackError
from cli.tables import folding_table, new_console
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.domain.places.orphans import Orphan, OrphanKind, Running, orphans
from tollgate.domain.places.standing import PlaceKind, places_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_TAG = "tollgate:stack"
_JOB_HOURS = 24.0


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(
        commands,
        "orphans",
        "tagged endpoints, transform jobs and notebooks that nobody uses",
        "orphans",
        "orphans --stop tollgate-old-realtime",
    )
    parser.add_argument("--stop", action="append", default=[], metavar="NAME", help="stop this one of those listed")
    parser.set_defaults(run=report)


def report(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print the orphans; exit status 1 if there are any left."""
    client = boto3.client("sagemaker", region_name=stack.region)
    try:
        found = find(stack, client, datetime.now(UTC))
    except (BotoCoreError, ClientError) as error:
        raise StackError(f"SageMaker cannot be asked what runs: {error}") from error
    unknown = set(arguments.stop) - {orphan.running.name for orphan in found}
    if unknown:
        raise StackError(f"Not among the orphans, so not stopped: {', '.join(sorted(unknown))}.")
    if not found:
        print(f"No orphans: a deployment of the catalogue uses each thing with the tag {_TAG}={stack.name} that runs.")
        return 0
    table = folding_table(("kind", "name", "instances", "since", "$/day"), whole={"instances", "since", "$/day"})
    for orphan in found:
        thing = orphan.running
        instances = ", ".join(f"{count} x {name}" for name, count in thing.instances)
        cost = "unknown" if orphan.daily_cost is None else f"{orphan.daily_cost:,.2f}"
        table.add_row(thing.kind, thing.name, instances, f"{thing.since:%Y-%m-%d %H:%M}", cost)
    new_console().print(table)
    known = sum((o.daily_cost for o in found if o.daily_cost is not None), Decimal(0))
    runs = "1 runs" if len(found) == 1 else f"{len(found)} run"
    unknown_price = any(o.daily_cost is None for o in found)
    print(f"{runs} for nobody, ${known:,.2f} a day{' where prices are known' if unknown_price else ''}.")
    for orphan in found:
        if orphan.running.name in arguments.stop:
            stop(client, orphan.running)
            print(f"{orphan.running.name}: stopped")
    return 1 if len(found) > len(arguments.stop) else 0


def find(stack: Stack, client: "SageMakerClient", now: datetime) -> tuple[Orphan, ...]:
    """What carries this stack's tag and has no deployment behind it."""
    catalogue = RegistryCatalogue(stack.tables, stack.registry, lambda: 0.0).current()
    used = {place.name for place in places_of(catalogue) if place.kind is not PlaceKind.COMPONENT}
    used |= {road.target for users in places_of(catalogue).values() for _, road in users}
    book = price_book(stack)
    running = [thing for thing, arn in _running(client) if _is_ours(client, arn, stack.name)]
    types = {name for thing in running for name, _ in thing.instances}
    prices = {name: price.usd for name in types if (price := book.instance_hour(stack.region, name)) is not None}
    return orphans(running, used, prices, now=now, job_hours=_JOB_HOURS)


def stop(client: "SageMakerClient", thing: Running) -> None:
    """Stop it: an endpoint is deleted with its configuration kept, the others can be started again."""
    match thing.kind:
        case OrphanKind.ENDPOINT:
            client.delete_endpoint(EndpointName=thing.name)
        case OrphanKind.TRANSFORM_JOB:
            client.stop_transform_job(TransformJobName=thing.name)
        case OrphanKind.NOTEBOOK:
            client.stop_notebook_instance(NotebookInstanceName=thing.name)


def _is_ours(client: "SageMakerClient", arn: str, stack: str) -> bool:
    pages = client.get_paginator("list_tags").paginate(ResourceArn=arn)
    return any(tag["Key"] == _TAG and tag["Value"] == stack for page in pages for tag in page["Tags"])


def _running(client: "SageMakerClient") -> Iterator[tuple[Running, str]]:
    yield from _endpoints(client)
    for page in client.get_paginator("list_transform_jobs").paginate(StatusEquals="InProgress"):
        for job in page["TransformJobSummaries"]:
            name = job["TransformJobName"]
            resources = client.describe_transform_job(TransformJobName=name)["TransformResources"]
            used = ((str(resources["InstanceType"]), resources["InstanceCount"]),)
            yield Running(OrphanKind.TRANSFORM_JOB, name, used, job["CreationTime"]), job["TransformJobArn"]
    for books in client.get_paginator("list_notebook_instances").paginate(StatusEquals="InService"):
        for book in books["NotebookInstances"]:
            instance_type = str(book.get("InstanceType", ""))
            instances = ((instance_type, 1),) if instance_type else ()
            thing = Running(OrphanKind.NOTEBOOK, book["NotebookInstanceName"], instances, book["CreationTime"])
            yield thing, book["NotebookInstanceArn"]


def _endpoints(client: "SageMakerClient") -> Iterator[tuple[Running, str]]:
    for page in client.get_paginator("list_endpoints").paginate(StatusEquals="InService"):
        for endpoint in page["Endpoints"]:
            found = client.describe_endpoint(EndpointName=endpoint["EndpointName"])
            counts = {v["VariantName"]: v.get("CurrentInstanceCount", 0) for v in found.get("ProductionVariants", ())}
            config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
            instances = tuple(
                (str(variant["InstanceType"]), counts.get(variant["VariantName"], 0))
                for variant in config["ProductionVariants"]
                if "InstanceType" in variant
            )
            thing = Running(OrphanKind.ENDPOINT, endpoint["EndpointName"], instances, endpoint["CreationTime"])
            yield thing, endpoint["EndpointArn"]
