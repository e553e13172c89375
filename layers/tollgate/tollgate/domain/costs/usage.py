"""Usage: what requests cost and how they went, by time and dimension, computed from the records of the requests.

A roll-up is never incremented. It is the sum of the records of its span, computed as a whole and replacing the one
before, so it can be recomputed whenever records come late or twice and is right each time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tollgate.domain.cache.entry import CacheOutcome
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO, plus
from tollgate.domain.roads.latency import bucket_of

_HITS = frozenset({CacheOutcome.HIT, CacheOutcome.NEAR, CacheOutcome.STALE})
"""No model ran."""

_ERRORS = frozenset({"failed", "expired"})


class Dimensions(NamedTuple):
    """The dimensions of usage. Empty where a request did not get so far."""

    tenant: str
    key_id: str
    team: str
    model: str
    inference_type: str
    deployment: str
    variant: str


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One request that has ended.

    Attributes:
        request_id: identifies a record that comes twice.
        ended_at: when the record was made; it decides where the request is counted.
        outcome: as in `RequestRecord`.
        latency_seconds: from acceptance to the end; None where it is meaningless, as for a whole file of requests.
        effective: dollars; None if unknown.
        charged: dollars charged to budgets: `effective`, or the amount held if that is unknown.
        instance: the instance share of `effective`; None if unknown.
        held_seconds: instance seconds behind it.
        avoided: dollars by reason.
        cache: a `CacheOutcome`, or empty for a model without a cache.
        requests: that the record stands for; more than one for a file.
        errors: of them; if None, the outcome decides.
        unknown_tokens: of them, completed with some token count missing; if None, outcome and `usage` decide.
    """

    request_id: str
    ended_at: datetime
    dimensions: Dimensions
    outcome: str
    latency_seconds: float | None = None
    usage: Usage = field(default_factory=Usage)
    effective: Decimal | None = None
    charged: Decimal = ZERO
    instance: Decimal | None = None
    held_seconds: Decimal | None = None
    avoided: Mapping[AvoidedReason, Decimal] = field(default_factory=dict)
    cache: str = ""
    requests: int = 1
    errors: int | None = None
    unknown_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over requests. Dollars and seconds are exact.

    Attributes:
        errors: requests that failed or expired; `rejected` were refused before anything ran.
        unknown_costs: completed requests of unknown cost; they are in no sum but `charged`.
        unknown_tokens: completed requests with some token count missing.
        cached_input_tokens: of `input_tokens`, those that a provider found in its prompt cache.
        loaded: `effective` with the hour's idle time, None while the hour is not closed or something is not known.
        latencies: see `tollgate.domain.roads.latency`.
        cache: requests by the cache's part in them, see `CacheOutcome`; those of models without a cache are in none.
    """

    requests: int = 0
    errors: int = 0
    rejected: int = 0
    cache_hits: int = 0
    unknown_costs: int = 0
    unknown_tokens: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    effective: Decimal = ZERO
    charged: Decimal = ZERO
    instance: Decimal = ZERO
    held_seconds: Decimal = ZERO
    avoided: Mapping[AvoidedReason, Decimal] = field(default_factory=dict)
    latencies: Mapping[int, int] = field(default_factory=dict)
    loaded: Decimal | None = None
    cache: Mapping[str, int] = field(default_factory=dict)

    @property
    def avoided_total(self) -> Decimal:
        """Dollars avoided for whatever reason."""
        return sum(self.avoided.values(), ZERO)


COUNTS = (
    "requests",
    "errors",
    "rejected",
    "cache_hits",
    "unknown_costs",
    "unknown_tokens",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
)
AMOUNTS = ("effective", "charged", "instance", "held_seconds")
"""Fields of `Totals` that are summed: whole numbers, and decimals."""

_SUMS = (*COUNTS, *AMOUNTS)


@dataclass(frozen=True, slots=True)
class RollUp:
    """The requests of a span of time (a slice, an hour, a day) with the same dimensions; `start` is its beginning."""

    start: datetime
    dimensions: Dimensions
    totals: Totals


def totals_of(record: UsageRecord) -> Totals:
    """One record as sums."""
    completed = record.outcome == "completed"
    tokens = record.usage
    failed = record.outcome in _ERRORS
    unknown_tokens = record.unknown_tokens
    if unknown_tokens is None:
        unknown_tokens = record.requests if completed and None in {tokens.input_tokens, tokens.output_tokens} else 0
    return Totals(
        requests=record.requests,
        errors=(record.requests if failed else 0) if record.errors is None else record.errors,
        rejected=record.requests if record.outcome == "rejected" else 0,
        cache_hits=record.requests if record.cache in _HITS else 0,
        unknown_costs=record.requests if completed and record.effective is None and record.dimensions.deployment else 0,
        unknown_tokens=unknown_tokens,
        input_tokens=tokens.input_tokens or 0,
        cached_input_tokens=tokens.cached_input_tokens or 0,
        output_tokens=tokens.output_tokens or 0,
        effective=record.effective or ZERO,
        charged=record.charged,
        instance=record.instance or ZERO,
        held_seconds=record.held_seconds or ZERO,
        avoided=record.avoided,
        latencies={} if record.latency_seconds is None else {bucket_of(record.latency_seconds * 1000): record.requests},
        cache={record.cache: record.requests} if record.cache in CacheOutcome and record.requests else {},
    )


class Tally:
    """Sums under construction, because adding a million frozen ones would mostly copy."""

    def __init__(self) -> None:
        self.loaded: Decimal | None = None
        self.is_empty = True
        self.sums: dict[str, Decimal | int] = dict.fromkeys(COUNTS, 0)
        self.sums |= dict.fromkeys(AMOUNTS, ZERO)
        self.avoided: dict[AvoidedReason, Decimal] = {}
        self.latencies: dict[int, int] = {}
        self.cache: dict[str, int] = {}

    def add(self, one: Totals) -> None:
        """Add the sums of some requests."""
        self.loaded = one.loaded if self.is_empty else plus(self.loaded, one.loaded)
        self.is_empty = False
        for name in _SUMS:
            self.sums[name] += getattr(one, name)
        for reason, amount in one.avoided.items():
            self.avoided[reason] = self.avoided.get(reason, ZERO) + amount
        for bucket, count in one.latencies.items():
            self.latencies[bucket] = self.latencies.get(bucket, 0) + count
        for state, count in one.cache.items():
            self.cache[state] = self.cache.get(state, 0) + count

    def totals(self) -> Totals:
        """The sums so far; `loaded` only if it is known of all that was added, and something was."""
        known: dict[str, Any] = dict(self.sums)
        avoided = {reason: self.avoided[reason] for reason in AvoidedReason if reason in self.avoided}
        cache = {state.value: self.cache[state] for state in CacheOutcome if state in self.cache}
        return Totals(**known, avoided=avoided, latencies=self.latencies, loaded=self.loaded, cache=cache)


def roll_up(records: Iterable[UsageRecord], start: datetime) -> tuple[RollUp, ...]:
    """The records of a span by dimensions. A record that is there twice counts once."""
    seen: set[str] = set()
    tallies: dict[Dimensions, Tally] = {}
    for record in records:
        if record.request_id not in seen:
            seen.add(record.request_id)
            tallies.setdefault(record.dimensions, Tally()).add(totals_of(record))
    return tuple(RollUp(start, dimensions, tallies[dimensions].totals()) for dimensions in sorted(tallies))


def gathered(roll_ups: Iterable[RollUp], start: datetime) -> tuple[RollUp, ...]:
    """Combine roll-ups of shorter spans into those of the longer one that begins at `start`."""
    parts: dict[Dimensions, list[RollUp]] = {}
    for each in roll_ups:
        parts.setdefault(each.dimensions, []).append(each)
    return tuple(RollUp(start, dimensions, sum_of(parts[dimensions])) for dimensions in sorted(parts))


def sum_of(roll_ups: Iterable[RollUp]) -> Totals:
    """All of them together."""
    tally = Tally()
    for each in roll_ups:
        tally.add(each.totals)
    return tally.totals()
