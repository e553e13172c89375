"""Whether the work waiting for a sleeping endpoint is worth a start, or is handed on to a token-priced deployment.

Requests gather until the first of them must begin (`tollgate.domain.places.wake_by_deadline`). Then either an instance
is started for all of them, or the first goes to the provider and the others wait for more to join them. The capacity
function applies this to the jobs that it has read, the planner to the waiting work in simulated time.
"""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol

from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint, decide_start, worth_waking

MESSAGE_DELAY_SECONDS = 10
"""Delay of the message of a job that is handed on: longer than the write that follows it."""

HAND_ON_LIMIT = 2_000
"""Most requests that may gather where they can be handed on: at token prices, 500 are often not worth a start."""


class Stays(StrEnum):
    """Why the first of the waiting requests is not handed on."""

    NOT_DUE = "not due"
    START_PAYS = "a start costs less"
    ONLY_INSTANCE = "only an instance can serve the first"


class Patient(NamedTuple):
    """Requests that need not start soon.

    Attributes:
        since: arrival of the one that must start first.
        latest_start_at: of that one.
        saved: dollars that instance time saves on all of them against tokens.
    """

    since: float
    latest_start_at: float
    saved: float


class FirstDue(NamedTuple):
    """The request that must start before all others: its arrival, and its deadline less its seconds on a place."""

    since: float
    latest_start_at: float


class WaitingRequests(Protocol):
    """The work that waits for one endpoint, by latest start. Times are seconds on any one clock."""

    def first_due(self) -> FirstDue | None:
        """The request that must start first; None if none waits."""

    def work_until(self, soon: float) -> Iterable[DueWork]:
        """The work by latest start; work that need not start by then, were all else done before it, may be left out."""

    def one_is_enough_until(self, endpoint: SleepingEndpoint) -> float:
        """When one instance must start at the latest to do all of it; asked again after each that is handed on."""

    def saved_until(self, latest: float) -> float:
        """Dollars that instance time saves against tokens on what must start by then."""

    def patient_after(self, latest: float) -> Patient | None:
        """Those that need not start by then."""

    def may_hand_on(self) -> bool:
        """Whether the provider can take the first request, in time."""

    def hand_on(self) -> None:
        """Give the first request to the provider: it no longer waits, or can no longer be handed on."""


def needed_anyway(now: float, patient: Patient | None, endpoint: SleepingEndpoint, usd_per_start: float) -> float:
    """The share of their patience used by requests that will pay for a start themselves; 0 if none will.

    A start now serves them too. It saves theirs, except for the part of their patience that then goes unused.
    """
    if patient is None:
        return 0.0
    due = patient.latest_start_at - endpoint.startup_seconds - endpoint.margin_seconds
    used = min(1.0, (now - patient.since) / (due - patient.since)) if due > patient.since else 1.0
    return used if patient.saved >= used * usd_per_start else 0.0


def start_pays(
    now: float, waiting: WaitingRequests, first: FirstDue, endpoint: SleepingEndpoint, usd_for_starts: tuple[float, int]
) -> bool:
    """Whether instances that start now cost no more than tokens for the requests that would go there otherwise.

    Counted is the work that would be due within another wait as long as the first's; the rest finds other company.

    Args:
        now: the present.
        waiting: what waits.
        first: of it.
        endpoint: that sleeps.
        usd_for_starts: dollars of one instance's start-up, and how many instances would be started.
    """
    usd_per_start, starts = usd_for_starts
    until = first.latest_start_at + now - first.since
    anyway = needed_anyway(now, waiting.patient_after(until), endpoint, usd_per_start)
    return worth_waking(Decimal(waiting.saved_until(until)), Decimal(usd_per_start) * starts, anyway)


def hand_on_due(
    now: float, next_look: float, waiting: WaitingRequests, endpoint: SleepingEndpoint, usd_per_start: float
) -> Stays:
    """Hand on, one by one, requests that would have to begin before the next look and are not worth a start.

    It ends when nothing more is due, when a start pays, or at a request that only an instance can serve.

    Args:
        now: the present.
        next_look: when this is asked again if nothing happens before.
        waiting: what waits.
        endpoint: that sleeps, with the margin for the looks at it.
        usd_per_start: of one instance's start-up.

    Returns:
        Why it ended.
    """
    soon = next_look + endpoint.startup_seconds + endpoint.margin_seconds
    while (first := waiting.first_due()) is not None:
        enough_until = waiting.one_is_enough_until(endpoint)
        if enough_until > next_look:
            return Stays.NOT_DUE
        if not waiting.may_hand_on():
            return Stays.ONLY_INSTANCE
        pays = start_pays(now, waiting, first, endpoint, (usd_per_start, 1))
        # While it is not too late, there will be another look at which one instance is still enough.
        if pays and enough_until <= now:
            starts = max(1, decide_start(now, waiting.work_until(soon), (), endpoint).start)
            pays = start_pays(now, waiting, first, endpoint, (usd_per_start, starts))
        if pays:
            return Stays.START_PAYS
        waiting.hand_on()
    return Stays.NOT_DUE
