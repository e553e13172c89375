"""Every day: are the prices still the ones that AWS charges?"""

from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tollgate.adapters.aws_transport import AwsTransport, TransportConfig
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.price_list_api import ENDPOINT_REGION, PriceListApi
from tollgate.adapters.price_snapshot import snapshot_book
from tollgate.adapters.registry_prices import RegistryPrices
from tollgate.adapters.system import SystemClock
from tollgate.api.telemetry import Telemetry
from tollgate.services.refresh_prices import PriceRefresh
from tollgate.settings import Settings, aws_environment

if TYPE_CHECKING:
    from tollgate.adapters.price_list_api import PricingClient


class CostReconcileSettings(Settings):
    """Settings of this function."""

    table_registry: str


class Reconciliation:
    """What is reconciled, for the region that the stack runs in."""

    def __init__(self, prices: PriceRefresh, region: str) -> None:
        self._prices = prices
        self._region = region

    def run(self) -> None:
        """One day's work."""
        self._prices.refresh(self._region)


def _pricing() -> "PricingClient":
    config = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
    # The stubs of this service are not installed; the adapter names the little it uses.
    client: Any = boto3.session.Session().client("pricing", region_name=ENDPOINT_REGION, config=config)
    found: PricingClient = client
    return found


def build(settings: CostReconcileSettings) -> Reconciliation:
    """Wire the service; nothing is connected before the first run."""
    tables = DynamoDBClient(AwsTransport(TransportConfig.from_mapping(aws_environment())))
    refresh = PriceRefresh(
        prices=PriceListApi(_pricing),
        store=RegistryPrices(tables, settings.table_registry),
        snapshot=snapshot_book(),
        telemetry=Telemetry(
            namespace=settings.powertools_metrics_namespace,
            service=settings.powertools_service_name,
            level=settings.log_level,
        ),
        clock=SystemClock(),
    )
    return Reconciliation(refresh, settings.aws_region)


def handle(_event: dict[str, Any], service: Reconciliation) -> None:
    """One day's work."""
    service.run()


@cache
def _service() -> Reconciliation:
    return build(CostReconcileSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _service())
