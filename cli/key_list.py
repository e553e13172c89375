"""`tollgate keys list`: who has a key. Neither the keys nor their hashes are shown.

API Gateway knows which keys a stack has, by name and a page at a time; the registry alone could only be read from end
to end, with every version of the catalogue in between.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.stack import Stack, StackError
from cli.tables import counted, folding_table, new_console
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind, Spender, applied_budgets
from tollgate.domain.errors import NoCatalogueError
from tollgate.domain.keys import KeyRecord

_PAGE = 100
"""Keys that the registry is asked for at once: as many as one call of DynamoDB takes."""


def list_keys(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print the keys of the stack, in the order of their making."""
    now, budgets = datetime.now(UTC), _budgets(stack)
    rows = [
        _row(record, budgets, now)
        for record in sorted(_records(stack), key=lambda record: record.created_at)
        if arguments.tenant in (None, record.tenant)
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        owner = "" if arguments.tenant is None else f" of tenant '{arguments.tenant}'"
        print(f"There are no keys{owner}. Make one with: tollgate keys create --tenant NAME")
        return 0
    # In their order of making, without its time: for that there is no room beside the budgets.
    headings = [name for name in rows[0] if name != "created" and any(row[name] for row in rows)]
    table = folding_table(headings, whole={"id"})
    for row in rows:
        cells = (row[name] for name in headings)
        table.add_row(*("\n".join(cell) if isinstance(cell, list) else cell for cell in cells))
    new_console().print(table)
    return 0


def hash_of(stack: Stack, key_id: str) -> str | None:
    """The hash under which the key with this id is stored; None if the stack has no such key.

    Raises:
        StackError: API Gateway cannot be asked.
    """
    return next((hashed for name, hashed in _named(stack, key_id) if name == key_id), None)


def _records(stack: Stack) -> Iterator[KeyRecord]:
    registry = RegistryKeys(stack.tables, stack.registry)
    page: list[str] = []
    for _, hashed in _named(stack, "key_"):
        page.append(hashed)
        if len(page) == _PAGE:
            yield from registry.find_all(page)
            page = []
    if page:
        yield from registry.find_all(page)


def _named(stack: Stack, start: str) -> Iterator[tuple[str, str]]:
    """Ids that begin so, with the hashes that are their values in API Gateway."""
    prefix = f"{stack.name}-"
    try:
        pages = stack.apigateway.get_paginator("get_api_keys").paginate(nameQuery=prefix + start, includeValues=True)
        for page in pages:
            for key in page["items"]:
                yield key["name"].removeprefix(prefix), key["value"]
    except (ClientError, BotoCoreError) as error:
        raise StackError(f"API Gateway's keys cannot be listed: {error}") from error


def _budgets(stack: Stack) -> Sequence[Budget]:
    try:
        return RegistryCatalogue(stack.tables, stack.registry, lambda: 0.0).current().budgets
    except NoCatalogueError:
        # Keys may be made before there is a catalogue.
        return ()


def _row(record: KeyRecord, budgets: Sequence[Budget], now: datetime) -> dict[str, Any]:
    spender = Spender(record.tenant, record.key_id, record.team, model="")
    own = [entry.budget for entry in applied_budgets(budgets, spender, now)]
    return {
        "id": record.key_id,
        "tenant": record.tenant,
        "team": record.team,
        "scopes": " ".join(sorted(record.scopes)),
        "created": f"{record.created_at:%Y-%m-%d %H:%M}",
        "state": _state(record, now),
        "budgets": [_limits(budget, now) for budget in own if budget.kind in {ScopeKind.KEY, ScopeKind.TEAM}],
    }


def _state(record: KeyRecord, now: datetime) -> str:
    if record.disabled:
        return "disabled"
    if record.expires_at is None:
        return "active"
    return f"{'expired' if record.expires_at <= now else 'until'} {record.expires_at:%Y-%m-%d %H:%M}"


def _limits(budget: Budget, now: datetime) -> str:
    limit = budget.limit_at(now)
    parts = [f"${limit:f}"] if limit is not None else []
    if budget.max_calls is not None:
        parts.append(counted(budget.max_calls, "call"))
    period = "in total" if budget.period is BudgetPeriod.TOTAL else f"a {budget.period.value}"
    return f"{budget.kind.value}: {', '.join(parts)} {period}{' (shadow)' if budget.shadow else ''}"
