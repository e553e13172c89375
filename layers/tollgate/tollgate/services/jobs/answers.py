"""Deduplication of equal asynchronous jobs: one runs, and its answer completes the others at no cost.

Every job keeps its own record, reservation and end. When a job is about to be submitted, it looks up its cache key:
a stored answer ends it; while another job is producing one, it goes back into the queue; otherwise it takes the
key's lease and runs. If that leader fails or dies, the next of the others takes its place.
"""

from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tollgate.domain.cache.control import CacheControl
from tollgate.domain.cache.entry import (
    NOTHING_FORGOTTEN,
    CachedAnswer,
    CacheOutcome,
    CacheSlot,
    epoch_ms,
    is_complete,
    usable,
)
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import InferenceType, ModelKind
from tollgate.domain.errors import CatalogueError, NotFoundError, StorageError, UnknownModelError
from tollgate.domain.jobs.job import OPEN_STATES, Job, JobState
from tollgate.domain.near.record import filing_order
from tollgate.ports.cache import AnswerStore
from tollgate.ports.jobs import FunctionEvents, JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.price_job import JobPricing
from tollgate.services.jobs.queue_job import queue_job
from tollgate.services.jobs.results import output_of

LEASE = timedelta(minutes=15)
"""Longer than nearly every job takes. Followers also look at the leader's record and wait while it is open."""

LONGEST_FOLLOWING = timedelta(hours=1)
"""After waiting this long, a job runs regardless of the others."""

_SHORTEST_PAUSE_SECONDS = 2
_LONGEST_PAUSE_SECONDS = 60


class JobAnswers:
    """Looks up a job's key before it runs, and keeps its answer afterwards.

    `queue` is where following jobs wait; a function that only ends jobs has none. `filing` takes the orders to file
    answers for near matches, see `near_upkeep`; without it none are filed.
    """

    def __init__(
        self,
        *,
        store: AnswerStore,
        jobs: JobStore,
        objects: WholeObjectStore,
        queue: MessageQueue | None,
        catalogues: CatalogueSource,
        pricing: JobPricing,
        telemetry: Telemetry,
        clock: Clock,
        filing: FunctionEvents | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._objects = objects
        self._queue = queue
        self._catalogues = catalogues
        self._pricing = pricing
        self._telemetry = telemetry
        self._clock = clock
        self._filing = filing

    def turn(self, job: Job) -> Job | CachedAnswer | None:
        """Decide what to do with a job that is ready to be submitted.

        Returns:
            The job, to run it, with its lease where it has one; an answer, to end the job with; None where the job
            follows another and has been put back into the queue.

        Raises:
            StorageError: it could not be put back; try again later.
        """
        ticket, queue = job.cache, self._queue
        if ticket is None or queue is None:
            return job
        if self._clock.now() - job.created_at >= LONGEST_FOLLOWING:
            return job._replace(cache=None)
        try:
            # A caller who asked for a new answer does not wait for another's; without a lease, its own is not kept.
            found = self._decided(job, ticket) or (None if ticket.reads else job)
        except StorageError:
            # A job can wait; running it without a lookup could mean paying twice.
            self._telemetry.count("CacheDown")
            found = None
        if found is None:
            queue_job(queue, job, delay_seconds=self._pause(job))
        return found

    def _decided(self, job: Job, ticket: CacheTicket) -> Job | CachedAnswer | None:
        now = epoch_ms(self._clock.now())
        slot, known = self._store.read(ticket.key, ticket.scope)
        forgotten = known or NOTHING_FORGOTTEN
        if ticket.fence and slot.fence == ticket.fence:
            return job
        if slot.job_id == job.job_id and slot.is_led(now):
            # It took the lease, and its function stopped before the record said so.
            return job._replace(cache=replace(ticket, fence=slot.fence))
        if ticket.reads:
            answer = self._answer_in(slot, job, ticket, now)
            if answer is not None and not forgotten.covers(answer, job.model, ticket.namespace):
                return answer
        # A job never follows itself: one that gathers, or is held back, may outlast the lease it took.
        leader = self._jobs.get(slot.job_id) if slot.job_id not in {"", job.job_id} else None
        if leader is not None and leader.cache is not None and leader.cache.key == ticket.key:
            if leader.state in OPEN_STATES:
                return job._replace(cache=None) if _has_more_time(leader, job) else None
            if leader.state is JobState.COMPLETED and ticket.reads and slot.answer is None and slot.is_led(now):
                answer = self._answer_of(leader, leader.cache, now)
                if answer is not None and not forgotten.covers(answer, job.model, ticket.namespace):
                    return answer
            # It has ended, and its function stopped before giving the lease back.
            self._store.release(replace(ticket, fence=slot.fence))
            slot = replace(slot, lease_until_ms=0)
        return None if slot.is_led(now) else self._lead(job, ticket, slot, now)

    def ended(self, job: Job, output: Any, worth: Decimal | None) -> None:
        """Keep the answer of a job that led, or give its lease back. Never raises: the lease expires by itself.

        Jobs of a transform run take no lease, because they all run at once; their answers are kept all the same.
        """
        ticket = job.cache
        if ticket is None or not (ticket.fence or job.inference_type is InferenceType.BATCH):
            return
        now = epoch_ms(self._clock.now())
        try:
            if job.state is JobState.COMPLETED and is_complete(output, self._kind(job)):
                fresh_ms = now + ticket.ttl_seconds * 1000
                answer = CachedAnswer(
                    output=output,
                    usage=job.usage,
                    resource=job.resource,
                    worth=worth,
                    began_ms=ticket.began_ms,
                    made_ms=now,
                    fresh_ms=fresh_ms,
                    kept_ms=fresh_ms + ticket.kept_seconds * 1000,
                )
                if self._store.store(ticket, answer):
                    self._file(job, ticket, answer)
                    return
            if ticket.fence:
                self._store.release(ticket)
        except (StorageError, ValueError):
            self._telemetry.count("CacheWriteFailed")

    def _file(self, job: Job, ticket: CacheTicket, answer: CachedAnswer) -> None:
        """Order the filing of a kept answer, so that differently worded questions can find it."""
        if self._filing is None or not ticket.context:
            return
        order = filing_order(job.model, ticket.key, ticket.context, ticket.prompt, answer)
        try:
            self._filing.send({**order, "traceparent": job.traceparent})
        except StorageError:
            self._telemetry.count("CacheNearDown")

    def _answer_in(self, slot: CacheSlot, job: Job, ticket: CacheTicket, now: int) -> CachedAnswer | None:
        if slot.answer is None:
            return None
        try:
            policy = self._catalogues.current().model(job.model).cache
        except (CatalogueError, UnknownModelError):
            return None
        wishes = CacheControl(ttl_seconds=ticket.ttl_seconds)
        if policy is None or usable(slot.answer, wishes, policy, now) is not CacheOutcome.HIT:
            return None
        return slot.answer

    def _answer_of(self, leader: Job, led: CacheTicket, now: int) -> CachedAnswer | None:
        """The answer of a job that ended without keeping it; None if its result is gone."""
        try:
            output = output_of(leader, self._objects)
        except NotFoundError:
            return None
        worth = self._pricing.worth(leader)
        return CachedAnswer(output, leader.usage, leader.resource, worth, led.began_ms, now, now, now)

    def _lead(self, job: Job, ticket: CacheTicket, slot: CacheSlot, now: int) -> Job | None:
        """The job with the lease, None if another has it by now."""
        until = now + int(LEASE.total_seconds() * 1000)
        # Urgent requests for the same key do not wait for a job, so the lease must show that a job holds it.
        there = self._store.lead(ticket.key, slot, scope=ticket.scope, now_ms=now, until_ms=until, job_id=job.job_id)
        return None if there is not None else job._replace(cache=replace(ticket, fence=slot.fence + 1, began_ms=now))

    def _kind(self, job: Job) -> ModelKind:
        try:
            return self._catalogues.current().model(job.model).kind
        except (CatalogueError, UnknownModelError):
            return ModelKind.ANY

    def _pause(self, job: Job) -> int:
        """Seconds until the next look: half the time the job has already waited."""
        waited = (self._clock.now() - job.created_at).total_seconds()
        return int(min(_LONGEST_PAUSE_SECONDS, max(_SHORTEST_PAUSE_SECONDS, waited / 2)))


def _has_more_time(leader: Job, job: Job) -> bool:
    """Whether the leader may gather at its endpoint for so long that this job would miss its deadline."""
    if leader.state is not JobState.QUEUED or leader.deployment == job.deployment or leader.deadline_at is None:
        return False
    return job.deadline_at is not None and leader.deadline_at > job.deadline_at
