"""Hands jobs that gathered at a sleeping endpoint, and are not worth its start, to a token-priced provider.

A job is handed on by one conditional write, which names the other deployment, reserves the most that the call can cost,
and says why. The write is refused if the job has been claimed, cancelled or handed on meanwhile, or if a budget lacks
the money; then the job stays. Its message is sent before the write, to arrive after it: should this function die in
between, the message finds a job that still gathers and does nothing, and the next look hands it on.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from tollgate.domain.budgets.budget import BudgetPeriod, Spender, applied_budgets
from tollgate.domain.budgets.ledger import Change, top_up
from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType
from tollgate.domain.costs.gateway_parts import GatewayRates, gateway_rates
from tollgate.domain.costs.pricing import instance_cost
from tollgate.domain.errors import InvalidRequestError, LedgerRefusedError, StorageError, TollgateError
from tollgate.domain.jobs.job import Job
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO, seconds
from tollgate.domain.places.handing_on import (
    HAND_ON_LIMIT,
    MESSAGE_DELAY_SECONDS,
    FirstDue,
    Patient,
    Stays,
    hand_on_due,
)
from tollgate.domain.places.sleeping import TICK_SECONDS
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint
from tollgate.domain.providers.charges import expected_token_cost, token_ask
from tollgate.domain.roads.capacity import RoadState
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS, output_limit
from tollgate.ports.dialects import Dialects
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CapacitySource, CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.job_requests import stored_input
from tollgate.services.jobs.queue_job import queue_job
from tollgate.services.places.work import GatheredJob, HandedOn

_REMEMBERED = 5 * HAND_ON_LIMIT
"""Calls whose cost was worked out; a waiting job is looked at each minute, but read only once."""

_UNFIT = frozenset({RoadState.BROKEN, RoadState.SLOW})


class _Call(NamedTuple):
    """A job's call at a provider: seconds, the extra dollars it is expected to cost there, and the most it can cost."""

    seconds: float
    expected: Decimal
    most: Decimal


class _Taker(NamedTuple):
    """A deployment to hand on to, and the catalogue that names it."""

    deployment: Deployment
    catalogue: Catalogue


class _Offer(NamedTuple):
    """A provider's terms for a job.

    Attributes:
        taker: the deployment, and its catalogue.
        most: dollars that the job can cost there at most.
        saved: dollars that instance time is expected to save against it.
    """

    taker: _Taker
    most: Decimal
    saved: float


class _TooDearError(Exception):
    """No budget has room for the most that a call can cost."""


class HandingOn:
    """Hands jobs on. `queue` is that of the asynchronous road, which redirects such jobs."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        queue: MessageQueue,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        dialects: Dialects,
        gate: BrakeGate,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._read: dict[tuple[str, str, int], _Call | None] = {}
        self._jobs = jobs
        self._objects = objects
        self._queue = queue
        self._catalogues = catalogues
        self._capacities = capacities
        self._dialects = dialects
        self._gate = gate
        self._telemetry = telemetry
        self._clock = clock

    def due(self, gathered: Sequence[GatheredJob], endpoint: SleepingEndpoint, now: datetime) -> HandedOn:
        """Hand on the jobs that must begin before the next minute's look and are not worth a start.

        Args:
            gathered: the jobs of one place, by latest start.
            endpoint: the place, asleep.
            now: the present.

        Raises:
            CatalogueError, StorageError: the catalogue cannot be read.
        """
        prices = [one.road.usd_per_hour for one in gathered]
        known = [price for price in prices if price is not None]
        if not known or len(known) < len(prices):
            return HandedOn(gathered)  # The cost of a start is unknown.
        usd_per_start = float(instance_cost(seconds(endpoint.startup_seconds), min(known), 1))
        waiting = _Waiting(gathered, endpoint.concurrency, usd_per_start, self, now)
        stays = hand_on_due(now.timestamp(), now.timestamp() + TICK_SECONDS, waiting, endpoint, usd_per_start)
        if waiting.handed_on:
            self._telemetry.count("HandedOn", waiting.handed_on)
        elif stays is Stays.NOT_DUE:
            return HandedOn(waiting.left)  # The cost of tokens was not needed.
        return HandedOn(waiting.left, waiting.handed_on, stays, usd_per_start, *waiting.extra)

    def taker(self, giver: Deployment) -> _Taker | None:
        """The deployment that takes over jobs from this one; None while circuit or brakes block it.

        Raises:
            CatalogueError, StorageError: the catalogue cannot be read.
        """
        catalogue = self._catalogues.current()
        model = catalogue.model(giver.model)
        found = model.deployment("" if giver.sleep is None else giver.sleep.hand_on_to)
        capacity = self._capacities.snapshot()
        if found is None or any(capacity.of(found.resource, kind).state in _UNFIT for kind in found.roads):
            return None
        try:
            if self._gate.holds_back(catalogue, found.resource):
                return None
            offered = self._gate.offered(catalogue, model)[0].deployment(found.name)
        except TollgateError:
            return None  # Stopped, or unknown.
        return None if offered is None else _Taker(offered, catalogue)

    def offer(self, gathered: GatheredJob, taker: _Taker, now: datetime) -> _Offer | None:
        """That deployment's terms for the job; None if only an instance can serve it, or the terms are unknown."""
        job, (deployment, catalogue) = gathered.job, taker
        # A lease, even an expired one, may mean that SageMaker has the job. Jobs that wait for a real-time endpoint
        # have another queue.
        if job.submit_lease_until is not None or job.inference_type is not InferenceType.ASYNC:
            return None
        if job.held_seconds is not None:
            return None  # Its group has failed: instance time already spent on it is settled at an instance's price.
        name = job.job_id, deployment.resource, catalogue.version
        if name not in self._read:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            try:
                self._read[name] = self._call_for(job, deployment, gateway_rates(catalogue.gateway_prices))
            except StorageError:
                return None  # The next look may be able to read it.
        call = self._read[name]
        if call is None or call.seconds > TOKEN_JOB_SECONDS:
            return None
        if now.timestamp() + MESSAGE_DELAY_SECONDS + call.seconds > gathered.end.timestamp():
            return None
        road = gathered.road
        work = instance_cost(seconds(gathered.work.place_seconds), road.usd_per_hour or ZERO, road.concurrency)
        return _Offer(taker, call.most, float(call.expected - work))

    def _call_for(self, job: Job, taker: Deployment, rates: GatewayRates) -> _Call | None:
        """The job as a call to that deployment; None if its tokens have no upper bound.

        Raises:
            StorageError: its input cannot be read.
        """
        road = taker.roads.get(InferenceType.ASYNC)
        if road is None or road.tokens is None:
            return None
        try:
            value = stored_input(job.input, self._objects)
            request = self._dialects.of(taker).render(value, job.parameters)
            ask = token_ask(road, request.most, rates, len(request.body), lambda_gb_seconds=ZERO)
        except InvalidRequestError:
            return None
        read, limit = len(json_text(value)) // 4, output_limit(job.parameters, value)
        made = min(taker.timing.expected_output_tokens if limit is None else limit, road.tokens.max_output_tokens)
        held = taker.timing.expected_seconds(read, made)
        expected = expected_token_cost(road.tokens, read, made) + rates.waiting(held) + rates.handed_on()
        return _Call(held, expected, ask.amount + rates.handed_on())

    def hand_on(self, gathered: GatheredJob, offer: _Offer) -> bool | None:
        """Hand a job on.

        Returns:
            True if that was done; None if the job has been changed by another function; False if it has to stay.
        """
        job, now, taker = gathered.job, self._clock.now(), offer.taker.deployment
        catalogue = self._catalogues.current()
        if catalogue.version != offer.taker.catalogue.version:
            return False  # The provider and rates in this one were not looked at.
        rates = gateway_rates(catalogue.gateway_prices)
        moved = job._replace(
            deployment=taker.name,
            catalogue_version=catalogue.version,  # a function with an older copy reads it anew
            route_reason=f"{job.route_reason};handed_on={taker.name}",
            earlier_parts=(job.earlier_parts or ZERO) + rates.handed_on(),
        )
        try:
            charges: Sequence[Change] = ()
            if job.reservation is not None and offer.most > job.reservation.amount:
                more = offer.most - job.reservation.amount
                charges = tuple(_charges(job, more, offer.most, catalogue, now))
                moved = moved._replace(reservation=job.reservation._replace(amount=offer.most, seconds=None))
            queue_job(self._queue, moved, delay_seconds=MESSAGE_DELAY_SECONDS)
            done = self._jobs.hand_on(moved, was=gathered.deployment.name, charges=charges)
        except (_TooDearError, LedgerRefusedError):
            self._telemetry.count("HandOnRefused")
            return False
        except StorageError as error:
            # It may have been done; the next look will show.
            self._telemetry.log("WARNING", "job not handed on", job_id=job.job_id, reason=error.message)
            return False
        if not done:
            return None
        self._telemetry.log("INFO", "job handed on", job_id=job.job_id, deployment=moved.resource)
        return True


def _charges(job: Job, more: Decimal, most: Decimal, catalogue: Catalogue, now: datetime) -> Iterable[Change]:
    """The writes that hold additional money for a job, under today's limits.

    Raises:
        _TooDearError: a single request may not cost that much.
    """
    reservation = job.reservation
    if reservation is None:
        return
    workflow = "" if reservation.call is None else reservation.call.workflow
    spender = Spender(job.owner.tenant, job.owner.key_id, job.owner.team, job.model, workflow)
    budgets = applied_budgets(catalogue.budgets, spender, now)
    for applied in budgets:
        limit = applied.budget.ceiling_at(now)
        alone = applied.budget.period is BudgetPeriod.REQUEST and not applied.budget.shadow
        if alone and limit is not None and most > limit:
            raise _TooDearError
    # A reservation counts in the period in which the job came, which may be over.
    then = applied_budgets(catalogue.budgets, spender, job.created_at)
    present = {applied.counter: applied.budget for applied in (*then, *budgets) if applied.counter}
    for hold in reservation.holds:
        budget = present.get(hold.counter)
        if budget is not None:
            yield top_up(reservation, hold._replace(ceiling=None if budget.shadow else budget.ceiling_at(now)), more)
        else:
            yield top_up(reservation, hold, more)


class _Waiting:
    """Gathered jobs as the rule sees them; the provider's terms are worked out only when something is due."""

    def __init__(
        self, gathered: Sequence[GatheredJob], places: int, usd_per_start: float, handing_on: HandingOn, now: datetime
    ) -> None:
        self.handed_on = 0
        self._jobs = gathered
        self._places = places
        self._first = 0
        self._latest = [one.work.latest_start_at for one in gathered]
        self._work_before = list(accumulate((one.work.place_seconds for one in gathered), initial=0.0))
        # The least of latest start less the work up to it, of each job and all after it. With thousands of jobs, going
        # through them again for each that is handed on would take seconds.
        slack = [latest - work / places for latest, work in zip(self._latest, self._work_before[1:], strict=True)]
        self._least_slack = list(accumulate(reversed(slack), min))[::-1]
        self._usd_per_start = usd_per_start
        self._handing_on = handing_on
        self._now = now
        self._takers: dict[str, _Taker | None] = {}
        self._refused = -1

    @property
    def left(self) -> Sequence[GatheredJob]:
        """Jobs that still gather."""
        return self._jobs[self._first :]

    @property
    def extra(self) -> tuple[float, float]:
        """Dollars that tokens cost beyond instance time, for jobs handed on and for those left."""
        gone = self._saved_before[self._first]
        return gone, self._saved_before[-1] - gone

    def first_due(self) -> FirstDue | None:
        if self._first == len(self._jobs):
            return None
        return FirstDue(self._jobs[self._first].job.created_at.timestamp(), self._latest[self._first])

    def work_until(self, soon: float) -> Iterable[DueWork]:
        all_of_it = (self._work_before[-1] - self._work_before[self._first]) / self._places
        return (one.work for one in self._jobs[self._first : bisect_right(self._latest, soon + all_of_it)])

    def one_is_enough_until(self, endpoint: SleepingEndpoint) -> float:
        work_gone = self._work_before[self._first] / self._places
        return self._least_slack[self._first] + work_gone - endpoint.startup_seconds - endpoint.margin_seconds

    def saved_until(self, latest: float) -> float:
        return self._saved_before[bisect_right(self._latest, latest)] - self._saved_before[self._first]

    def patient_after(self, latest: float) -> Patient | None:
        begin = bisect_right(self._latest, latest)
        if begin == len(self._jobs):
            return None
        saved = self._saved_before[-1] - self._saved_before[begin]
        return Patient(self._jobs[begin].job.created_at.timestamp(), self._latest[begin], saved)

    def may_hand_on(self) -> bool:
        return self._refused != self._first and self._offers[self._first] is not None

    def hand_on(self) -> None:
        offer = self._offers[self._first]
        done = False if offer is None else self._handing_on.hand_on(self._jobs[self._first], offer)
        if done is False:
            self._refused = self._first
            return
        self.handed_on += done is True
        self._first += 1

    @cached_property
    def _offers(self) -> Sequence[_Offer | None]:
        return [self._offer(one) for one in self._jobs]

    @cached_property
    def _saved_before(self) -> Sequence[float]:
        """Dollars that instance time saves on all jobs before each one. A job that needs an instance starts one."""
        each = (self._usd_per_start if offer is None else offer.saved for offer in self._offers)
        return list(accumulate(each, initial=0.0))

    def _offer(self, gathered: GatheredJob) -> _Offer | None:
        giver = gathered.deployment
        if giver.resource not in self._takers:
            self._takers[giver.resource] = self._handing_on.taker(giver)
        taker = self._takers[giver.resource]
        return None if taker is None else self._handing_on.offer(gathered, taker, self._now)
