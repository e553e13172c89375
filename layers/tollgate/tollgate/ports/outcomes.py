"""What is remembered of how well the deployments of a model do."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from tollgate.domain.choice.outcomes import Tally


class Extra(StrEnum):
    """What money is spent on beyond what the requests need."""

    EXPLORE = "explore"
    SHADOW = "shadow"


class OutcomeStore(Protocol):
    """Sums by model, deployment and topic over the last weeks. Nothing here ever makes a request fail."""

    def of(self, model: str) -> Mapping[tuple[str, str], Tally]:
        """Sums by deployment and topic, a minute old at most; empty when they cannot be read."""

    def add(self, model: str, deployment: str, topic: str, tally: Tally) -> None:
        """Add to the sums. Kept back and written with others, so a request does not pay for a write."""

    def spent(self, model: str, extra: Extra) -> Decimal:
        """Dollars spent today, UTC, as far as it is known here; more than any limit where nothing is known."""

    def spend(self, model: str, extra: Extra, usd: Decimal) -> None:
        """Add to what is spent today."""


class FeedbackStore(Protocol):
    """Outcomes that callers tell of."""

    def judge(self, model: str, deployment: str, topic: str, tally: Tally, *, tenant: str, inference_id: str) -> bool:
        """Add one outcome of an inference; False if one was added before, which stays.

        Raises:
            StorageError
        """
