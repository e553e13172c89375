"""`tollgate rightsize`: do the instances fit their work? A table, a plot, and why."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal

import boto3

from cli.arguments import add
from cli.stack import Stack
from cli.tables import folding_table, new_console
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.prices import RegistryPrices
from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations
from tollgate.adapters.metering.cloudwatch_usage import CloudWatchUsage
from tollgate.adapters.metering.instance_prices import instance_prices
from tollgate.adapters.sagemaker.control import SageMakerControl
from tollgate.adapters.system import SystemClock
from tollgate.api.telemetry import Telemetry
from tollgate.domain.places.advice_report import advice_document
from tollgate.domain.places.rightsizing import Advice, MeasuredUse, Resource
from tollgate.services.places.rightsize import RightSizing

_BARS = " ▁▂▃▄▅▆▇█"
_PLOT_WIDTH = 56


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "rightsize", "do the endpoints' instances fit their last seven days?", "rightsize --json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=rightsize)


def rightsize(stack: Stack, arguments: argparse.Namespace) -> int:
    """Do now what the schedule does once a day, and print it."""
    fit = sizing(stack).run()
    show(fit.usages, fit.advices, as_json=arguments.json)
    return 0


def sizing(stack: Stack) -> RightSizing:
    """The service of the capacity function, with this command's clients."""
    return RightSizing(
        catalogues=RegistryCatalogue(stack.tables, stack.registry, lambda: 0.0),
        control=SageMakerControl(),
        metrics=CloudWatchUsage(lambda: boto3.client("cloudwatch", region_name=stack.region)),
        prices=lambda: instance_prices(RegistryPrices(stack.tables, stack.registry), stack.region),
        reports=RegistryRecommendations(stack.tables, stack.registry),
        telemetry=Telemetry(
            namespace="Tollgate", service="tollgate", level="WARNING", write=lambda line: print(line, file=sys.stderr)
        ),
        clock=SystemClock(),
    )


def show(usages: Sequence[MeasuredUse], advices: Sequence[Advice], *, as_json: bool) -> None:
    """Print the advice and, for people, the week behind it."""
    if as_json:
        print(json.dumps([advice_document(advice) for advice in advices], indent=2))
        return
    if not advices:
        print("No endpoint of the catalogue has an instance to give advice on.")
        return
    headings = ("endpoint", "now", "advice", "to", "saves $/month")
    table = folding_table(headings, whole=headings[1:])
    for advice in advices:
        saved = "" if advice.monthly_saving is None else f"{advice.monthly_saving:,.2f}"
        table.add_row(advice.endpoint, advice.instance_type, advice.verdict, advice.to or "", saved)
    console = new_console()
    console.print(table)
    for reason, endpoints in _reasons(advices).items():
        console.print(f"{', '.join(endpoints)}: {reason}", highlight=False)
    total = sum((a.monthly_saving for a in advices if a.monthly_saving is not None), Decimal(0))
    if total:
        console.print(f"All of it together saves ${total:,.2f} a month.")
    for usage in usages:
        for resource in (Resource.GPU, Resource.CPU):
            if usage.hourly.get(resource):
                mean = usage.mean(resource)
                console.print(f"{usage.endpoint} {resource:<4}{plot(usage.hourly[resource])} mean {mean:.0f} %")


def _reasons(advices: Sequence[Advice]) -> Mapping[str, Sequence[str]]:
    """The endpoints by the rule that decided, and what the advice would break: often the same for many."""
    found: dict[str, list[str]] = {}
    for advice in advices:
        reason = f"{advice.rule}; would break: {advice.breaks}" if advice.breaks else advice.rule
        found.setdefault(reason, []).append(advice.endpoint)
    return found


def plot(percents: Sequence[float]) -> str:
    """A week as a line of bars from 0 to 100 %, each the mean of some hours."""
    step = max(1, -(-len(percents) // _PLOT_WIDTH))
    means = [
        sum(part) / len(part) for start in range(0, len(percents), step) if (part := percents[start : start + step])
    ]
    return "".join(_BARS[min(len(_BARS) - 1, round(max(0.0, m) / 100 * (len(_BARS) - 1)))] for m in means)
