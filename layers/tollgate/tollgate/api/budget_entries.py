"""The `[[budgets]]` of a catalogue file: their schema, and the checked budgets that they become."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tollgate.domain.budgets.budget import EACH, Budget, BudgetAction, BudgetPeriod, ScopeKind, Threshold
from tollgate.domain.errors import CatalogueError, InvalidRequestError
from tollgate.domain.jobs.webhooks import ANYWHERE, check_webhook_url, parse_networks

_SUBJECT = r"^(gateway|(key|team|model):([A-Za-z0-9._-]{1,128}|\*)|workflow:\*)$"
_MOST_USD = Decimal(100_000_000)
_FINEST_USD = Decimal("0.000001")
_MOST_BUDGETS = 200


class ThresholdEntry(BaseModel):
    """What happens on the way to the limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_percent: Annotated[Decimal, Field(gt=0, le=100, max_digits=5, decimal_places=2)]
    action: BudgetAction


class BudgetEntry(BaseModel):
    """One budget. `period` is the UTC calendar's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Annotated[str, Field(pattern=_SUBJECT)]
    period: BudgetPeriod
    limit_usd: Annotated[Decimal, Field(ge=_FINEST_USD, le=_MOST_USD)] | None = None
    thresholds: Annotated[tuple[ThresholdEntry, ...], Field(max_length=10)] = ()
    shadow: bool = False
    raise_usd: Annotated[Decimal, Field(gt=0, le=_MOST_USD)] | None = None
    raise_until: AwareDatetime | None = None
    max_calls: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    max_depth: Annotated[int, Field(ge=1, le=1_000)] | None = None
    webhook_url: Annotated[str, Field(max_length=2048)] = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        workflow = self.scope.startswith("workflow:")
        mistakes = [
            (self.max_depth is not None and not workflow, "max_depth is for workflow:* only"),
            (
                self.limit_usd is None and self.max_calls is None and self.max_depth is None,
                "a budget needs limit_usd, max_calls or max_depth",
            ),
            ((self.raise_usd is None) != (self.raise_until is None), "raise_usd and raise_until belong together"),
            (self.raise_usd is not None and self.limit_usd is None, "raise_usd needs limit_usd"),
            (bool(self.thresholds) and self.limit_usd is None, "thresholds need limit_usd"),
            (bool(self.webhook_url) and self.limit_usd is None, "webhook_url needs limit_usd"),
            (
                self.period is BudgetPeriod.REQUEST
                and (bool(self.thresholds) or self.max_calls is not None or bool(self.webhook_url)),
                "a budget for each request has no thresholds, webhook_url or max_calls: nothing is counted",
            ),
            (
                len({(t.at_percent, t.action) for t in self.thresholds}) < len(self.thresholds),
                "the same threshold stands twice",
            ),
        ]
        for wrong, reason in mistakes:
            if wrong:
                raise ValueError(reason)
        return self


def read_budgets(entries: Sequence[BudgetEntry], models: Collection[str]) -> tuple[Budget, ...]:
    """The checked budgets.

    Raises:
        CatalogueError: two for the same scope and period, a model that is not in the catalogue, too many, or a bad URL.
    """
    if len(entries) > _MOST_BUDGETS:
        raise CatalogueError(f"A catalogue holds {_MOST_BUDGETS} budgets at most.")
    seen: set[tuple[str, BudgetPeriod]] = set()
    for entry in entries:
        place = (entry.scope, entry.period)
        if place in seen:
            raise CatalogueError(f"There are two budgets for '{entry.scope}' and each {entry.period}. Keep one.")
        seen.add(place)
        kind, _, subject = entry.scope.partition(":")
        if entry.webhook_url:
            try:
                check_webhook_url(entry.webhook_url, parse_networks(ANYWHERE))
            except InvalidRequestError as error:
                raise CatalogueError(f"webhook_url of the budget '{entry.scope}': {error.message}") from error
        if kind == ScopeKind.MODEL and subject not in {EACH, *models}:
            raise CatalogueError(f"The budget '{entry.scope}' is about a model that is not in the catalogue.")
    return tuple(_budget(entry) for entry in entries)


def _budget(entry: BudgetEntry) -> Budget:
    kind, _, subject = entry.scope.partition(":")
    return Budget(
        kind=ScopeKind(kind),
        subject=subject,
        period=entry.period,
        limit_usd=entry.limit_usd,
        thresholds=tuple(Threshold(t.at_percent, t.action) for t in entry.thresholds),
        shadow=entry.shadow,
        raise_usd=entry.raise_usd or Decimal(0),
        raise_until=_utc(entry.raise_until),
        max_calls=entry.max_calls,
        max_depth=entry.max_depth,
        webhook_url=entry.webhook_url,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
