"""On schedules: usage from records, the daily export, prices, and the ledger against the bill."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import boto3
from botocore.config import Config

from tollgate.adapters import cost_explorer, price_list_api
from tollgate.adapters.dynamodb_ledger import DynamoDBLedger
from tollgate.adapters.dynamodb_usage import DynamoDBUsage
from tollgate.adapters.endpoint_hours import EndpointHours
from tollgate.adapters.focus_file import FocusBucket
from tollgate.adapters.price_snapshot import snapshot_book
from tollgate.adapters.registry_catalogue import RegistryCatalogue
from tollgate.adapters.registry_prices import RegistryPrices
from tollgate.adapters.request_log import RequestLog
from tollgate.adapters.s3_client import S3Client
from tollgate.adapters.s3_direct_objects import S3DirectObjects
from tollgate.adapters.settled_jobs import SettledJobs
from tollgate.domain.focus import FocusAccount
from tollgate.services.compare_bill import BillComparison
from tollgate.services.export_focus import FocusExport
from tollgate.services.load_hours import HourLoader
from tollgate.services.refresh_prices import PriceRefresh
from tollgate.services.roll_up_usage import UsageRollUp
from tollgate.services.tell_budgets import BudgetGauge
from tollgate.settings import Settings
from tollgate.wiring.parts import Parts

type Tasks = Mapping[str, Callable[[], object]]


class CostReconcileSettings(Settings):
    """Settings of this function."""

    table_jobs: str
    table_ledger: str
    table_registry: str
    bucket: str
    gateway_log_group: str
    cache_log_group: str
    stack_name: str
    account_id: str


def _client(service: str, region: str | None = None) -> Any:
    config = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
    # The stubs of these services are not installed; each adapter names the little it uses.
    session: Any = boto3.session.Session()
    return session.client(service, region_name=region, config=config)


def build(settings: CostReconcileSettings) -> Tasks:
    """Wire the services by the name of their task; nothing is connected before the first run."""
    parts = Parts(settings)
    tables, clock, telemetry = parts.tables, parts.clock, parts.telemetry
    client = cache(_client)
    store, jobs = DynamoDBUsage(tables, settings.table_ledger), SettledJobs(tables, settings.table_jobs)
    prices = PriceRefresh(
        prices=price_list_api.PriceListApi(partial(client, "pricing", price_list_api.ENDPOINT_REGION)),
        store=RegistryPrices(tables, settings.table_registry),
        snapshot=snapshot_book(),
        telemetry=telemetry,
        clock=clock,
    )
    catalogues = RegistryCatalogue(tables, settings.table_registry, clock.monotonic)
    usage = UsageRollUp(
        sources=(
            RequestLog(partial(client, "logs"), settings.gateway_log_group),
            RequestLog(partial(client, "logs"), settings.cache_log_group),
            jobs,
        ),
        store=store,
        loader=HourLoader(
            catalogues=catalogues,
            instances=EndpointHours(partial(client, "cloudwatch"), partial(client, "sagemaker")),
            telemetry=telemetry,
        ),
        gauge=BudgetGauge(
            catalogues=catalogues,
            ledger=DynamoDBLedger(tables, settings.table_ledger),
            telemetry=telemetry,
            clock=clock,
        ),
        telemetry=telemetry,
        clock=clock,
    )
    export = FocusExport(
        store=store,
        jobs=jobs,
        files=FocusBucket(S3DirectObjects(S3Client(parts.transport), settings.bucket)),
        account=FocusAccount(settings.account_id, settings.aws_region, settings.stack_name),
        telemetry=telemetry,
        clock=clock,
        catalogues=catalogues,
    )
    bill = cost_explorer.CostExplorer(partial(client, "ce", cost_explorer.ENDPOINT_REGION), settings.stack_name)
    compare = BillComparison(store=store, bill=bill, telemetry=telemetry, clock=clock)
    return {
        "prices": partial(prices.refresh, settings.aws_region),
        "usage": usage.run,
        "export": export.run,
        "bill": compare.run,
    }


def handle(event: dict[str, Any], tasks: Tasks) -> None:
    """The task that the schedule names."""
    tasks[event["task"]]()


@cache
def _tasks() -> Tasks:
    return build(CostReconcileSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Entry point."""
    handle(event, _tasks())
