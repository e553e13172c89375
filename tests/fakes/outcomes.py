"""Outcomes that tests can set and look at."""

from collections.abc import Mapping
from decimal import Decimal

from tollgate.domain.choice.outcomes import NOTHING, Tally
from tollgate.ports.outcomes import Extra


class InMemoryOutcomes:
    """The `OutcomeStore` and `FeedbackStore` of tests."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[str, str, str], Tally] = {}
        self.spending: dict[tuple[str, Extra], Decimal] = {}
        self.judged: set[tuple[str, str]] = set()

    def of(self, model: str) -> Mapping[tuple[str, str], Tally]:
        return {
            (deployment, topic): tally for (name, deployment, topic), tally in self.tallies.items() if name == model
        }

    def add(self, model: str, deployment: str, topic: str, tally: Tally) -> None:
        key = (model, deployment, topic)
        self.tallies[key] = self.tallies.get(key, NOTHING).plus(tally)

    def spent(self, model: str, extra: Extra) -> Decimal:
        return self.spending.get((model, extra), Decimal(0))

    def spend(self, model: str, extra: Extra, usd: Decimal) -> None:
        self.spending[model, extra] = self.spent(model, extra) + usd

    def judge(self, model: str, deployment: str, topic: str, tally: Tally, *, tenant: str, inference_id: str) -> bool:
        if (tenant, inference_id) in self.judged:
            return False
        self.judged.add((tenant, inference_id))
        self.add(model, deployment, topic, tally)
        return True
