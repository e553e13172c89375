"""Runs a job at a token-priced provider.

The provider has no queue that would keep the request, so a function makes the call and waits for the answer. Such a
call cannot be looked up afterwards, and a second one would be paid for again. So the job is recorded as submitted,
with a lease, before the call: an expired lease then means that the function died in between, and the job is ended and
charged at the amount held instead of being called again.
"""

from datetime import timedelta

from tollgate.domain.catalogue import Catalogue, InferenceType, Road, Way
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    CapacityError,
    InvalidRequestError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobFailure, JobState
from tollgate.domain.money import ZERO, seconds
from tollgate.domain.providers.charges import may_be_charged, token_ask
from tollgate.domain.roads.estimates import TOKEN_JOB_SECONDS
from tollgate.ports.backends import ModelAnswer
from tollgate.ports.dialects import RenderedRequest
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.ports.token_backends import TokenBackends
from tollgate.services.jobs.claim_job import claim_job
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.kept_work import keep_work
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queue_job import queue_job

_SUBMITTED = frozenset({JobState.SUBMITTED})
_ATTEMPTS = 3
_SHORTEST_PAUSE_SECONDS = 5
_LONGEST_PAUSE_SECONDS = 300


class TokenJobRun:
    """Runs one job, from its record to its end."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        catalogues: CatalogueSource,
        requests: JobRequests,
        providers: TokenBackends,
        completer: JobCompleter,
        queue: MessageQueue,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._catalogues = catalogues
        self._requests = requests
        self._providers = providers
        self._completer = completer
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock

    def run(self, job: Job) -> None:
        """Run a queued job. A normal return means that its message can be deleted.

        Raises:
            ConflictError: another function has it; look again later.
            CatalogueError, StorageError: try again later.
        """
        try:
            catalogue = self._catalogues.seen_by(job)
            _, deployment, road = _way(job, catalogue)
            if self._is_over(job, catalogue):
                return
            request = self._requests.of(job, deployment)
            _check_held(job, catalogue, road, request)
        except InvalidRequestError as error:
            # Not if another function has begun the call meanwhile, under another copy of the catalogue.
            self._completer.fail(job, JobFailure("invalid_request", error.message), untouched=True)
            return
        begun = self._begin(job, catalogue)
        if begun is not None:
            self._call(begun, road, request)

    def _is_over(self, job: Job, catalogue: Catalogue) -> bool:
        """Whether the job's time is up. The sweeper, which would end it, must not do so during a paid call."""
        policy = catalogue.model(job.model).asynchronous
        patience = policy.request_ttl_seconds + policy.invocation_timeout_seconds
        return self._clock.now() - job.created_at > timedelta(seconds=patience)

    def _begin(self, job: Job, catalogue: Catalogue) -> Job | None:
        """The job, recorded as submitted; None if it is no longer queued.

        The provider's price is that of the moment of the call, the one the held amount was compared with. Whichever
        function ends the job charges it by the catalogue noted here, whichever is in force by then.

        Raises:
            ConflictError: another function holds a lease on it.
        """
        now = self._clock.now()
        begun = job._replace(
            state=JobState.SUBMITTED,
            submitted_at=now,
            output_location=self._objects.location_of(_answer_key(job)),
            rates_version=catalogue.version,
        )
        return claim_job(self._jobs, begun, now)

    def _call(self, job: Job, road: Road, request: RenderedRequest) -> None:
        try:
            answer = self._providers.realtime(road).invoke(
                road, request.body, request.content_type, timeout_seconds=TOKEN_JOB_SECONDS, trace=job.traceparent
            )
        except (CapacityError, BackendThrottledError) as error:
            self._put_back(job, error)
        except BackendError as error:
            charged = may_be_charged(error)
            work = Work(held_seconds=None if charged else ZERO, finished_at=self._clock.now())
            try:
                self._completer.fail(job, JobFailure("model_failed", error.message), work)
            except StorageError:
                self._keep(job, error, charged=charged)
        else:
            self._complete(job, answer)

    def _keep(self, job: Job, error: BackendError, *, charged: bool) -> None:
        """Store in the bucket why there is no answer; the sweeper ends the job with that when the lease is over.

        Raises:
            StorageError: the reason is lost, and the amount held for the job is charged.
        """
        done = {"failure": error.message, "charged": charged, "finished_at": self._clock.now().isoformat()}
        keep_work(self._objects, job, done)

    def _put_back(self, job: Job, error: BackendError) -> None:
        """Queue a job again that certainly did not run, after a pause that grows with its age.

        Raises:
            StorageError: it waits without a message, or its record still says that it runs.
        """
        waiting = job._replace(
            state=JobState.QUEUED, submitted_at=None, submit_lease_until=None, output_location=None, rates_version=0
        )
        in_doubt = False
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                # A first attempt may have succeeded, and another function begun the call since.
                changed = self._jobs.change(waiting, expected=_SUBMITTED, as_read=job)
            except StorageError:
                if attempt == _ATTEMPTS:
                    self._keep(job, error, charged=False)
                    return
                in_doubt = True
                continue
            if changed or in_doubt:
                pause = self._pause(job, error)
                queue_job(self._queue, waiting, delay_seconds=pause)
                self._telemetry.log("INFO", "token job waits for its provider", job_id=job.job_id, seconds=pause)
            return

    def _pause(self, job: Job, error: BackendError) -> int:
        """Seconds: what the provider asks for; else half the job's age, at most half the time to its deadline."""
        now = self._clock.now()
        wished = (now - job.created_at).total_seconds() / 2
        if job.deadline_at is not None:
            wished = min(wished, (job.deadline_at - now).total_seconds() / 2)
        return int(min(_LONGEST_PAUSE_SECONDS, max(_SHORTEST_PAUSE_SECONDS, error.retry_after or wished)))

    def _complete(self, job: Job, answer: ModelAnswer) -> None:
        now = self._clock.now()
        work = Work(
            held_seconds=seconds(answer.seconds),
            finished_at=now,
            started_at=now - timedelta(seconds=answer.seconds),
        )
        try:
            self._completer.complete(job, answer.body, work)
        except StorageError:
            # The answer is paid for and cannot be requested again; the sweeper finds it where the record says.
            self._objects.put(_answer_key(job), answer.body)
            self._telemetry.count("TokenAnswersKept")


def _way(job: Job, catalogue: Catalogue) -> Way:
    """The job's deployment and road.

    Raises:
        InvalidRequestError: there is none any more.
    """
    way = catalogue.model(job.model).way(job.deployment, InferenceType.ASYNC)
    if way is None or way.road.tokens is None:
        raise InvalidRequestError(f"Deployment '{job.resource}' is no longer paid by the token.")
    return way


def _check_held(job: Job, catalogue: Catalogue, road: Road, request: RenderedRequest) -> None:
    """Check that the amount held for the job still covers it.

    Raises:
        InvalidRequestError: rates or limits have risen since it was accepted.
    """
    if job.reservation is None:
        return
    rates = gateway_rates(catalogue.gateway_prices)
    ask = token_ask(road, request.most, rates, len(request.body), lambda_gb_seconds=ZERO)
    if ask.amount > job.reservation.amount:
        raise InvalidRequestError(
            f"The rates or limits of '{job.resource}' have risen since this request was accepted, so the amount held "
            "for it is too low. Send it again."
        )


def _answer_key(job: Job) -> str:
    return f"results/{job.job_id}.answer.json"
