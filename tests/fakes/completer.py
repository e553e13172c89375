"""Where jobs end, made of fakes."""

from collections.abc import Callable

from tests.fakes.outcomes import InMemoryOutcomes
from tollgate.adapters.dialects import ContainerDialects
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.outcomes import OutcomeStore
from tollgate.ports.registry import CatalogueSource, DurationRecorder
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.announce_job import JobAnnouncer
from tollgate.services.jobs.answers import JobAnswers
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.price_job import JobPricing


def job_completer(
    *,
    jobs: JobStore,
    objects: WholeObjectStore,
    catalogues: CatalogueSource,
    durations: DurationRecorder,
    telemetry: Telemetry,
    clock: Clock,
    webhooks: MessageQueue | None = None,
    answers: Callable[[], JobAnswers] | None = None,
    outcomes: OutcomeStore | None = None,
) -> JobCompleter:
    """A completer with all its parts; without a webhook queue, the sweeper would send for it."""
    pricing = JobPricing(catalogues=catalogues, telemetry=telemetry, clock=clock)
    announcer = JobAnnouncer(
        webhooks=webhooks,
        durations=durations,
        outcomes=InMemoryOutcomes() if outcomes is None else outcomes,
        catalogues=catalogues,
        pricing=pricing,
        telemetry=telemetry,
        clock=clock,
    )
    return JobCompleter(
        jobs=jobs,
        objects=objects,
        dialects=ContainerDialects(),
        pricing=pricing,
        announcer=announcer,
        telemetry=telemetry,
        clock=clock,
        answers=answers,
    )
