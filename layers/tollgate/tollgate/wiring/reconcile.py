"""What the tasks of `cost_reconcile` need. Each has a schedule of its own, and imports what it uses when it runs."""

from __future__ import annotations

from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from tollgate.wiring.parts import Parts

if TYPE_CHECKING:
    from tollgate.adapters.dynamodb.jobs.settled import SettledJobs
    from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue
    from tollgate.adapters.dynamodb.usage import DynamoDBUsage
    from tollgate.services.usage.compare_bill import BillComparison
    from tollgate.services.usage.export_focus import FocusExport
    from tollgate.services.usage.refresh_prices import PriceRefresh
    from tollgate.services.usage.roll_up import UsageRollUp
    from tollgate.settings import ReconcileSettings


def _client(service: str, region: str | None = None) -> Any:
    import boto3  # noqa: PLC0415 -- the export works without
    from botocore.config import Config  # noqa: PLC0415 -- as boto3

    config = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "max_attempts": 4})
    # The stubs of these services are not installed; each adapter names the little it uses.
    session: Any = boto3.session.Session()
    return session.client(service, region_name=region, config=config)


class ReconcileParts(Parts):
    """Prices, usage, export and the bill."""

    def __init__(self, settings: ReconcileSettings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._client = cache(_client)

    @cached_property
    def _store(self) -> DynamoDBUsage:
        from tollgate.adapters.dynamodb.usage import DynamoDBUsage  # noqa: PLC0415 -- see the module

        return DynamoDBUsage(self.tables, self._settings.table_ledger)

    @cached_property
    def _jobs(self) -> SettledJobs:
        from tollgate.adapters.dynamodb.jobs.settled import SettledJobs  # noqa: PLC0415 -- see the module

        return SettledJobs(self.tables, self._settings.table_jobs)

    @cached_property
    def _catalogues(self) -> RegistryCatalogue:
        from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogue  # noqa: PLC0415 -- see the module

        return RegistryCatalogue(self.tables, self._settings.table_registry, self.clock.monotonic)

    @cached_property
    def prices(self) -> PriceRefresh:
        """The daily look at the price list."""
        from tollgate.adapters.dynamodb.registry.prices import RegistryPrices  # noqa: PLC0415 -- see the module
        from tollgate.adapters.metering import price_list_api  # noqa: PLC0415 -- see the module
        from tollgate.adapters.metering.price_snapshot import snapshot_book  # noqa: PLC0415 -- see the module
        from tollgate.services.usage.refresh_prices import PriceRefresh  # noqa: PLC0415 -- see the module

        return PriceRefresh(
            prices=price_list_api.PriceListApi(partial(self._client, "pricing", price_list_api.ENDPOINT_REGION)),
            store=RegistryPrices(self.tables, self._settings.table_registry),
            snapshot=snapshot_book(),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def usage(self) -> UsageRollUp:
        """What was used, by hour."""
        from tollgate.adapters.dynamodb.ledger import DynamoDBLedger  # noqa: PLC0415 -- see the module
        from tollgate.adapters.metering.endpoint_hours import EndpointHours  # noqa: PLC0415 -- see the module
        from tollgate.adapters.metering.request_log import RequestLog  # noqa: PLC0415 -- see the module
        from tollgate.services.budgets.tell_budgets import BudgetGauge  # noqa: PLC0415 -- see the module
        from tollgate.services.usage.load_hours import HourLoader  # noqa: PLC0415 -- see the module
        from tollgate.services.usage.roll_up import UsageRollUp  # noqa: PLC0415 -- see the module

        logs, settings = partial(self._client, "logs"), self._settings
        # Each function that answers callers at once; the last one only where answers are streamed.
        groups = (settings.gateway_log_group, settings.cache_log_group, settings.streaming_log_group)
        return UsageRollUp(
            sources=(*(RequestLog(logs, group) for group in groups if group), self._jobs),
            store=self._store,
            loader=HourLoader(
                catalogues=self._catalogues,
                instances=EndpointHours(partial(self._client, "cloudwatch"), partial(self._client, "sagemaker")),
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            gauge=BudgetGauge(
                catalogues=self._catalogues,
                ledger=DynamoDBLedger(self.tables, self._settings.table_ledger),
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    @cached_property
    def export(self) -> FocusExport:
        """The daily file of costs."""
        from tollgate.adapters.metering.focus_file import FocusBucket  # noqa: PLC0415 -- see the module
        from tollgate.adapters.s3.client import S3Client  # noqa: PLC0415 -- see the module
        from tollgate.adapters.s3.direct_objects import S3DirectObjects  # noqa: PLC0415 -- see the module
        from tollgate.domain.costs.focus import FocusAccount  # noqa: PLC0415 -- see the module
        from tollgate.services.usage.export_focus import FocusExport  # noqa: PLC0415 -- see the module

        settings = self._settings
        return FocusExport(
            store=self._store,
            jobs=self._jobs,
            files=FocusBucket(S3DirectObjects(S3Client(self.transport), settings.bucket)),
            account=FocusAccount(settings.account_id, settings.aws_region, settings.stack_name),
            telemetry=self.telemetry,
            clock=self.clock,
            catalogues=self._catalogues,
        )

    @cached_property
    def bill(self) -> BillComparison:
        """The ledger against the bill."""
        from tollgate.adapters.metering import cost_explorer  # noqa: PLC0415 -- see the module
        from tollgate.services.usage.compare_bill import BillComparison  # noqa: PLC0415 -- see the module

        client = partial(self._client, "ce", cost_explorer.ENDPOINT_REGION)
        bill = cost_explorer.CostExplorer(client, self._settings.stack_name)
        return BillComparison(store=self._store, bill=bill, telemetry=self.telemetry, clock=self.clock)
