"""The one place where a job ends: once, with its result, its cost and its webhook.

Everything that reports the end of a job (a notification, a transform job's output file, the sweeper) comes here, and
may come twice, late or concurrently. The conditional write of the final state decides; everything before it can be
repeated, and everything after it is either caught up by the sweeper (the webhook) or can be lost without harm (a
metric).
"""

from collections.abc import Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tollgate.domain.budgets.reserving import reservation_parts
from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Model, Road
from tollgate.domain.choice.outcomes import marked_by, of_run
from tollgate.domain.choice.policy import SHADOW_KEY
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.costs.settlement import Settlement, baseline_cost, settle, settle_cache_hit
from tollgate.domain.errors import CatalogueError, ModelFailedError, StorageError, UnknownModelError
from tollgate.domain.jobs.job import FINAL_STATES, OPEN_STATES, Bill, Job, JobFailure, JobState, Payload, Usage
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO
from tollgate.domain.records import RequestRecord
from tollgate.ports.dialects import Dialects, ParsedAnswer
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.outcomes import Extra, OutcomeStore
from tollgate.ports.registry import CatalogueSource, DurationRecorder
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.budgets.settle_reservation import settle_with
from tollgate.services.jobs.charge_late import charge_late
from tollgate.services.jobs.claim_job import QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.cache.entry import CachedAnswer
    from tollgate.services.jobs.answers import JobAnswers

INLINE_OUTPUT_BYTES = 200_000
"""Larger results are stored in the bucket."""

INLINE_ITEM_BYTES = 350_000
"""Input, parameters and output together; a DynamoDB item holds 400 KB with everything else."""

_STORED_INPUT_BYTES = 200_001


@dataclass(frozen=True, slots=True)
class Work:
    """What the backend spent on a job.

    Attributes:
        held_seconds: instance seconds; None when unknown, which makes the cost unknown.
        finished_at: when the model finished.
        started_at: when it began, if known.
        parts: the job's dollar share of the gateway's own costs of a shared invocation; None if it went alone.
        run: name of the invocation, where it is not the one on the job's record.
    """

    held_seconds: Decimal | None
    finished_at: datetime
    started_at: datetime | None = None
    parts: Decimal | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a job ends; with `untouched` only if it is still queued and nobody has claimed it since it was read."""

    state: JobState
    output: Any = None
    usage: Usage = field(default_factory=Usage)
    failure: JobFailure | None = None
    settlement: Settlement | None = None
    untouched: bool = False


class JobCompleter:
    """Ends jobs.

    Functions that end jobs only occasionally have no webhook queue; the sweeper sends what they leave pending.
    `answers` supplies the answer cache when the first job with a cache key ends.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        webhooks: MessageQueue | None,
        catalogues: CatalogueSource,
        dialects: Dialects,
        durations: DurationRecorder,
        telemetry: Telemetry,
        clock: Clock,
        answers: "Callable[[], JobAnswers] | None" = None,
        outcomes: OutcomeStore | None = None,
    ) -> None:
        self._answers = answers
        self._jobs = jobs
        self._objects = objects
        self._webhooks = webhooks
        self._catalogues = catalogues
        self._dialects = dialects
        self._durations = durations
        self._telemetry = telemetry
        self._clock = clock
        self._outcomes = outcomes

    def complete(self, job: Job, body: bytes, work: Work) -> bool:
        """End the job with a container's answer, or as failed if that is invalid.

        Returns:
            Whether this call ended it.

        Raises:
            StorageError: try again.
        """
        try:
            parsed = self._parse(job, body)
            # What cannot be written as JSON cannot be returned to the client either.
            json_text(parsed.output)
        except (ModelFailedError, CatalogueError, UnknownModelError) as error:
            return self.fail(job, JobFailure("model_answer_invalid", error.message), work)
        except ValueError:
            failure = JobFailure("model_answer_invalid", "The model container's answer contains NaN or infinity.")
            return self.fail(job, failure, work)
        usage = Usage(parsed.input_tokens, parsed.output_tokens, parsed.cached_input_tokens, parsed.reasoning_tokens)
        return self._end(job, _Ending(JobState.COMPLETED, output=parsed.output, usage=usage), work)

    def fail(self, job: Job, failure: JobFailure, work: Work | None = None, *, untouched: bool = False) -> bool:
        """End the job as failed; without `work`, no instance time is added now.

        With `untouched` only if it is still queued and nobody has claimed it since it was read: a run in progress
        must be paid. Returns and raises as `complete`.
        """
        ending = _Ending(JobState.FAILED, failure=failure, untouched=untouched)
        return self._end(job, ending, work or self._no_work(job))

    def expire(self, job: Job, message: str) -> bool:
        """End the job because its time is up and no instance is known to have worked on it."""
        failure = JobFailure("expired", message)
        return self._end(job, _Ending(JobState.EXPIRED, failure=failure), self._no_work(job))

    def answered(self, job: Job, answer: "CachedAnswer") -> bool:
        """End the job with the answer of an equal one, at no cost, unless it is running, which must be paid.

        Returns and raises as `complete`.
        """
        ending = _Ending(
            JobState.COMPLETED,
            output=answer.output,
            usage=answer.usage,
            settlement=settle_cache_hit(answer.worth),
            untouched=True,
        )
        if answer.refusal is not None:
            failure = JobFailure("model_failed", answer.refusal.message)
            ending = replace(ending, state=JobState.FAILED, output=None, usage=Usage(), failure=failure)
        return self._end(job, ending, self._no_work(job))

    def _no_work(self, job: Job) -> Work:
        # A group that failed earlier has held an instance for it all the same.
        return Work(held_seconds=job.held_seconds or ZERO, finished_at=self._clock.now())

    def _parse(self, job: Job, body: bytes) -> ParsedAnswer:
        _, deployment, _ = self._served_by(job)
        return self._dialects.of(deployment).parse(body)

    def _catalogue(self, job: Job) -> Catalogue:
        """The catalogue that says how the job went and what it costs: for a token-priced call, that of the call."""
        if job.rates_version:
            return self._catalogues.of_version(job.rates_version)
        return self._catalogues.seen_by(job)

    def _served_by(self, job: Job) -> tuple[Model, Deployment, Road]:
        """Model, deployment and road that served the job.

        Raises:
            CatalogueError, UnknownModelError: they are no longer in the catalogue.
        """
        model = self._catalogue(job).model(job.model)
        deployment = model.deployment(job.deployment)
        road = deployment.roads.get(job.inference_type) if deployment is not None else None
        if deployment is None or road is None:
            raise CatalogueError(f"Deployment '{job.resource}' is no longer in the catalogue.")
        return model, deployment, road

    def worked_after_all(self, job: Job, work: Work, usage: Usage | None = None) -> None:
        """Charge, once, instance work that is not on the bill of a job that has ended.

        It was declared expired, or ended with the answer of another invocation.

        Raises:
            StorageError: try again.
        """
        settlement = self._settlement(job, usage or job.usage, work)
        if charge_late(job, settlement, usage or Usage(), run=work.run, jobs=self._jobs, clock=self._clock):
            self._telemetry.count("ChargedLate")
            self._telemetry.log("INFO", "job charged after its end", job_id=job.job_id, state=job.state.value)

    def _end(self, job: Job, ending: _Ending, work: Work) -> bool:
        if job.state is JobState.EXPIRED and _is_news(job, work):
            self.worked_after_all(job, work, ending.usage)
        if job.state in FINAL_STATES:
            return False
        settlement = ending.settlement or self._settlement(job, ending.usage, work)
        ended = job._replace(
            state=ending.state,
            started_at=work.started_at or job.started_at,
            finished_at=work.finished_at,
            submit_lease_until=None,
            output=self._keep(job, ending.output),
            usage=ending.usage,
            failure=ending.failure,
            held_seconds=work.held_seconds,
            effective_cost=settlement.effective,
            avoided_cost=settlement.avoided,
            webhook_pending=job.webhook_url is not None,
            bill=self._bill(job, settlement),
        )
        if not self._settled(ended, job if ending.untouched else None):
            self._overtaken(job, work, ending.usage)
            return False
        if job.cache is not None and self._answers is not None and ending.settlement is None:
            self._answers().ended(ended, ending.output, self._worth(ended))
        self._announce(ended)
        return True

    def _overtaken(self, job: Job, work: Work, usage: Usage) -> None:
        """Charge work that was under way while another function declared the job expired, unseen by this copy."""
        if _is_news(job, work):
            present = self._jobs.get(job.job_id)
            if present is not None and present.state is JobState.EXPIRED:
                self.worked_after_all(present, work, usage)

    def _worth(self, job: Job) -> Decimal | None:
        """Dollars that one more such request would cost on the baseline road."""
        if job.held_seconds is None:
            return None
        try:
            model, deployment, road = self._served_by(job)
        except (CatalogueError, UnknownModelError):
            return None
        return baseline_cost(model, deployment, road, held_seconds=job.held_seconds, usage=job.usage)

    def _bill(self, job: Job, settlement: Settlement) -> Bill:
        # Work that cannot be priced is charged at the amount held, never at nothing.
        unknown = ZERO if job.reservation is None else job.reservation.amount
        return Bill(
            settled_at=self._clock.now(),
            charged=unknown if settlement.effective is None else settlement.effective,
            instance=settlement.instance,
            avoided=settlement.reasons,
            variant=self._variant(job),
        )

    def _variant(self, job: Job) -> str:
        try:
            return self._served_by(job)[2].target_variant or ""
        except (CatalogueError, UnknownModelError):
            return ""

    def _settled(self, ended: Job, as_read: Job | None) -> bool:
        """End the job and settle its reservation in one write."""
        reservation = ended.reservation
        expected = OPEN_STATES if as_read is None else QUEUED
        if reservation is None:
            return self._jobs.change(ended, expected=expected, as_read=as_read)
        actual = ZERO if ended.bill is None else ended.bill.charged
        return settle_with(
            reservation,
            actual,
            ended.state.value,
            lambda charges: self._jobs.change(ended, expected=expected, as_read=as_read, charges=charges),
        )

    def _settlement(self, job: Job, usage: Usage, work: Work) -> Settlement:
        try:
            model, deployment, road = self._served_by(job)
        except (CatalogueError, UnknownModelError):
            if work.held_seconds == ZERO:
                # No model ran, so its price does not matter.
                return Settlement(self._own_parts(job, work, self._catalogues.current()), None, {}, ZERO, ZERO)
            self._telemetry.count("UnknownCost")
            return Settlement(effective=None, avoided=None)
        if work.held_seconds is None:
            return Settlement(effective=None, avoided=None)
        catalogue = self._catalogue(job) if job.rates_version else self._catalogues.current()
        own = self._own_parts(job, work, catalogue)
        if road.tokens is not None:
            own += gateway_rates(catalogue.gateway_prices).waiting(float(work.held_seconds))
        return settle(model, deployment, road, held_seconds=work.held_seconds, usage=usage, gateway=own)

    @staticmethod
    def _own_parts(job: Job, work: Work, catalogue: Catalogue) -> Decimal:
        """The gateway's own costs of a job in dollars, at a catalogue's prices."""
        input_bytes = _STORED_INPUT_BYTES if job.input.key is not None else 0
        rates = gateway_rates(catalogue.gateway_prices)
        own = rates.expected(job.inference_type, input_bytes, float(work.held_seconds or ZERO))
        own += reservation_parts(job.reservation, rates, job=True) + (job.earlier_parts or ZERO)
        return own if work.parts is None else own + work.parts - rates.invocation(1)

    def _keep(self, job: Job, output: Any) -> Payload:
        if output is None:
            return Payload()
        text = json_text(output).encode()
        beside = sum(len(json_text(value).encode()) for value in (job.input.inline, job.parameters) if value)
        if len(text) <= INLINE_OUTPUT_BYTES and len(text) + beside <= INLINE_ITEM_BYTES:
            return Payload(inline=output)
        key = f"results/{job.job_id}.json"
        self._objects.put(key, text)
        return Payload(key=key)

    def _announce(self, job: Job) -> None:
        if job.webhook_pending and self._webhooks is not None:
            try:
                self._webhooks.send(webhook_message(job), trace=job.traceparent, group=job.owner.tenant)
            except StorageError:
                # The record says that the webhook is pending; the sweeper queues it again.
                self._telemetry.count("WebhookQueueFailed")
        if job.state is JobState.COMPLETED and job.held_seconds:
            # Taking over an equal job's answer took no time, and says nothing about how long the model takes.
            self._durations.record(job.resource, job.inference_type, float(job.held_seconds * self._places(job)))
        self._note(job)
        finished = job.finished_at or self._clock.now()
        self._telemetry.request(
            RequestRecord(
                request_id=job.job_id,
                job_id=job.job_id,
                owner=job.owner,
                inference_type=job.inference_type,
                resource=job.resource,
                outcome=job.state.value,
                latency_seconds=max(0.0, (finished - job.created_at) / timedelta(seconds=1)),
                error_code=job.failure.code if job.failure else "",
                route_reason=job.route_reason,
                usage=job.usage,
                estimated_cost=job.estimated_cost,
                effective_cost=job.effective_cost,
                avoided_cost=job.avoided_cost,
                traceparent=job.traceparent,
                catalogue_version=job.catalogue_version,
                held_seconds=job.held_seconds,
                charged_cost=None if job.bill is None else job.bill.charged,
                instance_cost=None if job.bill is None else job.bill.instance,
                avoided_reasons={} if job.bill is None else job.bill.avoided,
                variant="" if job.bill is None else job.bill.variant,
            )
        )

    def _note(self, job: Job) -> None:
        """Add the job to its deployment's outcome records, if several deployments were available to choose from."""
        self._give_back(job)
        names: Sequence[str] = [job.deployment]
        if f"handed_on={job.deployment}" in job.route_reason:
            names = self._siblings(job)  # The mark names the chosen one.
        if self._outcomes is None or job.held_seconds is None:
            return
        try:
            seal = self._catalogues.current().seal
        except (CatalogueError, StorageError):
            return  # A mean that misses a sample is still a mean.
        source = marked_by(job.job_id, tenant=job.owner.tenant, deployments=names, seal=seal)
        if source is None:
            return
        if job.state is JobState.COMPLETED and not job.held_seconds:
            # Answered by an equal job: no model ran for this one.
            return
        tally = of_run(
            failed=job.state is not JobState.COMPLETED,
            # Time spent in the queue says nothing about the model.
            seconds=float(job.held_seconds),
            usd=None if job.effective_cost is None else float(job.effective_cost),
            output_tokens=job.usage.output_tokens,
        )
        self._outcomes.add(job.model, job.deployment, source[1], tally)

    def _siblings(self, job: Job) -> Sequence[str]:
        try:
            return [deployment.name for deployment in self._served_by(job)[0].deployments]
        except (CatalogueError, UnknownModelError):
            return ()

    def _give_back(self, job: Job) -> None:
        """Deduct what was held for a shadow copy, and not used, from today's spend on copies."""
        if self._outcomes is None or job.owner.key_id != SHADOW_KEY or job.reservation is None or job.bill is None:
            return
        if job.created_at.date() == self._clock.now().date():
            self._outcomes.spend(job.model, Extra.SHADOW, job.bill.charged - job.reservation.amount)

    def _places(self, job: Job) -> int:
        """How many concurrent requests share the instance second charged to one of them."""
        if job.inference_type is not InferenceType.BATCH:
            return 1
        try:
            return self._served_by(job)[2].concurrency
        except (CatalogueError, UnknownModelError):
            return 1


def _is_news(job: Job, work: Work) -> bool:
    """Whether an instance did more for a job than its record shows."""
    return work.held_seconds != (job.held_seconds or ZERO)


def webhook_message(job: Job) -> Mapping[str, Any]:
    """The queue message that triggers delivery of a job's webhook."""
    return {"job_id": job.job_id, "attempt": 1}
