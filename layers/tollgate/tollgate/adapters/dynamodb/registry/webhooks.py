"""Webhook secrets in the registry table: pk ``webhook#<tenant>``, sk ``secret``, the current one and an earlier one."""

from collections.abc import Sequence

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient


def _key(tenant: str) -> dict[str, str]:
    return {"pk": f"webhook#{tenant}", "sk": "secret"}


class RegistryWebhookSecrets:
    """The `WebhookSecrets` of AWS; the command line stores them."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def of(self, tenant: str) -> Sequence[str]:
        """See `WebhookSecrets`."""
        with storage_errors("webhook secret"):
            item = self._client.get_item(self._table, _key(tenant)) or {}
        return tuple(str(item[name]) for name in ("secret", "earlier_secret") if item.get(name))

    def store(self, tenant: str, secret: str, *, earlier: str | None = None) -> None:
        """Give a tenant its secret; with `earlier`, calls carry both signatures until the next store.

        Raises:
            StorageError: the registry cannot be written.
        """
        item = {**_key(tenant), "secret": secret}
        if earlier is not None:
            item["earlier_secret"] = earlier
        with storage_errors("webhook secret"):
            self._client.put_item(self._table, item)
