"""What is left of budgets, and what a workflow run has cost."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tollgate.domain.budgets.budget import EACH, AppliedBudget, Budget, ScopeKind, Spender, applied_budgets
from tollgate.domain.budgets.ledger import Counter, WorkflowCall, cost_of_tree
from tollgate.domain.errors import NotFoundError
from tollgate.domain.jobs.job import Owner
from tollgate.ports.money import Ledger
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock

MOST_CALLS = 1_000
"""Of a run that are shown."""

_READ_AT_ONCE = 100
_LONGEST_RUN = 128
"""Characters of a run's name, as the header admits it."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget and its counter in the present period.

    Attributes:
        at: the moment that limits and raises are given for.
    """

    applied: AppliedBudget
    counter: Counter
    at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowCost:
    """A run and its calls, oldest first. `effective_cost` adds up those whose cost is known.

    Attributes:
        has_more: the run has made more calls than `calls`, which the cost leaves out.
    """

    workflow: str
    calls: Sequence[WorkflowCall]
    effective_cost: Decimal
    has_more: bool = False


class BudgetQueries:
    """What a key may see of budgets and runs."""

    def __init__(self, *, catalogues: CatalogueSource, ledger: Ledger, clock: Clock) -> None:
        self._catalogues = catalogues
        self._ledger = ledger
        self._clock = clock

    def budgets(self, owner: Owner) -> Sequence[BudgetStatus]:
        """The budgets of the caller's own key and team; for an admin also those of the gateway and of every model.

        Raises:
            CatalogueError, StorageError
        """
        catalogue, now = self._catalogues.current(), self._clock.now()
        shown = [b for b in catalogue.budgets if _may_see(b, owner)]
        models = sorted(catalogue.models)
        found: dict[tuple[Budget, str], AppliedBudget] = {}
        for model in models:
            spender = Spender(owner.tenant, owner.key_id, owner.team, model)
            for applied in applied_budgets(shown, spender, now):
                found[applied.budget, applied.counter] = applied
        wanted = list(found.values())
        names = dict.fromkeys(a.counter for a in wanted if a.counter)
        counters: dict[str, Counter] = {}
        for some in itertools.batched(names, _READ_AT_ONCE, strict=False):
            counters |= self._ledger.read(some)
        return [BudgetStatus(applied, counters.get(applied.counter, Counter()), now) for applied in wanted]

    def workflow(self, owner: Owner, workflow: str) -> WorkflowCost:
        """A run of the caller's tenant.

        Raises:
            NotFoundError: the tenant has no such run.
            StorageError
        """
        # A table refuses keys over 2,048 bytes, which would look like a failure of the table.
        known = 0 < len(workflow) <= _LONGEST_RUN
        found = self._ledger.calls_of(owner.tenant, workflow, limit=MOST_CALLS + 1) if known else ()
        if not found:
            raise NotFoundError(f"There is no workflow run '{workflow[:100]}'.", param="id")
        calls = found[:MOST_CALLS]
        return WorkflowCost(workflow, calls, cost_of_tree(calls), has_more=len(found) > MOST_CALLS)


def _may_see(budget: Budget, owner: Owner) -> bool:
    if budget.kind is ScopeKind.KEY:
        return budget.subject in {EACH, owner.key_id}
    if budget.kind is ScopeKind.TEAM:
        return bool(owner.team) and budget.subject in {EACH, owner.team}
    return "admin" in owner.scopes and budget.kind is not ScopeKind.WORKFLOW
