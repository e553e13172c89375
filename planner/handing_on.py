"""The endpoint of `planner.keeping` that hands on to a deployment paid by the token.

The same rule (`tollgate.domain.places.handing_on`) decides as in the capacity function, on the same looks, about the
same requests.
"""

import math
from array import array
from collections.abc import Iterable
from copy import replace
from dataclasses import dataclass

from planner.keeping import HAND_OVER_SECONDS, Kept
from planner.serving import Served
from planner.waking import Requests
from tollgate.domain.places.handing_on import HAND_ON_LIMIT, MESSAGE_DELAY_SECONDS, FirstDue, Patient, hand_on_due
from tollgate.domain.places.sleeping import LATE_SECONDS, TICK_SECONDS, Action, Phase, SleepDecision
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint, decide_start
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS


@dataclass(frozen=True, slots=True)
class Tokens:
    """The deployment that is paid by the token.

    Attributes:
        saved: dollars that instance time saves on each request against it.
        seconds: how long each takes there.
        usd_per_start: of the start-up of one instance of the endpoint.
    """

    saved: "array[float]"
    seconds: "array[float]"
    usd_per_start: float


def serve_handing_on(requests: Requests, endpoint: SleepingEndpoint, tokens: Tokens) -> Served:
    """Serve every request by the endpoint or by the tokens; `Served.elsewhere` tells by which.

    Args:
        requests: in order of arrival; `expected` is the longest that each may take.
        endpoint: whose margin is the policy's own.
        tokens: that it hands on to.
    """
    kept = _HandingOn(requests, endpoint, tokens)
    kept.run()
    return kept.served


class _HandingOn(Kept):
    """The endpoint, and what waits for it as the rule sees it."""

    def __init__(self, requests: Requests, endpoint: SleepingEndpoint, tokens: Tokens) -> None:
        super().__init__(requests, endpoint)
        self._tokens = tokens
        self._policy, self._limit = replace(self._policy, hand_on_to="tokens"), HAND_ON_LIMIT
        margin = self._policy.gather_margin_seconds + LATE_SECONDS
        self._watched = replace(endpoint, margin_seconds=margin)
        self._now = 0.0
        self.served.elsewhere = bytearray(len(requests.arrivals))

    def _decide(self, phase: Phase, now: float) -> SleepDecision:
        if phase is Phase.ASLEEP and len(self._waiting) <= self._limit:
            self._now = now
            hand_on_due(now, now + TICK_SECONDS, self, self._watched, self._tokens.usd_per_start)
            if not self._waiting:
                return SleepDecision(Action.STAY, "nobody waits")
        return super()._decide(phase, now)

    def _saved(self, position: int) -> float:
        # Who can be served by an instance only will have one started.
        tokens = self._tokens
        return tokens.usd_per_start if tokens.seconds[position] > TOKEN_JOB_SECONDS else tokens.saved[position]

    def first_due(self) -> FirstDue | None:
        if not self._waiting:
            return None
        latest, position = self._waiting.first
        return FirstDue(self._arrivals[position], latest)

    def work_until(self, soon: float) -> Iterable[DueWork]:
        return self._waiting.due(places=self._endpoint.concurrency, in_work=0.0, wait=soon, up_from=None)

    def one_is_enough_until(self, endpoint: SleepingEndpoint) -> float:
        places = self._endpoint.concurrency
        work = self._waiting.due(places=places, in_work=0.0, wait=-math.inf, up_from=None)
        return decide_start(-math.inf, work, (), endpoint).look_again_at

    def saved_until(self, latest: float) -> float:
        return self._waiting.saved_until(latest)

    def patient_after(self, latest: float) -> Patient | None:
        found = self._waiting.patient(latest)
        return None if found is None else Patient(*found)

    def may_hand_on(self) -> bool:
        _, position = self._waiting.first
        seconds = self._tokens.seconds[position]
        end = self._arrivals[position] + self._patience[position]
        return seconds <= TOKEN_JOB_SECONDS and self._now + MESSAGE_DELAY_SECONDS + seconds <= end

    def hand_on(self) -> None:
        position = self._waiting.pop()
        self.served.elsewhere[position] = True
        begins = self._now + MESSAGE_DELAY_SECONDS + HAND_OVER_SECONDS
        self.served.ends[position] = begins + self._tokens.seconds[position]
