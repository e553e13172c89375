"""One inference request: routed, then answered now or accepted as a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tollgate.domain.budget_pressure import deferred, downgraded
from tollgate.domain.capabilities import Needs, offering
from tollgate.domain.catalogue import Catalogue, InferenceType, Model, Priority, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    InvalidRequestError,
    ModelFailedError,
    OutcomeUnknownError,
    StorageError,
)
from tollgate.domain.gateway_parts import INLINE_INPUT_BYTES, gateway_rates
from tollgate.domain.jobs import Job, JobState, Owner, Payload, Usage
from tollgate.domain.json_values import compact_json
from tollgate.domain.ledger import LedgerWrite, Reservation
from tollgate.domain.money import ZERO, seconds, usd
from tollgate.domain.records import RequestRecord
from tollgate.domain.reserving import Ask, asks_for, reservation_parts
from tollgate.domain.road_estimates import RequestSize, RoadEstimate
from tollgate.domain.routing import RoutingDecision, RoutingRequest, route
from tollgate.domain.selection import selector_of
from tollgate.domain.settlement import Settlement, settle
from tollgate.ports.backends import RealtimeBackend
from tollgate.ports.dialects import Dialects, RenderedRequest
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CapacitySource, CatalogueSource, DurationRecorder
from tollgate.ports.system import Clock, IdSource
from tollgate.services.admission import NO_RUN, Admission, Admitted, Run

_REALTIME_MARGIN_SECONDS = 1.5
_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a caller asks for, checked for shape but not yet against the catalogue.

    `needs` is what the model must offer, where the caller's route says so.
    """

    model: str
    input: Any
    priority: Priority | None = None
    deadline_seconds: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    webhook_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    needs: Needs | None = None


@dataclass(slots=True)
class Trail:
    """What has become known of a request so far, whether it ends well or badly.

    The answer's headers, the log line and the metrics are made of it.
    """

    request_id: str
    owner: Owner
    started: float
    traceparent: str = ""
    catalogue: Catalogue | None = None
    inference_type: InferenceType | None = None
    resource: str = ""
    route_reason: str = ""
    estimated_cost: Decimal | None = None
    estimated_avoided: Decimal | None = None
    settlement: Settlement | None = None
    usage: Usage = field(default_factory=Usage)
    job_id: str = ""
    run: Run = NO_RUN
    reservation: Reservation | None = None
    budget_remaining: Decimal | None = None

    def record(self, *, outcome: str, status: int, ended: float, error_code: str = "") -> RequestRecord:
        """The record that the request leaves behind."""
        settled = self.settlement
        return RequestRecord(
            request_id=self.request_id,
            owner=self.owner,
            inference_type=self.inference_type,
            resource=self.resource,
            outcome=outcome,
            latency_seconds=ended - self.started,
            job_id=self.job_id,
            status=status,
            error_code=error_code,
            route_reason=self.route_reason,
            usage=self.usage,
            estimated_cost=self.estimated_cost,
            effective_cost=settled.effective if settled else None,
            avoided_cost=settled.avoided if settled else None,
            traceparent=self.traceparent,
            catalogue_version=self.catalogue.version if self.catalogue else 0,
            budget_remaining=self.budget_remaining,
        )


@dataclass(frozen=True, slots=True)
class Completed:
    """Answered now."""

    inference_id: str
    created_at: datetime
    output: Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """To be answered later.

    Attributes:
        expected_seconds: from now until the answer is expected.
    """

    job: Job
    expected_seconds: float


@dataclass(frozen=True, slots=True)
class _Plan:
    model: Model
    decision: RoutingDecision
    rendered: RenderedRequest
    admitted: Admitted | None


class InferenceService:
    """Routes requests, runs the urgent ones and writes the others down."""

    def __init__(
        self,
        *,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        durations: DurationRecorder,
        dialects: Dialects,
        realtime: RealtimeBackend,
        jobs: JobStore,
        queues: Mapping[InferenceType, MessageQueue],
        objects: WholeObjectStore,
        clock: Clock,
        ids: IdSource,
        memory_gb: Decimal,
        admission: Admission,
        time_limit_seconds: float = 29.0,
    ) -> None:
        self._catalogues = catalogues
        self._capacities = capacities
        self._durations = durations
        self._dialects = dialects
        self._realtime = realtime
        self._jobs = jobs
        self._queues = queues
        self._objects = objects
        self._clock = clock
        self._ids = ids
        self._memory_gb = memory_gb
        self._admission = admission
        self._time_limit = time_limit_seconds

    def catalogue(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            CatalogueError, StorageError.
        """
        return self._catalogues.current()

    def decide(self, request: InferenceRequest, trail: Trail) -> RoutingDecision:
        """The decision for a request, without running anything.

        Raises:
            InvalidRequestError, UnknownModelError, DeadlineImpossibleError, PriceUnknownError, CapacityError.
        """
        return self._plan(request, trail).decision

    def infer(self, request: InferenceRequest, trail: Trail) -> Completed | Accepted:
        """Answer the request, or accept it as a job.

        Raises:
            InvalidRequestError, UnknownModelError, DeadlineImpossibleError: nothing was run or written.
            PriceUnknownError, CapacityError, BudgetExceededError: as above.
            BackendError: the model's side failed; its time is on the trail's settlement.
            StorageError: the job could not be written down.
        """
        plan = self._plan(request, trail)
        if plan.decision.inference_type is not InferenceType.REALTIME:
            return self._accept(request, plan, plan.decision.inference_type, trail)
        try:
            return self._run(plan, trail)
        except (CapacityError, BackendThrottledError):
            if plan.decision.fallback is None:
                raise
            trail.route_reason += f";{plan.decision.fallback}_fallback=no_capacity"
            return self._accept(request, plan, plan.decision.fallback, trail)

    def _plan(self, request: InferenceRequest, trail: Trail) -> _Plan:
        catalogue = self._catalogues.current()
        trail.catalogue = catalogue
        model = catalogue.model(request.model)
        if request.needs is not None:
            model = offering(model, request.needs)
        offered, priority = model, request.priority
        admitted = self._admission.admit(catalogue, trail.owner, request.model, trail.run)
        pressure = self._admission.pressure(admitted)
        if pressure.downgrade:
            offered = downgraded(model)
        if pressure.defer and request.deadline_seconds is None:
            priority = deferred(priority or model.default_priority)
        # All deployments of a model take the same input, so the first one's dialect can measure it.
        rendered = self._dialects.of(model.deployments[0]).render(request.input, request.parameters)
        size = RequestSize(
            body_bytes=len(rendered.body),
            input_tokens=max(1, len(rendered.body) // 4),
            output_tokens=_output_limit(request.parameters),
        )
        decision = route(
            RoutingRequest(size, priority, request.deadline_seconds, selector_of(trail.request_id)),
            offered,
            self._capacities.snapshot(),
            catalogue.gateway_prices,
        )
        trail.inference_type = decision.inference_type
        trail.resource = decision.deployment.resource
        trail.route_reason = decision.reason + pressure.reason
        trail.estimated_cost = decision.estimated_cost
        if decision.deployment is not model.deployments[0]:
            rendered = self._dialects.of(decision.deployment).render(request.input, request.parameters)
        return _Plan(model, decision, rendered, admitted)

    def _run(self, plan: _Plan, trail: Trail) -> Completed:
        left = self._time_limit - _REALTIME_MARGIN_SECONDS - (self._clock.monotonic() - trail.started)
        inference_id = self._ids.new("inf")
        if plan.admitted is None:
            return self._call(plan, trail, inference_id, left)
        reservation = trail.reservation = self._admission.reserve(
            plan.admitted, self._asks(plan, InferenceType.REALTIME, trail, left), inference_id=inference_id
        )
        status = "failed"
        try:
            completed = self._call(plan, trail, inference_id, min(left, reservation.seconds or left))
            status = "completed"
        finally:
            settled = trail.settlement
            # What nobody can price is charged as it was held, never as nothing.
            actual = reservation.amount if settled is None or settled.effective is None else settled.effective
            self._admission.settle(reservation, actual, status)
            trail.budget_remaining = self._admission.remaining(plan.admitted)
        return completed

    def _asks(self, plan: _Plan, inference_type: InferenceType, trail: Trail, left: float) -> tuple[Ask, ...]:
        prices = (
            self._catalogues.current().gateway_prices if trail.catalogue is None else trail.catalogue.gateway_prices
        )
        return asks_for(
            plan.decision.estimates[inference_type],
            plan.decision.deployment.roads[inference_type],
            plan.model,
            gateway_rates(prices),
            limit_seconds=max(0.1, left),
            memory_gb=self._memory_gb,
            body_bytes=len(plan.rendered.body),
        )

    def _call(self, plan: _Plan, trail: Trail, inference_id: str, left: float) -> Completed:
        deployment = plan.decision.deployment
        road = deployment.roads[InferenceType.REALTIME]
        began = self._clock.monotonic()
        try:
            answer = self._realtime.invoke(
                road,
                plan.rendered.body,
                plan.rendered.content_type,
                timeout_seconds=max(0.1, left),
                trace=trail.traceparent,
            )
            parsed = self._dialects.of(deployment).parse(answer.body)
        except (ModelFailedError, BackendTimeoutError):
            # The container worked, so its time is charged; a refusal for lack of capacity held nothing.
            self._settle(plan, road, self._clock.monotonic() - began, trail)
            raise
        except BackendError:
            self._settle(plan, road, 0.0, trail)
            raise
        trail.usage = Usage(parsed.input_tokens, parsed.output_tokens)
        self._settle(plan, road, answer.seconds, trail)
        self._durations.record(deployment.resource, InferenceType.REALTIME, answer.seconds)
        return Completed(inference_id, self._clock.now(), parsed.output)

    def _settle(self, plan: _Plan, road: Road, held: float, trail: Trail) -> None:
        elapsed = seconds(self._clock.monotonic() - trail.started)
        prices = trail.catalogue.gateway_prices if trail.catalogue else None
        if prices is None:
            return
        rates = gateway_rates(prices)
        trail.settlement = settle(
            plan.model,
            plan.decision.deployment,
            road,
            held_seconds=seconds(held),
            usage=trail.usage,
            gateway=rates.realtime(elapsed * self._memory_gb) + reservation_parts(trail.reservation, rates, job=False),
        )

    def _accept(self, request: InferenceRequest, plan: _Plan, inference_type: InferenceType, trail: Trail) -> Accepted:
        """Write the job down, then put it into its queue; in this order, so that nothing is ever only in a queue."""
        now = self._clock.now()
        decision = plan.decision
        estimate = decision.estimates[inference_type]
        job = Job(
            job_id=self._ids.new("inf"),
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
            catalogue_version=trail.catalogue.version if trail.catalogue else 0,
            traceparent=trail.traceparent,
            metadata=request.metadata,
            webhook_url=request.webhook_url,
        )
        job = replace(job, input=self._keep_input(job.job_id, request.input))
        trail.job_id = job.job_id
        trail.inference_type = inference_type
        trail.estimated_cost = job.estimated_cost
        trail.estimated_avoided = self._estimated_avoided(plan, estimate, trail)
        if plan.admitted is None:
            self._add(job, ())
        else:
            reservation = self._admission.reserve_job(
                plan.admitted,
                self._asks(plan, inference_type, trail, self._time_limit),
                inference_id=job.job_id,
                inference_type=inference_type,
                add=lambda held, charges: self._add(replace(job, reservation=held), charges),
            )
            job = replace(job, reservation=reservation)
            trail.budget_remaining = self._admission.remaining(plan.admitted)
        message = {"kind": "job", "job_id": job.job_id, "resource": job.resource}
        try:
            self._queues[inference_type].send(message, trace=trail.traceparent, group=trail.owner.tenant)
        except StorageError:
            # The record is the promise; the sweeper puts jobs that wait too long into the queue again.
            trail.route_reason += ";queue=later"
        return Accepted(job, estimate.expected_seconds)

    def _add(self, job: Job, charges: Sequence[LedgerWrite]) -> None:
        try:
            self._jobs.add(job, charges)
        except OutcomeUnknownError:
            if self._jobs.get(job.job_id) is None:
                raise

    @staticmethod
    def _estimated_avoided(plan: _Plan, estimate: RoadEstimate, trail: Trail) -> Decimal | None:
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
        try:
            text = compact_json(value).encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError("The input contains half of a surrogate pair.", param="input") from error
        if len(text) <= INLINE_INPUT_BYTES:
            return Payload(inline=value)
        key = f"async-input/{job_id}.json"
        self._objects.put(key, text)
        return Payload(key=key)


def _output_limit(parameters: Mapping[str, Any]) -> int | None:
    for name in _OUTPUT_LIMITS:
        value = parameters.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None
