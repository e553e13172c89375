"""What the schedule does: publishes notices that were not, reads the ledger's counters, and finishes what is left."""

from collections.abc import Sequence
from datetime import datetime

from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, Control, Signal
from tollgate.domain.budgets.budget import FULL, Budget, BudgetPeriod, ScopeKind, Spender, counter_of, period_end
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import NoCatalogueError
from tollgate.ports.money import Ledger
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock
from tollgate.services.brakes.work import Brakes
from tollgate.services.budgets.announce import BudgetWebhooks
from tollgate.services.budgets.finish_notices import NoticeFinisher


class SpendWatch:
    """Hears the ledger every minute, lets go when a period ends, and finishes what was interrupted."""

    def __init__(
        self,
        *,
        brakes: Brakes,
        catalogues: CatalogueSource,
        ledger: Ledger,
        notices: NoticeFinisher,
        webhooks: BudgetWebhooks,
        clock: Clock,
    ) -> None:
        self.brakes = brakes
        self.webhooks = webhooks
        self._notices = notices
        self._catalogues = catalogues
        self._ledger = ledger
        self._clock = clock

    @property
    def policy(self) -> BrakePolicy | None:
        """The brakes of the catalogue in force; none before there is one.

        Raises:
            CatalogueError, StorageError
        """
        try:
            return self._catalogues.current().brakes
        except NoCatalogueError:
            return None

    def now(self) -> datetime:
        """The present moment."""
        return self._clock.now()

    def tick(self) -> Control:
        """One look.

        Raises:
            CatalogueError, StorageError: the next look is in a minute.
        """
        self._notices.finish()
        if self.policy is None:
            # Whoever takes the brakes out of the catalogue lets go of them.
            return self.brakes.resume_if_any("no brakes in the catalogue")
        for signal in ledger_signals(self._catalogues.current(), self._ledger, self._clock.now()):
            self.brakes.hear(signal)
        return self.brakes.settle()


_NOBODY = Spender(tenant="", key_id="", team="", model="")


def ledger_signals(catalogue: Catalogue, ledger: Ledger, now: datetime) -> Sequence[Signal]:
    """A signal for every budget of the whole gateway that has reached a step.

    Raises:
        StorageError: the counters cannot be read.
    """
    policy = catalogue.brakes
    counted = {counter_of(b, _NOBODY, now): b for b in catalogue.budgets if _counts(b)}
    if policy is None or not counted:
        return []
    counters = ledger.read(list(counted), consistent=True)
    found: list[Signal] = []
    for name, budget in counted.items():
        limit = budget.limit_at(now)
        if name not in counters or not limit:
            continue
        # Not what is held: most of that is given back, and a cause only ever brakes further within its period.
        percent = counters[name].used * FULL / limit
        level = policy.level_at(percent)
        if level is not BrakeLevel.NONE:
            reason = f"{percent:.1f} % of the gateway's {budget.period.named_budget} is used"
            found.append(Signal(f"ledger:{name}", level, now, period_end(budget.period, now), reason))
    return found


def _counts(budget: Budget) -> bool:
    return (
        budget.kind is ScopeKind.GATEWAY
        and budget.limit_usd is not None
        and not budget.shadow
        and budget.period is not BudgetPeriod.REQUEST
    )
