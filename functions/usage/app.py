"""GET /v1/budgets, /v1/usage, /v1/workflows/{id}, /v1/recommendations, /v1/control."""

from functools import cache
from typing import TYPE_CHECKING, Any

from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
from tollgate.adapters.dynamodb.registry.recommendations import RegistryRecommendations
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.api.http import read_call
from tollgate.api.usage_routes import UsageApi
from tollgate.services.budgets.queries import BudgetQueries
from tollgate.services.usage.queries import UsageQueries
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts

if TYPE_CHECKING:
    from tollgate.services.brakes.queries import BrakeQueries


class UsageSettings(Settings):
    """Settings of this function."""

    table_ledger: str
    table_registry: str


def build(settings: UsageSettings) -> UsageApi:
    """Wire the service; nothing is connected before the first call."""
    parts = Parts(settings)
    parts.transport.prepare()
    tables, clock = parts.tables, parts.clock

    @cache
    def brakes() -> "BrakeQueries":
        from tollgate.adapters.dynamodb.registry.brake_steps import RegistryBrakes  # noqa: PLC0415 -- asked for now and then
        from tollgate.adapters.dynamodb.registry.places import RegistryPlaces  # noqa: PLC0415 -- as above
        from tollgate.services.brakes.queries import BrakeQueries  # noqa: PLC0415 -- as above

        registry = settings.table_registry
        return BrakeQueries(RegistryBrakes(tables, registry), RegistryPlaces(tables, registry))

    return UsageApi(
        queries=BudgetQueries(
            catalogues=RegistryCatalogue(tables, settings.table_registry, clock.monotonic),
            ledger=DynamoDBLedger(tables, settings.table_ledger),
            clock=clock,
        ),
        usage=UsageQueries(store=DynamoDBUsage(tables, settings.table_ledger), clock=clock),
        telemetry=parts.telemetry,
        brakes=brakes,
        recommendations=RegistryRecommendations(tables, settings.table_registry),
    )


def handle(event: dict[str, Any], service: UsageApi) -> dict[str, Any]:
    """One API call."""
    return service.respond(read_call(event)).to_event()


@cache
def _service() -> UsageApi:
    return build(UsageSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())


# Lambda imports the module by this name, and gives it more CPU now than for the first request.
if __name__ == "app":
    _service()
