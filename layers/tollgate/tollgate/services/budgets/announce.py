"""Calling the URL that a budget names when one of its thresholds is crossed."""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.budgets.notices import period_of
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.webhooks import Networks
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.webhooks import WebhookSecrets, WebhookSender
from tollgate.services.budgets.signed_notices import SignedNotices

WEBHOOK_TENANT = "tollgate-budgets"
"""Whose secret signs: ``tollgate webhooks secret --tenant tollgate-budgets`` makes one."""


class BudgetWebhooks:
    """Passes the notices of the alarm topic on to the URLs of their budgets.

    The topic is heard at least once and again after a failure, so a call that fails is made again; a receiver tells
    repetitions by `webhook-id`, which is the notice's id.
    """

    def __init__(
        self,
        *,
        sender: WebhookSender,
        secrets: WebhookSecrets,
        catalogues: CatalogueSource,
        telemetry: Telemetry,
        clock: Clock,
        allowed: Networks = (),
    ) -> None:
        self._calls = SignedNotices(sender, secrets, WEBHOOK_TENANT, allowed)
        self._catalogues = catalogues
        self._telemetry = telemetry
        self._clock = clock

    def tell(self, notice: Mapping[str, Any]) -> bool:
        """Call the URL of the budget that a notice is about; False where it names none.

        Raises:
            CatalogueError: there is no catalogue; hear the notice again.
            StorageError: nobody has answered with a 2xx; hear the notice again.
        """
        address = self._address(notice)
        if not address:
            return False
        name = notice.get("id") or f"{notice['counter']}@{notice['at_percent']}"
        reason = self._calls.call(address, notice, name=name, at=self._clock.now())
        if reason:
            self._telemetry.count("BudgetWebhookFailed")
            self._telemetry.log("WARNING", "budget webhook failed", budget=notice["budget"], reason=reason)
            raise StorageError(f"The webhook of the budget '{notice['budget']}' was not told: {reason}.")
        return True

    def _address(self, notice: Mapping[str, Any]) -> str:
        period = period_of(notice["counter"])
        for budget in self._catalogues.current().budgets:
            if budget.scope == notice["budget"] and budget.period == period:
                return budget.webhook_url
        return ""
