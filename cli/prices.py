"""`tollgate prices`: the price book, and the changes that wait for a person."""

import argparse
from collections.abc import Mapping
from typing import Any

import boto3

from cli.arguments import add
from cli.stack import Stack
from cli.tables import counted, folding_table, new_console
from tollgate.adapters.dynamodb.registry.prices import RegistryPrices
from tollgate.adapters.metering.price_list_api import ENDPOINT_REGION, PriceListApi, PricingClient
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.adapters.system import SystemClock
from tollgate.api.telemetry import Telemetry
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.costs.price_refresh import PENDING_VERDICTS, PriceFinding, PriceRecord, PriceVerdict
from tollgate.services.usage.refresh_prices import PriceRefresh


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "prices", "show, refresh and accept list prices")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = add(actions, "show", "print the prices in force with date and source, and what is pending", "prices show")
    refresh = add(actions, "refresh", "compare with the price list of AWS now", "prices refresh")
    accept = add(
        actions,
        "accept",
        "put pending prices in force for the next 'models apply'",
        "prices accept ml.g5.xlarge",
        "prices accept --all",
    )
    chosen = accept.add_mutually_exclusive_group(required=True)
    chosen.add_argument("names", nargs="*", default=[], metavar="NAME", help="instance types or gateway parts")
    chosen.add_argument("--all", action="store_true", help="everything that is pending")
    for action, run in ((show, show_prices), (refresh, refresh_prices), (accept, accept_prices)):
        action.add_argument("--region", help="region of the prices; the stack's own if not given")
        action.set_defaults(run=run)


def show_prices(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print every price of the region; exit status 1 if anything is pending."""
    region = arguments.region or stack.region
    records = RegistryPrices(stack.tables, stack.registry).records(region)
    prices = _with_registry(snapshot_book(), region, records).of_region(region)
    headings = ("name", "USD", "date", "source", "pending")
    table = folding_table(headings, title=f"Prices in {region}", whole={"USD", "date"})
    for name in sorted(prices.keys() | records.keys()):
        price = prices.get(name)
        shown = ("none", "", "") if price is None else (format(price.usd, "f"), price.date, price.source)
        table.add_row(name, *shown, _pending(records.get(name)))
    new_console().print(table)
    waiting = [name for name, record in records.items() if record.pending is not None]
    if waiting:
        print(f"{len(waiting)} pending. Accept with: tollgate prices accept NAME")
    return 1 if waiting else 0


def refresh_prices(stack: Stack, arguments: argparse.Namespace) -> int:
    """Do what the schedule does, and print the changes; exit status 1 if any of them is pending."""
    findings = _service(stack).refresh(arguments.region or stack.region)
    changed = [finding for finding in findings if finding.verdict is not PriceVerdict.SAME]
    for finding in changed:
        print(_line(finding))
    print(f"{counted(len(findings), 'price')} compared, {len(changed)} changed.")
    return 1 if any(finding.verdict in PENDING_VERDICTS for finding in findings) else 0


def accept_prices(stack: Stack, arguments: argparse.Namespace) -> int:
    """Accept pending prices; they count from the next `models apply` on."""
    region = arguments.region or stack.region
    accepted = _service(stack).accept(region, [] if arguments.all else arguments.names)
    print(
        f"Accepted: {', '.join(accepted)}. Run 'tollgate models apply' to charge them."
        if accepted
        else "Nothing is pending."
    )
    return 0


def price_book(stack: Stack) -> PriceBook:
    """The snapshot with the registry's prices over it where those are newer, for every region of the snapshot."""
    book = snapshot_book()
    store = RegistryPrices(stack.tables, stack.registry)
    regions = {region for region, _ in (*book.instances, *book.parts)} | {stack.region}
    for region in sorted(regions):
        book = _with_registry(book, region, store.records(region))
    return book


def price_origins(catalogue: Catalogue, book: PriceBook) -> list[str]:
    """One line per instance type of a catalogue: what an hour costs, since when, and who says so."""
    kinds = {
        road.instance_type: road.usd_per_hour
        for model in catalogue.models.values()
        for deployment in model.deployments
        for road in deployment.roads.values()
        if road.tokens is None
    }
    lines = []
    for kind, usd_per_hour in sorted(kinds.items()):
        listed = book.instance_hour(catalogue.region, kind)
        if usd_per_hour is None:
            lines.append(f"{kind}: no price, the ceiling is charged")
        elif listed is None or listed.usd != usd_per_hour:
            lines.append(f"{kind}: {usd_per_hour} USD/hour from the catalogue file")
        else:
            lines.append(f"{kind}: {usd_per_hour} USD/hour, {listed.date}, {listed.source}")
    return lines


def _with_registry(book: PriceBook, region: str, records: Mapping[str, PriceRecord]) -> PriceBook:
    return book.updated(region, {name: record.price for name, record in records.items()})


def _service(stack: Stack) -> PriceRefresh:
    def pricing() -> PricingClient:
        client: Any = boto3.session.Session().client("pricing", region_name=ENDPOINT_REGION)
        found: PricingClient = client
        return found

    return PriceRefresh(
        prices=PriceListApi(pricing),
        store=RegistryPrices(stack.tables, stack.registry),
        snapshot=snapshot_book(),
        # The command prints its own lines; the metric belongs to the function.
        telemetry=Telemetry(namespace="Tollgate", service="tollgate", write=lambda _line: None),
        clock=SystemClock(),
    )


def _line(finding: PriceFinding) -> str:
    before = "-" if finding.before is None else format(finding.before, "f")
    after = "-" if finding.after is None else format(finding.after, "f")
    return f"{finding.name}: {before} -> {after} ({finding.verdict.value}, {finding.jump_percent:.1f} %)"


def _pending(record: PriceRecord | None) -> str:
    if record is None or record.pending is None:
        return ""
    usd = "vanished" if record.pending.usd is None else format(record.pending.usd, "f")
    return f"{usd} ({record.pending.date}, {record.pending.source})"
