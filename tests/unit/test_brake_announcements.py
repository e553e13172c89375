"""Who is told that the brakes have changed: the topic always, the webhook as the catalogue says."""

from collections.abc import Mapping
from copy import replace
from typing import Any

import pytest

from tests.fakes.backends import FixedCatalogue
from tests.fakes.braked_stack import POLICY
from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.webhooks import InMemoryWebhookSecrets, ScriptedSender
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import CatalogueError, StorageError, TollgateError, WebhookUnreachableError
from tollgate.domain.jobs.webhooks import secret_text
from tollgate.services.brakes.announce import WEBHOOK_TENANT, BrakeAnnouncer

NOTICE = {"event": "brake.raised", "level": "stop", "before": "none", "revision": 7}


class Desk:
    """An announcer and whom it tells."""

    def __init__(self, sender: ScriptedSender | None = None) -> None:
        self.told: list[str] = []
        self.sender, self.secrets = sender or ScriptedSender(), InMemoryWebhookSecrets()
        self.secrets.store(WEBHOOK_TENANT, secret_text(b"s" * 24))
        policy = replace(POLICY, webhook_url="https://ops.example.com/brakes")
        self.catalogues = FixedCatalogue(replace(make_catalogue(), brakes=policy))
        self.telemetry = RecordingTelemetry()
        self._announcer = BrakeAnnouncer(
            topic=self, sender=self.sender, secrets=self.secrets, catalogues=self.catalogues, telemetry=self.telemetry
        )

    def publish(self, subject: str, message: Mapping[str, Any]) -> None:
        """See `NoticeTopic`."""
        assert message == NOTICE
        self.told.append(subject)

    def announce(self) -> None:
        self._announcer.announce(NOTICE, at=ManualClock().now())


def test_the_topic_and_the_webhook_are_told() -> None:
    """Once each, under the revision's name."""
    desk = Desk()
    desk.announce()
    assert desk.told == ["Tollgate brake.raised: stop (was none)"]
    ((_, headers, _),) = desk.sender.calls
    assert headers["webhook-id"] == "brake_7"


def test_a_webhook_that_fails_is_tried_three_times_and_counted() -> None:
    """Nobody waits for it longer."""
    desk = Desk(ScriptedSender(WebhookUnreachableError("x")))
    desk.announce()
    assert len(desk.sender.calls) == 3
    assert desk.telemetry.counts == {"BrakeWebhookFailed": 1}


@pytest.mark.parametrize("error", [CatalogueError("none"), StorageError("throttled")])
def test_a_catalogue_that_cannot_be_read_skips_no_webhook_in_silence(error: TollgateError) -> None:
    """Only it says whom to call: a line and the metric of failed calls say that nobody was."""
    desk = Desk()

    def current() -> Catalogue:
        raise error

    desk.catalogues.current = current  # type: ignore[method-assign]  # see above
    desk.announce()
    assert len(desk.told) == 1
    assert not desk.sender.calls
    assert desk.telemetry.counts == {"BrakeWebhookFailed": 1}
    assert [message for _, message, _ in desk.telemetry.lines] == ["brake webhook unknown"]
