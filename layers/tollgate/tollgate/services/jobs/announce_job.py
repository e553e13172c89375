"""Who is told that a job has ended: its webhook, the measurements of its deployment, the records of requests."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tollgate.domain.choice.outcomes import marked_by, of_run
from tollgate.domain.choice.policy import SHADOW_KEY
from tollgate.domain.errors import CatalogueError, StorageError, UnknownModelError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.records import RequestRecord
from tollgate.ports.jobs import MessageQueue
from tollgate.ports.outcomes import Extra, OutcomeStore
from tollgate.ports.registry import CatalogueSource, DurationRecorder
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.price_job import JobPricing


class JobAnnouncer:
    """Announces ended jobs.

    Functions that end jobs only occasionally have no webhook queue; the sweeper sends what they leave pending.
    """

    def __init__(
        self,
        *,
        webhooks: MessageQueue | None,
        durations: DurationRecorder,
        outcomes: OutcomeStore,
        catalogues: CatalogueSource,
        pricing: JobPricing,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._webhooks = webhooks
        self._durations = durations
        self._outcomes = outcomes
        self._catalogues = catalogues
        self._pricing = pricing
        self._telemetry = telemetry
        self._clock = clock

    def announce(self, job: Job) -> None:
        """Tell of a job that has just ended. Whatever of this fails can be lost, or is caught up by the sweeper."""
        if job.webhook_pending and self._webhooks is not None:
            try:
                self._webhooks.send(webhook_message(job), trace=job.traceparent, group=job.owner.tenant)
            except StorageError:
                # The record says that the webhook is pending; the sweeper queues it again.
                self._telemetry.count("WebhookQueueFailed")
        if job.state is JobState.COMPLETED and job.held_seconds:
            # Taking over an equal job's answer took no time, and says nothing about how long the model takes.
            self._durations.record(
                job.resource, job.inference_type, float(job.held_seconds * self._pricing.places(job))
            )
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
        if job.held_seconds is None:
            return
        try:
            seal = self._catalogues.current().seal
        except (CatalogueError, StorageError):
            return  # A mean that misses a sample is still a mean.
        source = marked_by(job.job_id, tenant=job.owner.tenant, model=job.model, deployments=names, seal=seal)
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
            return [deployment.name for deployment in self._pricing.served_by(job).model.deployments]
        except (CatalogueError, UnknownModelError):
            return ()

    def _give_back(self, job: Job) -> None:
        """Deduct what was held for a shadow copy, and not used, from today's spend on copies."""
        if job.owner.key_id != SHADOW_KEY or job.reservation is None or job.bill is None:
            return
        if job.created_at.date() == self._clock.now().date():
            self._outcomes.spend(job.model, Extra.SHADOW, job.bill.charged - job.reservation.amount)


def webhook_message(job: Job) -> Mapping[str, Any]:
    """The queue message that triggers delivery of a job's webhook."""
    return {"job_id": job.job_id, "attempt": 1}
