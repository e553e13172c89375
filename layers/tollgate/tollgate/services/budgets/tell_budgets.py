"""Makes spend against budgets visible: as metrics for the dashboard, and as notices that no request would give."""

import itertools
from collections.abc import Iterable

from tollgate.domain.budgets.budget import EACH, AppliedBudget, ScopeKind, Spender, applied_budgets
from tollgate.domain.budgets.ledger import Counter
from tollgate.domain.costs.usage import RollUp
from tollgate.domain.errors import NoCatalogueError
from tollgate.ports.money import Ledger
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.budgets.watch import BudgetWatch

_MOST = 100


class BudgetGauge:
    """Tells how much of each named budget is used.

    Budgets for each key, team or run would be a metric for each of them, which CloudWatch charges for; those of teams
    have a counter in each tenant. Both are in GET /v1/budgets.
    """

    def __init__(self, *, catalogues: CatalogueSource, ledger: Ledger, telemetry: Telemetry, clock: Clock) -> None:
        self._catalogues = catalogues
        self._ledger = ledger
        self._telemetry = telemetry
        self._clock = clock

    def tell(self) -> None:
        """One metric for each budget of the gateway, of a model or of a key, in its present period.

        Raises:
            CatalogueError, StorageError
        """
        try:
            budgets = self._catalogues.current().budgets
        except NoCatalogueError:
            return
        now = self._clock.now()
        named = [b for b in budgets if b.kind is ScopeKind.GATEWAY or (b.kind in _TOLD and b.subject != EACH)]
        wanted = [
            applied
            for budget in named[:_MOST]
            for applied in applied_budgets([budget], Spender("", budget.subject, "", budget.subject), now)
            if applied.counter
        ]
        counters = self._ledger.read([applied.counter for applied in wanted])
        for applied in wanted:
            limit = applied.budget.limit_at(now)
            if limit:
                used = counters.get(applied.counter, Counter()).committed * 100 / limit
                self._telemetry.measure(
                    {"BudgetUsedPercent": round(float(used), 2)},
                    {"Budget": f"{applied.budget.scope} {applied.budget.period}"},
                )

    def announce(self, used: Iterable[RollUp]) -> None:
        """Announce the thresholds that were crossed by requests that have ended lately.

        The gateway does so with its next request. Jobs end without it, and after the last ones of a night there may be
        no next request in the period.

        Raises:
            CatalogueError, StorageError: the catalogue cannot be read.
        """
        try:
            budgets = [budget for budget in self._catalogues.current().budgets if budget.thresholds]
        except NoCatalogueError:
            return
        wanted: dict[str, AppliedBudget] = {}
        for row in used if budgets else ():
            seen = row.dimensions
            spender = Spender(seen.tenant, seen.key_id, seen.team, seen.model)
            for applied in applied_budgets(budgets, spender, row.start):
                wanted[applied.counter] = applied
        # Whatever is found is left open, and published by the schedule that does only that.
        watch = BudgetWatch(ledger=self._ledger, telemetry=self._telemetry, clock=self._clock, notices=None)
        for some in itertools.batched(wanted.values(), _MOST, strict=False):
            watch.look([applied.counter for applied in some])
            watch.tell(some, self._clock.now())


_TOLD = frozenset({ScopeKind.MODEL, ScopeKind.KEY})
