"""Queue of asynchronous jobs -> InvokeEndpointAsync."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tollgate.api.message_fields import text_field
from tollgate.api.queue_events import named_in, process_messages
from tollgate.services.jobs.submit_together import GroupSubmitter
from tollgate.settings import AsyncSettings
from tollgate.wiring.jobs import AsyncParts
from tollgate.wiring.submission import group_submitter


class AsyncSubmitSettings(AsyncSettings):
    """Settings of this function."""

    deferred_queue_url: str


def build(settings: AsyncSubmitSettings) -> GroupSubmitter:
    """Wire the service; nothing is connected before the first message."""
    parts = AsyncParts(settings)
    return group_submitter(parts, settings, parts.queue(settings.deferred_queue_url))


def handle(event: dict[str, Any], service: GroupSubmitter) -> dict[str, Any]:
    """One batch of messages: all are looked at together, then each is done with or comes back by itself."""
    failures = service.submit_all(named_in(event, "job_id"))

    def ended(message: Mapping[str, Any]) -> None:
        failure = failures.get(text_field(message, "job_id"))
        if failure is not None:
            raise failure

    return process_messages(event, ended, service.telemetry)


@cache
def _service() -> GroupSubmitter:
    return build(AsyncSubmitSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
