"""How many more requests budgets allow, for clients that pace themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tollgate.domain.budgets.budget import AppliedBudget


@dataclass(frozen=True, slots=True)
class CallLimit:
    """The limit on the number of requests that will be reached first.

    Attributes:
        limit: requests in the period.
        remaining: how many are left; None if nobody has looked lately.
        reset_seconds: until the next period, rounded up; None if the period never ends.
    """

    limit: int
    remaining: int | None
    reset_seconds: int | None


def tightest_call_limit(
    budgets: Sequence[AppliedBudget], calls: Callable[[str], int | None], now: datetime
) -> CallLimit | None:
    """The limit with the fewest requests left; where that is unknown, the limit itself counts. None without any.

    Budgets in shadow mode refuse nothing, so they do not count.

    Args:
        budgets: that count a request.
        calls: gives how many requests a counter has counted, None if unknown.
        now: the time.
    """
    found: CallLimit | None = None
    for applied in budgets:
        most = applied.budget.max_calls
        if most is None or applied.budget.shadow or not applied.counter:
            continue
        counted = calls(applied.counter)
        reset = None if applied.ends_at is None else max(0, -int((now - applied.ends_at).total_seconds() // 1))
        limit = CallLimit(most, None if counted is None else max(0, most - counted), reset)
        if found is None or _left(limit) < _left(found):
            found = limit
    return found


def _left(limit: CallLimit) -> int:
    return limit.limit if limit.remaining is None else limit.remaining
