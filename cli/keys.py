"""`tollgate keys`: API keys. The secret is shown once; only its hash is stored."""

import argparse
import secrets
import sys
from datetime import UTC, datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError

from cli.arguments import add, natural
from cli.key_list import hash_of, list_keys
from cli.stack import Stack, StackError
from cli.webhooks import check_name, ensure_secret
from tollgate.adapters.dynamodb.registry.keys import RegistryKeys, key_hash
from tollgate.adapters.system import TimeSortedIds
from tollgate.domain.keys import KeyRecord

SCOPES = ("infer", "read", "cancel", "admin")
_DEFAULT_SCOPES = "infer,read,cancel"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "keys", "create, list and disable API keys")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = add(
        actions,
        "create",
        "create a key and print its secret, once",
        "keys create --tenant acme --team search",
        "keys create --tenant acme --scopes read --expires-days 30",
    )
    create.add_argument("--tenant", required=True, help="who owns what the key makes; keys of one tenant share jobs")
    create.add_argument("--team", default="", help="for budgets and cost reports")
    create.add_argument(
        "--scopes", default=_DEFAULT_SCOPES, help=f"comma list of {', '.join(SCOPES)} (default: {_DEFAULT_SCOPES})"
    )
    create.add_argument(
        "--expires-days", type=natural, help="the key stops working after so many days (default: never)"
    )
    create.set_defaults(run=create_key)
    listing = add(
        actions,
        "list",
        "who has a key, what for, and which budgets count it",
        "keys list",
        "keys list --tenant acme --json",
    )
    listing.add_argument("--tenant", help="only this tenant's")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=list_keys)
    disable = add(
        actions,
        "disable",
        "disable a key for good; takes up to a minute to reach every function",
        "keys disable key_0199f0c2a5d04b7c9d3e0123456789ab",
        "keys disable tg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
    )
    disable.add_argument(
        "key",
        metavar="KEY",
        help="its id, as 'tollgate keys list' shows it; or the secret, or its SHA-256 in hexadecimal",
    )
    disable.set_defaults(run=disable_key)


def create_key(stack: Stack, arguments: argparse.Namespace) -> int:
    """Create a key, give it to the usage plan, and print the secret.

    Raises:
        StackError: unknown scope, a name that budgets could not tell apart, or AWS refused.
    """
    check_name("--tenant", arguments.tenant)
    check_name("--team", arguments.team or "none")
    scopes = frozenset(scope.strip() for scope in arguments.scopes.split(",") if scope.strip())
    unknown = scopes - set(SCOPES)
    if unknown or not scopes:
        raise StackError(f"Unknown scopes: {', '.join(sorted(unknown)) or 'none given'}. Known: {', '.join(SCOPES)}.")
    secret = f"tg_{secrets.token_urlsafe(32)}"
    hashed = key_hash(secret)
    now = datetime.now(UTC)
    record = KeyRecord(
        key_id=TimeSortedIds().new("key"),
        tenant=arguments.tenant,
        team=arguments.team,
        scopes=scopes,
        created_at=now,
        expires_at=None if arguments.expires_days is None else now + timedelta(days=arguments.expires_days),
    )
    RegistryKeys(stack.tables, stack.registry).store(hashed, record)
    ensure_secret(stack, arguments.tenant)
    try:
        plan_key = stack.apigateway.create_api_key(
            name=f"{stack.name}-{record.key_id}", value=hashed, enabled=True, tags={"tollgate:stack": stack.name}
        )
        stack.apigateway.create_usage_plan_key(
            usagePlanId=stack.outputs["UsagePlanId"], keyId=plan_key["id"], keyType="API_KEY"
        )
    except (ClientError, BotoCoreError) as error:
        raise StackError(f"The key could not join the usage plan: {error}") from error
    print(secret)
    # Not on the standard output, which scripts read the secret from.
    print(f"{record.key_id} is the id of this key, for budgets and logs.", file=sys.stderr)
    return 0


def disable_key(stack: Stack, arguments: argparse.Namespace) -> int:
    """Disable a key for good.

    Raises:
        StackError: there is no such key.
    """
    given = arguments.key
    hashed = key_hash(given) if given.startswith("tg_") else given
    if given.startswith("key_"):
        hashed = hash_of(stack, given) or given
    keys = RegistryKeys(stack.tables, stack.registry)
    record = keys.find(hashed)
    if record is None:
        raise StackError("There is no such key. Give its id (key_...), the secret (tg_...) or its SHA-256.")
    keys.store(hashed, record._replace(disabled=True))
    print(f"{record.key_id} is disabled.")
    return 0
