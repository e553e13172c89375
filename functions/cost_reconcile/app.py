"""On schedules: usage from records, the daily export, prices, and the ledger against the bill."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tollgate.settings import ReconcileSettings
from tollgate.wiring.reconcile import ReconcileParts

type Tasks = Mapping[str, Callable[[], object]]


class CostReconcileSettings(ReconcileSettings):
    """Settings of this function."""


def build(settings: CostReconcileSettings) -> Tasks:
    """Wire the services by the name of their task; each is made, and connects, when it is first run."""
    parts = ReconcileParts(settings)
    return {
        "prices": lambda: parts.prices.refresh(settings.aws_region),
        "usage": lambda: parts.usage.run(),  # noqa: PLW0108 -- made only when it is run
        "export": lambda: parts.export.run(),  # noqa: PLW0108 -- made only when it is run
        "bill": lambda: parts.bill.run(),  # noqa: PLW0108 -- made only when it is run
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
