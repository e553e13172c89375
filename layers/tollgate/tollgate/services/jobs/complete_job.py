"""The one place where a job ends: once, with its result, its cost and its webhook.

Everything that reports the end of a job (a notification, a transform job's output file, the sweeper) comes here, and
may come twice, late or concurrently. The conditional write of the final state decides; everything before it can be
repeated, and everything after it is either caught up by the sweeper (the webhook) or can be lost without harm (a
metric).
"""

from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tollgate.domain.costs.settlement import Settlement, settle_cache_hit
from tollgate.domain.errors import CatalogueError, ModelFailedError, UnknownModelError
from tollgate.domain.jobs.job import FINAL_STATES, OPEN_STATES, Job, JobFailure, JobState, Payload, Usage
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO
from tollgate.ports.dialects import Dialects
from tollgate.ports.jobs import JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.budgets.settle_reservation import settle_with
from tollgate.services.jobs.announce_job import JobAnnouncer
from tollgate.services.jobs.charge_late import charge_late
from tollgate.services.jobs.claim_job import QUEUED
from tollgate.services.jobs.price_job import JobPricing, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.cache.entry import CachedAnswer
    from tollgate.services.jobs.answers import JobAnswers

INLINE_OUTPUT_BYTES = 200_000
"""Larger results are stored in the bucket."""

INLINE_ITEM_BYTES = 350_000
"""Input, parameters and output together; a DynamoDB item holds 400 KB with everything else."""


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

    `answers` supplies the answer cache when the first job with a cache key ends.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        dialects: Dialects,
        pricing: JobPricing,
        announcer: JobAnnouncer,
        telemetry: Telemetry,
        clock: Clock,
        answers: "Callable[[], JobAnswers] | None" = None,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._dialects = dialects
        self._pricing = pricing
        self._announcer = announcer
        self._telemetry = telemetry
        self._clock = clock
        self._answers = answers

    def complete(self, job: Job, body: bytes, work: Work) -> bool:
        """End the job with a container's answer, or as failed if that is invalid.

        Returns:
            Whether this call ended it.

        Raises:
            StorageError: try again.
        """
        try:
            parsed = self._dialects.of(self._pricing.served_by(job).deployment).parse(body)
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

    def worked_after_all(self, job: Job, work: Work, usage: Usage | None = None) -> None:
        """Charge, once, instance work that is not on the bill of a job that has ended.

        It was declared expired, or ended with the answer of another invocation.

        Raises:
            StorageError: try again.
        """
        settlement = self._pricing.settlement(job, usage or job.usage, work)
        if charge_late(job, settlement, usage or Usage(), run=work.run, jobs=self._jobs, clock=self._clock):
            self._telemetry.count("ChargedLate")
            self._telemetry.log("INFO", "job charged after its end", job_id=job.job_id, state=job.state.value)

    def worked_besides(self, job: Job, work: Work) -> None:
        """Charge, once, instance work that did not end a job, which may still end by another invocation.

        Raises:
            StorageError: try again.
        """
        # Without any invocation's own parts: those of this one are charged now, and those of the other with the end.
        paid = self._pricing.settlement(job, Usage(), replace(self._no_work(job), parts=ZERO))
        failed = job._replace(
            state=JobState.FAILED,
            finished_at=work.finished_at,
            effective_cost=paid.effective,
            avoided_cost=paid.avoided,
            bill=self._pricing.bill(job, paid),
        )
        if job.reservation is not None:
            # Its call in a workflow run goes on.
            failed = failed._replace(reservation=job.reservation._replace(call=None))
        self.worked_after_all(failed, work)

    def _end(self, job: Job, ending: _Ending, work: Work) -> bool:
        if job.state is JobState.EXPIRED and _is_news(job, work):
            self.worked_after_all(job, work, ending.usage)
        if job.state in FINAL_STATES:
            return False
        settlement = ending.settlement or self._pricing.settlement(job, ending.usage, work)
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
            bill=self._pricing.bill(job, settlement),
        )
        if not self._settled(ended, job if ending.untouched else None):
            self._overtaken(job, work, ending.usage)
            return False
        if job.cache is not None and self._answers is not None and ending.settlement is None:
            self._answers().ended(ended, ending.output, self._pricing.worth(ended))
        self._announcer.announce(ended)
        return True

    def _overtaken(self, job: Job, work: Work, usage: Usage) -> None:
        """Charge work that was under way while another function declared the job expired, unseen by this copy."""
        if _is_news(job, work):
            present = self._jobs.get(job.job_id)
            if present is not None and present.state is JobState.EXPIRED:
                self.worked_after_all(present, work, usage)

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


def _is_news(job: Job, work: Work) -> bool:
    """Whether an instance did more for a job than its record shows."""
    return work.held_seconds != (job.held_seconds or ZERO)
