"""Webhooks: who sends them, and with whose secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Only functions of the later roads need these at run time; the gateway must not pay for them.
    from tollgate.domain.jobs.webhooks import WebhookUrl


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What a client's receiver said; `retry_after` in seconds if it asked for that."""

    status: int
    retry_after: int | None = None


class WebhookSender(Protocol):
    """Calls a client's URL, once, and only at an address that was checked."""

    def send(self, url: "WebhookUrl", headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """POST the body. Redirects are answers like any other, they are not followed.

        Raises:
            WebhookRefusedError: none of the host's addresses may be reached.
            WebhookUnreachableError: there was no answer.
        """


class WebhookSecrets(Protocol):
    """Signing secrets by tenant."""

    def of(self, tenant: str) -> Sequence[str]:
        """The tenant's ``whsec_`` secrets, newest first: one, two while it changes over, none if it never got one.

        Raises:
            StorageError: they cannot be read.
        """
