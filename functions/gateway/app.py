"""POST /v1/inferences, POST /v1/route, GET /v1/models, and OpenAI's chat, completions and embeddings."""

from functools import cache, partial
from typing import Any

from tollgate.api.gateway_routes import GatewayApi, RoutesOnDemand
from tollgate.api.http import read_call
from tollgate.settings import ServingSettings
from tollgate.wiring.gateway import GatewayParts


class GatewaySettings(ServingSettings):
    """Settings of this function."""

    webhook_allowed_cidrs: str = ""


def _check_webhook(allowed: str, url: str) -> None:
    # Few requests bring a webhook; the others must not pay for importing the address tables.
    from tollgate.domain.jobs.webhooks import check_webhook_url, parse_networks  # noqa: PLC0415 -- see above

    check_webhook_url(url, parse_networks(allowed))


def build(settings: GatewaySettings) -> GatewayApi:
    """Wire the service; nothing is connected before the first call."""
    parts = GatewayParts(settings)
    parts.transport.prepare()

    @cache
    def openai() -> RoutesOnDemand:
        # The models of OpenAI's bodies take a while to build, and only some callers need them.
        from tollgate.api.openai.routes import OpenAIApi  # noqa: PLC0415 -- see above

        return OpenAIApi(inference=parts.inference, idempotency=parts.idempotency, waiter=parts.waiter)

    @cache
    def feedback() -> RoutesOnDemand:
        from tollgate.api.feedback_routes import FeedbackApi  # noqa: PLC0415 -- few calls bring feedback
        from tollgate.services.requests.feedback import FeedbackService  # noqa: PLC0415 -- as above

        return FeedbackApi(FeedbackService(catalogues=parts.catalogues, feedback=parts.outcomes, jobs=parts.jobs))

    return parts.gateway_api(
        openai=openai, feedback=feedback, check_webhook=partial(_check_webhook, settings.webhook_allowed_cidrs)
    )


def handle(event: dict[str, Any], service: GatewayApi) -> dict[str, Any]:
    """One API call."""
    return service.respond(read_call(event)).to_event()


@cache
def _service() -> GatewayApi:
    return build(GatewaySettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())


# Lambda imports the module by this name, and gives it more CPU now than for the first request.
if __name__ == "app":
    _service()
