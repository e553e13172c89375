"""SageMaker's success and error topics -> jobs."""

from functools import cache
from typing import Any

from tollgate.api.sagemaker_events import async_notices
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.settings import AsyncSettings
from tollgate.wiring.completion import async_completion
from tollgate.wiring.jobs import AsyncParts


class AsyncCompletionSettings(AsyncSettings):
    """Settings of this function."""

    webhook_queue_url: str
    refresh_function: str = ""


def build(settings: AsyncCompletionSettings) -> AsyncCompletion:
    """Wire the service; nothing is connected before the first notice."""
    parts = AsyncParts(
        settings, webhook_queue_url=settings.webhook_queue_url, refresh_function=settings.refresh_function
    )
    return async_completion(parts, settings, parts.async_queue)


def handle(event: dict[str, Any], service: AsyncCompletion) -> None:
    """The notices of one event; an error brings the whole event back."""
    for notice in async_notices(event):
        service.notice(notice)


@cache
def _service() -> AsyncCompletion:
    return build(AsyncCompletionSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
