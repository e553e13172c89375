"""Whether a deployment's real-time road is fit to be called: a circuit breaker over errors, throttles and latency.

Calls are counted with weights that halve every few seconds, so that old trouble fades without a timer and a busy and a
quiet environment judge by the same rule. A circuit that has opened lets nothing through for a while, then one probe;
each probe that fails doubles the while. (M. Nygard, "Release It!", 2nd ed., 5.2.)

Also how often another deployment may be tried instead. Every request earns a tenth of a token, and every second try
takes a whole one. Whatever fails, an environment therefore sends at most 1.1 times its requests, plus once what the
bucket holds: no storm of retries can keep a struggling backend down. (Finagle's retry budgets; 10 % is also what
https://sre.google/sre-book/handling-overload/ allows.)
"""

from enum import StrEnum
from typing import NamedTuple

EARNED_PER_REQUEST = 0.1
MOST_TOKENS = 10.0
FIRST_TOKENS = 1.0

_HALF_LIFE_SECONDS = 30.0
_MOST_OPEN_SECONDS = 120.0


class CallOutcome(StrEnum):
    """How a call to a deployment went. A model that refuses its input is fit: that is `OK`."""

    OK = "ok"
    SLOW = "slow"
    FAILED = "failed"
    THROTTLED = "throttled"
    TIMED_OUT = "timed_out"
    NO_CAPACITY = "no_capacity"


class Fitness(StrEnum):
    """What a circuit says.

    `SLOW`: answers, but too slowly; used only where nothing quicker is there. `PROBING`: the next call decides.
    """

    FIT = "fit"
    SLOW = "slow"
    BROKEN = "broken"
    PROBING = "probing"


class HealthPolicy(NamedTuple):
    """When a deployment counts as broken or slow, and who stands in for it.

    Attributes:
        fallback: deployments of the same model, tried in this order when the chosen one fails or is broken.
        least_calls: nothing is judged by fewer calls than this (weighted by age).
        error_percent: of calls that failed, were throttled, timed out or found no capacity.
        slow_seconds: a call that takes longer counts as slow; None judges no latency.
        slow_percent: of slow calls, from which on the deployment is avoided where there is another.
        open_seconds: of the first pause; it doubles up to two minutes.
    """

    fallback: tuple[str, ...] = ()
    least_calls: int = 5
    error_percent: float = 50.0
    slow_seconds: float | None = None
    slow_percent: float = 80.0
    open_seconds: float = 10.0


DEFAULT_HEALTH = HealthPolicy()


class Circuit(NamedTuple):
    """What is remembered of one deployment. Times are seconds of a clock that only goes forward.

    Attributes:
        calls: weighted number of calls, as of `at`; `bad` and `slow` of them.
        openings: pauses in a row without a good call after them; 0 while closed.
        open_until: end of the present pause.
        for_slowness: whether the present pause is only about latency.
    """

    calls: float = 0.0
    bad: float = 0.0
    slow: float = 0.0
    at: float = 0.0
    openings: int = 0
    open_until: float = 0.0
    for_slowness: bool = False

    def fitness(self, now: float) -> Fitness:
        """What may be expected of a call at this moment."""
        if not self.openings:
            return Fitness.FIT
        if now >= self.open_until:
            return Fitness.PROBING
        return Fitness.SLOW if self.for_slowness else Fitness.BROKEN

    def after(self, outcome: CallOutcome, now: float, policy: HealthPolicy) -> "Circuit":
        """The circuit after one more call, which ended at `now`."""
        good = outcome is CallOutcome.OK
        if self.openings:
            return self._probed(outcome, now, policy)
        weight = 2.0 ** ((self.at - now) / _HALF_LIFE_SECONDS)
        slow = outcome is CallOutcome.SLOW
        counted = Circuit(
            calls=self.calls * weight + 1.0,
            bad=self.bad * weight + (not good and not slow),
            slow=self.slow * weight + slow,
            at=now,
        )
        return counted if good else counted.judged(now, policy)

    def judged(self, now: float, policy: HealthPolicy) -> "Circuit":
        """The same, opened if the calls counted say so."""
        # Ten failures in a row weigh a little less than ten, because the first are older.
        if self.calls < policy.least_calls * 0.9:
            return self
        if self.bad * 100.0 >= policy.error_percent * self.calls:
            return opened(1, now, policy)
        if self.slow * 100.0 >= policy.slow_percent * self.calls:
            return opened(1, now, policy, for_slowness=True)
        return self

    def _probed(self, outcome: CallOutcome, now: float, policy: HealthPolicy) -> "Circuit":
        if outcome is CallOutcome.OK:
            return Circuit(calls=1.0, at=now)
        if now < self.open_until:
            return self  # it began before the pause did, or nothing else was left to call
        return opened(self.openings + 1, now, policy, for_slowness=outcome is CallOutcome.SLOW)


CLOSED = Circuit()


def opened(times: int, now: float, policy: HealthPolicy, *, for_slowness: bool = False) -> Circuit:
    """A circuit that has just opened, for the `times`-th time in a row."""
    pause = min(_MOST_OPEN_SECONDS, policy.open_seconds * 2.0 ** min(times - 1, 10))
    return Circuit(at=now, openings=times, open_until=now + pause, for_slowness=for_slowness)


def warned(circuit: Circuit, now: float) -> Circuit:
    """A circuit whose deployment somebody else found broken: once it may be called, the first call decides."""
    return circuit if circuit.openings else CLOSED._replace(at=now, openings=1, open_until=now)


class RetryTokens:
    """The bucket of second tries of one execution environment."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: float = FIRST_TOKENS) -> None:
        self._tokens = tokens

    @property
    def tokens(self) -> float:
        """What is left."""
        return self._tokens

    def earn(self) -> None:
        """Count a request that has come."""
        self._tokens = min(MOST_TOKENS, self._tokens + EARNED_PER_REQUEST)

    def take(self) -> bool:
        """Whether one second try is allowed; if so, it is paid for."""
        # The sum of ten tenths is a little less than one.
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens = max(0.0, self._tokens - 1.0)
        return True
