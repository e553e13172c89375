"""The endpoint of `planner.waking` beside a backend that is paid by the token, and transform jobs in its place.

A request waits for company where the hope of an instance is worth more than what waiting costs; the others go to the
tokens at once. What waited for company in vain goes there when it is due. Requests that are patient pay for a start
sooner or later; it comes early where that saves tokens. Where they are alone, a transform job serves them.
"""

import math
from array import array
from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush, heapreplace

from planner.serving import AT_ONCE, HELD, IN_JOB, Served
from planner.waking import Lately, Requests, Sleeper
from tollgate.domain.job_or_endpoint import job_is_cheaper
from tollgate.domain.wake_by_deadline import SleepingEndpoint, worth_holding, worth_waking

_HALF_A_DAY = 43_200.0
_FORGETTING = 0.999
_AS_IF_SEEN = 100.0
_RESERVE = 1.25
"""A job is planned as if a quarter more than what waits came until it is created."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A backend that is paid by the token, beside the endpoint, and what else its requests cost.

    Attributes:
        usd: what each request costs there, its gateway parts included, less a job's.
        holding_usd: what each one's gateway parts cost more if it goes there after it has waited.
        seconds: how long each takes there.
        usd_per_place_second: of a place that is fully used.
        usd_per_start: of an instance's start-up.
        job_startup: seconds of a transform job, which may serve what waits in the endpoint's place; None without.
        less_in_job: dollars that the gateway's own parts of a request are less in a transform job.
    """

    usd: "array[float]"
    holding_usd: "array[float]"
    seconds: "array[float]"
    usd_per_place_second: float
    usd_per_start: float
    job_startup: float | None = None
    less_in_job: float = 0.0


def serve_sharing(requests: Requests, endpoint: SleepingEndpoint, tokens: Tokens) -> Served:
    """Serve every request by the endpoint or by the tokens beside it; `Served.elsewhere` tells by which."""
    sharer = _Sharer(requests, endpoint, tokens)
    sharer.run()
    return sharer.served


class _Sharer(Sleeper):
    def __init__(self, requests: Requests, endpoint: SleepingEndpoint, tokens: Tokens) -> None:
        super().__init__(requests, endpoint)
        self._tokens = tokens
        self._start_usd = Decimal(tokens.usd_per_start)
        self._saved_lately: dict[float, Lately] = {}
        self._waits = bytearray(len(requests.arrivals))
        self._patient: list[tuple[float, int]] = []  # by latest start; those who wait no longer are dropped later
        self._no_job = -1
        self._hopes = array("d", bytes(8 * len(requests.arrivals)))
        self._hoped = self._came_true = _AS_IF_SEEN
        self.served.elsewhere = bytearray(len(requests.arrivals))

    def _wait(self, position: int, now: float, deadline: float, latest: float) -> bool:
        work, tokens = self._expected[position], self._tokens
        saved = tokens.usd[position] - work * tokens.usd_per_place_second
        if not self._joins(position, now, deadline, latest, saved):
            self._send_elsewhere(position, now)
            return False
        self._waiting.add(position, now, latest, work, saved)
        self._waits[position] = 1
        if deadline >= min(_HALF_A_DAY, 2 * self._work_lately.seconds):
            heappush(self._patient, (latest, position))
        return True

    def _joins(self, position: int, now: float, deadline: float, latest: float, saved: float) -> bool:
        """Whether a request waits for an instance, where it could be paid by the token at once."""
        endpoint = self._endpoint
        if saved <= 0:
            return False
        lately = self._saved_lately.get(deadline)
        if lately is None:
            lately = self._saved_lately[deadline] = Lately(deadline)
        lately.add(now, saved)
        if latest - endpoint.margin_seconds - endpoint.startup_seconds <= now:  # too late for one more instance
            return bool(self._up) and self._places[0] <= now
        if self._up:
            return True
        came, own = Decimal(lately.total), Decimal(saved * self._came_true / self._hoped)
        holding = Decimal(self._tokens.holding_usd[position])
        anyway = 0.0
        if not worth_holding(came, self._start_usd, own=own, holding=holding):
            anyway = self._needed_anyway(now, latest + deadline)
            if anyway <= 0 or not worth_holding(came, self._start_usd, anyway, own=own, holding=holding):
                return False
        wanted = self._tokens.usd_per_start * (1.0 - anyway)
        self._hopes[position] = min(1.0, lately.total / wanted) if wanted > 0 else 1.0
        return True

    def _learn(self, position: int, served: bool) -> None:
        """How often an instance came, against how often it was hoped for; what is long ago counts less."""
        hope = self._hopes[position]
        if hope:
            self._hoped = self._hoped * _FORGETTING + hope
            self._came_true = self._came_true * _FORGETTING + served

    def _started(self, position: int) -> None:
        self._waits[position] = 0
        self._learn(position, served=True)

    def _expect(self, now: float, latest: float, work: float) -> None:
        super()._expect(now, latest, work)
        self._look_at = min(self._look_at, max(now, self._job_due()))

    def _starts_early(self, _now: float) -> bool:
        """Not beside tokens, which take what one instance cannot do in time."""
        return False

    def _look(self, now: float) -> None:
        if self._job_due() <= now:
            if self._pays(now, 1) and self._job_instead(now, self._patient[0][0]):
                self._run_job(now)
            else:
                self._no_job = self._patient[0][1]
        super()._look(now)
        self._look_at = min(self._look_at, max(now + 1.0, self._job_due()))

    def _instead(self, now: float, starts: int) -> bool:
        if not self._pays(now, starts):
            self._send_elsewhere(self._waiting.pop(), now)
            return True
        latest, position = self._waiting.first
        in_time = self._job_ends(now) <= latest + self._expected[position]
        if in_time and not self._ready and self._job_instead(now, latest):
            self._run_job(now)
            return True
        return False

    def _pays(self, now: float, starts: int) -> bool:
        """Counted is what would be due before the present wait has passed once more; the rest finds other company."""
        latest, position = self._waiting.first
        until = latest + now - self._arrivals[position]
        saved = self._waiting.saved_until(until)
        return worth_waking(Decimal(saved), self._start_usd * starts, self._needed_anyway(now, until))

    def _needed_anyway(self, now: float, until: float) -> float:
        """How much of their patience those have used who are not due by then, if they will pay for a start."""
        patient = self._waiting.patient(until)
        if patient is None or self._up:
            return 0.0
        since, latest, saved = patient
        due = latest - self._endpoint.startup_seconds - self._endpoint.margin_seconds
        used = min(1.0, (now - since) / (due - since)) if due > since else 1.0
        return used if saved >= used * self._tokens.usd_per_start else 0.0

    def _send_elsewhere(self, position: int, now: float) -> None:
        if self._waits[position]:
            self._waits[position] = 0
            self._learn(position, served=False)
        self.served.elsewhere[position] = AT_ONCE if now <= self._arrivals[position] else HELD
        self.served.ends[position] = now + self._tokens.seconds[position]

    def _job_due(self) -> float:
        """The last moment at which a job of all that waits is in time for those who are patient."""
        startup, patient = self._tokens.job_startup, self._patient
        if startup is None or self._ready:
            return math.inf
        while patient and not self._waits[patient[0][1]]:
            heappop(patient)
        if not patient or patient[0][1] == self._no_job:
            return math.inf
        latest, position = patient[0]
        ends = latest + self._expected[position] - self._endpoint.margin_seconds
        return ends - startup - _RESERVE * self._job_seconds

    @property
    def _job_seconds(self) -> float:
        """For which a job of all that waits works at most: no place is idle until the last request starts."""
        return self._waiting.work / self._endpoint.concurrency + self._waiting.longest

    def _job_ends(self, now: float) -> float:
        """When a job that is created now has brought its answers back; infinite without that road."""
        startup = math.inf if self._tokens.job_startup is None else self._tokens.job_startup
        return now + startup + self._job_seconds + self._endpoint.margin_seconds

    def _job_instead(self, now: float, latest: float) -> bool:
        """Whether a job serves what waits for less than an endpoint that wakes for this latest start."""
        tokens, endpoint = self._tokens, self._endpoint
        share = (tokens.job_startup or 0.0) / endpoint.startup_seconds
        lately = sum(one.total / one.seconds for one in self._saved_lately.values() if one.seconds < _HALF_A_DAY)
        wakes = max(now, latest - endpoint.margin_seconds - endpoint.startup_seconds)
        return job_is_cheaper(
            endpoint_start=self._start_usd,
            job_start=self._start_usd * Decimal(share),
            requests=len(self._waiting),
            less_in_job=Decimal(tokens.less_in_job),
            saved_per_second=Decimal(lately),
            endpoint_seconds=wakes - now + endpoint.startup_seconds + self._job_seconds,
        )

    def _run_job(self, now: float) -> None:
        """Serve what waits in a job, but for those whose deadline is before its end; they wait on."""
        waiting, served = self._waiting, self.served
        ready, planned = now + (self._tokens.job_startup or 0.0), self._job_ends(now)
        records = []
        for latest, position, work, saved in [waiting.take() for _ in range(len(waiting))]:
            if latest + work < planned:
                waiting.add(position, self._arrivals[position], latest, work, saved)
            else:
                records.append(position)
        free = [ready] * self._endpoint.concurrency
        for position in sorted(records, key=self._held.__getitem__, reverse=True):
            heapreplace(free, free[0] + self._held[position])
        end = max(free)
        for position in records:
            self._started(position)
            served.ends[position] = end
            served.elsewhere[position] = IN_JOB
        served.job_seconds += end - now
        served.job_starts += 1
        served.job_changes += [(now, 1), (end, -1)]
