"""`tollgate webhooks`: the secrets with which calls to clients' URLs are signed."""

import argparse
import re
import secrets

from cli.arguments import add
from cli.stack import Stack, StackError
from tollgate.adapters.dynamodb.registry.webhooks import RegistryWebhookSecrets
from tollgate.domain.jobs.webhooks import secret_text

_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Of tenants and teams: what a budget can name, and nothing that separates the parts of a counter's name."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = add(commands, "webhooks", "signing secrets of tenants")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    secret = add(
        actions,
        "secret",
        "print a tenant's secret; makes one for a tenant that has none",
        "webhooks secret --tenant acme",
        "webhooks secret --tenant acme --rotate",
    )
    secret.add_argument("--tenant", required=True, help="the tenant of the API keys whose jobs call webhooks")
    secret.add_argument(
        "--rotate", action="store_true", help="make a new one; calls carry both signatures until --finish"
    )
    secret.add_argument("--finish", action="store_true", help="stop signing with the earlier secret")
    secret.set_defaults(run=tenant_secret)


def check_name(option: str, name: str) -> None:
    """See that a tenant or team can be called so.

    Raises:
        StackError: naming the option.
    """
    if _NAME.fullmatch(name) is None:
        raise StackError(f"{option} must be 1 to 128 of A-Z a-z 0-9 . _ -")


def ensure_secret(stack: Stack, tenant: str) -> None:
    """Make a secret for a tenant that has none, so that its webhooks can be signed from the first one on."""
    store = RegistryWebhookSecrets(stack.tables, stack.registry)
    if not store.of(tenant):
        store.store(tenant, secret_text(secrets.token_bytes(_KEY_BYTES)))


def tenant_secret(stack: Stack, arguments: argparse.Namespace) -> int:
    """Print the secret that receivers of this tenant should check with, making, changing or settling it as asked.

    Raises:
        StackError: no tenant can have such a name.
    """
    check_name("--tenant", arguments.tenant)
    store = RegistryWebhookSecrets(stack.tables, stack.registry)
    known = store.of(arguments.tenant)
    if not known or arguments.rotate:
        new = secret_text(secrets.token_bytes(_KEY_BYTES))
        store.store(arguments.tenant, new, earlier=known[0] if known else None)
        print(new)
        return 0
    if arguments.finish:
        store.store(arguments.tenant, known[0])
    print(known[0])
    return 0
