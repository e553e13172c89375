"""A stack over which usage is rolled up, made of fakes."""

from copy import replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.fakes.clock import ManualClock
from tests.fakes.examples import make_catalogue
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.usage import NOON, FixedInstanceHours, InMemoryRecords, InMemoryUsage
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.costs.usage import UsageRecord
from tollgate.domain.jobs.job import Job
from tollgate.services.budgets.tell_budgets import BudgetGauge
from tollgate.services.usage.load_hours import HourLoader
from tollgate.services.usage.roll_up import UsageRollUp

if TYPE_CHECKING:
    from tollgate.domain.budgets.budget import Budget
    from tollgate.domain.errors import CatalogueError

MIDNIGHT = NOON.replace(hour=0)

REALTIME = "tollgate-echo-realtime"


class Catalogues:
    """A `CatalogueSource` that may have none, or one that cannot be read."""

    def __init__(self) -> None:
        self.failure: CatalogueError | None = None
        self.budgets: tuple[Budget, ...] = ()

    def current(self) -> Catalogue:
        if self.failure is not None:
            raise self.failure
        return replace(make_catalogue(), budgets=self.budgets)

    def newest(self) -> Catalogue:
        return self.current()

    def seen_by(self, job: Job) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()

    def knowing(self, resource: str, inference_type: InferenceType) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()

    def of_version(self, version: int) -> Catalogue:  # noqa: ARG002 -- it is the same for all
        return self.current()


class World:
    """The services around one store."""

    def __init__(self, *records: UsageRecord, hours: dict[str, Decimal | None] | None = None) -> None:
        self.records = InMemoryRecords(records)
        self.store = InMemoryUsage()
        self.clock = ManualClock(NOON)
        self.telemetry = RecordingTelemetry()
        self.ledger = InMemoryLedger()
        self.hours = FixedInstanceHours(hours)
        self.catalogues = Catalogues()
        self.roll_up = UsageRollUp(
            sources=[self.records],
            store=self.store,
            loader=HourLoader(
                catalogues=self.catalogues, instances=self.hours, telemetry=self.telemetry, clock=self.clock
            ),
            gauge=BudgetGauge(
                catalogues=self.catalogues, ledger=self.ledger, telemetry=self.telemetry, clock=self.clock
            ),
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def turn(self, at: datetime) -> None:
        self.clock.advance((at - self.clock.now()).total_seconds())
        self.roll_up.run()
