"""`tollgate models`: the catalogue, as numbered versions."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli import variants
from cli.arguments import add, natural
from cli.prices import price_book, price_origins
from cli.stack import Stack, StackError
from cli.tables import folding_table, new_console
from tollgate.adapters.documents.catalogue import catalogue_document, catalogue_from_document
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.catalogue import Catalogue, Road
from tollgate.domain.costs.price_book import PriceBook


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "models", "apply, show, compare and roll back the catalogue")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("apply", "check the file and put it in force as a new version"),
        ("diff", "say what apply would change; exit status 1 if anything"),
    ):
        action = add(actions, name, text, f"models {name} models.toml")
        action.add_argument("file", type=Path, help="the catalogue, such as models.toml")
        action.add_argument("--overlay", type=Path, help="a file of the same shape whose values win")
        action.set_defaults(run=apply if name == "apply" else diff)
    variants.add_actions(actions)
    add(actions, "show", "print the catalogue in force", "models show").set_defaults(run=show)
    rollback = add(actions, "rollback", "put an earlier version in force again", "models rollback", "models rollback 3")
    rollback.add_argument("version", type=natural, nargs="?", help="the one before the one in force, if left out")
    rollback.set_defaults(run=roll_back)


def apply(stack: Stack, arguments: argparse.Namespace) -> int:
    """Store the file as a new version and put it in force; nothing happens if nothing changed."""
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    current = writer.current_version()
    book = price_book(stack)
    catalogue = _read(stack, arguments, writer.newest_version() + 1, book)
    changes = _changes(writer, current, catalogue)
    if not changes:
        writer.ensure_seal()
        print(f"Version {current} is in force and says the same; nothing to apply.")
        return 0
    writer.store(catalogue, now=datetime.now(UTC))
    writer.point_to(catalogue.version, expected=current)
    print(f"Version {catalogue.version} is in force: {', '.join(sorted(catalogue.models))}.")
    print("\n".join(price_origins(catalogue, book)))
    return 0


def diff(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print what apply would change, one line a value; exit status 1 if there is anything."""
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    current = writer.current_version()
    changes = _changes(writer, current, _read(stack, arguments, current + 1, price_book(stack)))
    print("\n".join(changes) if changes else "Nothing would change.")
    return 1 if changes else 0


def show(stack: Stack, _arguments: argparse.Namespace) -> int:
    """Print the models in force with their roads and prices.

    Raises:
        StackError: no catalogue was applied yet.
    """
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    document = writer.document(writer.current_version())
    if document is None:
        raise StackError("No catalogue was applied yet. Run: tollgate models apply models.toml")
    catalogue = catalogue_from_document(document)
    title = f"Catalogue version {catalogue.version}, {catalogue.region}"
    headings = ("deployment", "road", "target", "served by", "USD/hour")
    console, table = new_console(), folding_table(headings, title=title, whole={"road", "served by"})
    for model in catalogue.models.values():
        for deployment in model.deployments:
            for number, road in enumerate(deployment.roads.values()):
                # In a pipe each line speaks for itself.
                name = "" if number and console.is_terminal else deployment.resource
                table.add_row(name, road.inference_type.value, road.target, *_price(road))
    console.print(table)
    if any(road.tokens for model in catalogue.models.values() for d in model.deployments for road in d.roads.values()):
        print("in, out: US dollars a million tokens.")
    return 0


def _price(road: Road) -> tuple[str, str]:
    """What serves a road, and its price."""
    if road.tokens is None:
        return road.instance_type, "unknown" if road.usd_per_hour is None else str(road.usd_per_hour)
    rates = road.tokens.rates
    return road.tokens.provider.value, f"{rates.input} in\n{rates.output} out"


def roll_back(stack: Stack, arguments: argparse.Namespace) -> int:
    """Put an earlier version in force again.

    Raises:
        StackError: there is no such version.
    """
    writer = RegistryCatalogueWriter(stack.tables, stack.registry)
    current = writer.current_version()
    version = writer.previous_version() if arguments.version is None else arguments.version
    if arguments.version is None and not version:
        raise StackError("There is no earlier catalogue version to go back to.")
    if version == current:
        # Written once more, it would become its own earlier version.
        print(f"Version {version} is in force already.")
        return 0
    if writer.document(version) is None:
        raise StackError(f"There is no catalogue version {version}.")
    writer.point_to(version, expected=current)
    print(f"Version {version} is in force.")
    return 0


def _read(stack: Stack, arguments: argparse.Namespace, version: int, book: PriceBook) -> Catalogue:
    try:
        text = arguments.file.read_text("utf-8")
        overlay = arguments.overlay.read_text("utf-8") if arguments.overlay else None
    except (OSError, UnicodeDecodeError) as error:
        raise StackError(f"The catalogue file cannot be read: {error}") from error
    return read_catalogue(
        text, book, region=stack.region, architecture=stack.architecture, version=version, overlay=overlay
    )


def _changes(writer: RegistryCatalogueWriter, current: int, catalogue: Catalogue) -> list[str]:
    """What differs, a line each: a model that comes or goes as a whole, else every value."""
    before = _named(writer.document(current) or {})
    after = _named(json.loads(json.dumps(catalogue_document(catalogue))))
    had, has = before.get("models", {}), after["models"]
    whole = [f"models.{name}: {'removed' if name in had else 'new'}" for name in sorted(had.keys() ^ has.keys())]
    both = had.keys() & has.keys()
    earlier = _flat(before | {"models": {name: had[name] for name in both}})
    later = _flat(after | {"models": {name: has[name] for name in both}})
    names = sorted((earlier.keys() | later.keys()) - {"version"})
    return whole + [
        f"{name}: {_shown(earlier.get(name))} -> {_shown(later.get(name))}"
        for name in names
        if _shown(earlier.get(name)) != _shown(later.get(name))
    ]


def _named(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with budgets by scope and period, so that one that comes first does not change all others."""
    budgets = document.get("budgets", ())
    return {**document, "budgets": {f"{_scope(entry)} {entry['period']}": entry for entry in budgets}}


def _scope(budget: Mapping[str, Any]) -> str:
    return f"{budget['kind']}:{budget['subject']}" if budget["subject"] else budget["kind"]


def _shown(value: Any) -> str:
    """A value; `-` where there is none, as in what older versions stored."""
    if value is None or value == "":
        return "-"
    return json.dumps(value) if isinstance(value, list) else str(value)


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(document, list) and any(isinstance(item, dict) for item in document):
        return _flat({str(item.get("name", i)): item for i, item in enumerate(document)}, prefix)
    if not isinstance(document, dict):
        return {prefix: document}
    flat: dict[str, Any] = {}
    for key, value in document.items():
        flat.update(_flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat
