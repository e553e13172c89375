"""Accepts a request as a job, to be run later: on the asynchronous or batch road, or when its endpoint is awake."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import INLINE_INPUT_BYTES
from tollgate.domain.costs.settlement import settle
from tollgate.domain.errors import (
    BodyTooLargeError,
    BudgetExceededError,
    ConflictError,
    NotFoundError,
    OutcomeUnknownError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobState, Payload
from tollgate.domain.json_values import compact_json
from tollgate.domain.money import ZERO, seconds, usd
from tollgate.ports.idempotency import REMEMBERED
from tollgate.services.jobs.queue_job import queue_job
from tollgate.services.requests.plan import Accepted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from tollgate.domain.budgets.ledger import LedgerWrite
    from tollgate.domain.roads.estimates import RoadEstimate
    from tollgate.ports.jobs import JobStore, MessageQueue
    from tollgate.ports.objects import WholeObjectStore
    from tollgate.ports.system import Clock, IdSource
    from tollgate.services.requests.admission import Admission
    from tollgate.services.requests.plan import Plan
    from tollgate.services.requests.trail import Trail

MOST_PARAMETER_BYTES = 64_000
"""Of a job's parameters, which are stored in its record. A DynamoDB item holds 400 KB: a record without room for the
job's end could never be ended or charged, and functions with little memory read many records at a time."""


class JobAcceptance:
    """Writes a request down as a job, holding its money, and queues it."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        queues: Mapping[InferenceType, MessageQueue],
        objects: WholeObjectStore,
        admission: Admission,
        clock: Clock,
        ids: IdSource,
        memory_gb: Decimal,
        time_limit_seconds: float,
    ) -> None:
        self._jobs = jobs
        self._queues = queues
        self._objects = objects
        self._admission = admission
        self._clock = clock
        self._ids = ids
        self._memory_gb = memory_gb
        self._time_limit = time_limit_seconds

    def accept(
        self, plan: Plan, inference_type: InferenceType, trail: Trail, *, at_most: Decimal | None = None
    ) -> Accepted:
        """Write the job down, then queue it; in this order, so that nothing is ever only in a queue.

        Args:
            plan: for the request.
            inference_type: the road, which need not be the one that was planned.
            trail: of the request.
            at_most: dollars that may be held, for a job that nobody asked for; it is cut when they are used up.

        Raises:
            BodyTooLargeError: its parameters would fill up the record; nothing was written.
            BudgetExceededError: nothing was written.
            StorageError: the job could not be written down.
        """
        request = plan.request
        if len(compact_json(request.parameters).encode()) > MOST_PARAMETER_BYTES:
            raise BodyTooLargeError(
                f"A request that is answered later may have at most {MOST_PARAMETER_BYTES} bytes of parameters, "
                "tools and formats among them.",
            )
        now = self._clock.now()
        decision = plan.decision
        estimate = decision.estimates[inference_type]
        job = Job(
            job_id=plan.name(f"inf_{trail.once}" if trail.once else self._ids.new("inf"), trail.owner.tenant),
            owner=trail.owner,
            model=plan.model.name,
            deployment=decision.deployment.name,
            inference_type=inference_type,
            state=JobState.QUEUED,
            created_at=now,
            route_reason=trail.route_reason,
            estimated_cost=estimate.estimated_cost or decision.estimated_cost,
            parameters=request.parameters,
            priority=request.priority,
            deadline_at=None if request.deadline_seconds is None else now + timedelta(seconds=request.deadline_seconds),
            catalogue_version=plan.catalogue.version,
            traceparent=trail.traceparent,
            metadata=request.metadata,
            webhook_url=request.webhook_url,
            cache=plan.ticket,
        )
        job = job._replace(input=self._keep_input(job.job_id, request.input))
        try:
            job = self._written(plan, job, trail, at_most)
        except ConflictError:
            earlier = self._jobs.get(job.job_id)
            if earlier is None or earlier.state is JobState.CANCELLED or now - earlier.created_at > REMEMBERED:
                trail.once = ""
                return self.accept(plan, inference_type, trail, at_most=at_most)
            # A call with the same idempotency key wrote it, and could not keep its answer.
            job = earlier
        # Only now: what was refused has no job, and its caller is not told a job's road and cost.
        trail.job_id = job.job_id
        trail.inference_type = job.inference_type
        trail.estimated_cost = job.estimated_cost
        trail.estimated_avoided = self._estimated_avoided(plan, estimate, trail)
        try:
            queue_job(self._queues[job.inference_type], job)
        except StorageError:
            # The record is the promise; the sweeper puts jobs that wait too long into the queue again.
            trail.route_reason += ";queue=later"
        return Accepted(job, estimate.expected_seconds)

    def _written(self, plan: Plan, job: Job, trail: Trail, at_most: Decimal | None) -> Job:
        """The job as it was written down, with what is held for it.

        Raises:
            ConflictError: there is a job of this name.
            BudgetExceededError, StorageError: as `accept`.
        """
        if plan.admitted is None:
            self._add(job, ())
            return job
        asks = plan.asks(job.inference_type, limit_seconds=self._time_limit, memory_gb=self._memory_gb)
        if at_most is not None:
            asks = asks[-1:]
            if asks[0].amount > at_most:
                raise BudgetExceededError("It may cost more than is left for requests that nobody asked for.")
        reservation = self._admission.reserve_job(
            plan.admitted,
            asks,
            inference_id=job.job_id,
            inference_type=job.inference_type,
            add=lambda held, charges: self._add(job._replace(reservation=held), charges),
        )
        trail.budget_remaining = self._admission.remaining(plan.admitted)
        return job._replace(reservation=reservation)

    def call_off(self, job: Job) -> bool:
        """End a job that was accepted for a call that has failed since; False if it has begun, or may have."""
        # Few calls fail after that.
        from tollgate.services.jobs.queries import JobQueries  # noqa: PLC0415 -- see above

        try:
            JobQueries(jobs=self._jobs, objects=self._objects, clock=self._clock).cancel(job.owner, job.job_id)
        except (ConflictError, NotFoundError, StorageError):
            return False
        return True

    def _add(self, job: Job, charges: Sequence[LedgerWrite]) -> None:
        try:
            self._jobs.add(job, charges)
        except OutcomeUnknownError as unknown:
            try:
                there = self._jobs.get(job.job_id) is not None
            except StorageError:
                raise unknown from None  # Told that nothing was written, a caller's repetition would be a second job.
            if not there:
                raise

    @staticmethod
    def _estimated_avoided(plan: Plan, estimate: RoadEstimate, trail: Trail) -> Decimal | None:
        deployment = plan.decision.deployment
        road = deployment.roads[estimate.inference_type]
        places = road.concurrency if road.inference_type is InferenceType.BATCH else 1
        expected = settle(
            plan.model,
            deployment,
            road,
            held_seconds=seconds(estimate.held_seconds) / places,
            usage=trail.usage,
            gateway=ZERO,
        )
        if expected.avoided is None or expected.effective is None or estimate.estimated_cost is None:
            return None
        return usd(expected.avoided - (estimate.estimated_cost - expected.effective))

    def _keep_input(self, job_id: str, value: Any) -> Payload:
        text = compact_json(value).encode()
        if len(text) <= INLINE_INPUT_BYTES:
            return Payload(inline=value)
        key = f"async-input/{job_id}.json"
        self._objects.put(key, text)
        return Payload(key=key)
