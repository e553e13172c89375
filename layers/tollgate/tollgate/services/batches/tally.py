"""What the lines of a file add up to while its results are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from tollgate.domain.costs.avoided import AvoidedReason, add_reasons
from tollgate.domain.costs.settlement import Settlement
from tollgate.domain.jobs.batches import FileCount
from tollgate.domain.jobs.job import Bill, Usage
from tollgate.domain.money import ZERO, plus


@dataclass(slots=True)
class LineTally:
    """Totals over lines. Dollars and seconds become None as soon as one amount is unknown.

    Attributes:
        unknown_tokens: answered lines whose token counts are not all known.
        instance: the instance share of `effective`.
        reasons: `avoided`, by reason.
    """

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unknown_tokens: int = 0
    effective: Decimal | None = field(default=ZERO)
    avoided: Decimal | None = field(default=ZERO)
    instance: Decimal | None = field(default=ZERO)
    held_seconds: Decimal | None = field(default=ZERO)
    reasons: Mapping[AvoidedReason, Decimal] = field(default_factory=dict)

    def complete(self, usage: Usage) -> None:
        """Count an answered line."""
        self.completed += 1
        self.unknown_tokens += None in {usage.input_tokens, usage.output_tokens}

    def spend(self, cost: Settlement, held_seconds: Decimal | None, usage: Usage) -> None:
        """Add what a line has cost, whether it was answered or not."""
        self.effective = plus(self.effective, cost.effective)
        self.avoided = plus(self.avoided, cost.avoided)
        self.instance = plus(self.instance, cost.instance)
        self.held_seconds = plus(self.held_seconds, held_seconds)
        self.reasons = add_reasons(self.reasons, cost.reasons)
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0

    def count(self, now: datetime, *, charged: Decimal, requests: int, errors: int) -> FileCount:
        """The counts as usage records them, for the dollars that are charged."""
        bill = Bill(
            settled_at=now,
            charged=charged,
            instance=self.instance,
            avoided={} if self.avoided is None else self.reasons,
        )
        return FileCount(
            bill=bill,
            requests=requests,
            errors=errors,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            effective=self.effective,
            held_seconds=self.held_seconds,
            unknown_tokens=self.unknown_tokens,
        )
