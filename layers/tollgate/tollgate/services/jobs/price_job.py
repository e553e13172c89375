"""What the work on a job has cost, by the catalogue that it ran under."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tollgate.domain.budgets.ledger import charge_of
from tollgate.domain.budgets.reserving import reservation_parts
from tollgate.domain.catalogue import Catalogue, InferenceType, Way
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.costs.settlement import Settlement, baseline_cost, settle
from tollgate.domain.errors import CatalogueError, UnknownModelError
from tollgate.domain.jobs.job import Bill, Job, Usage
from tollgate.domain.money import ZERO
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry

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


class JobPricing:
    """Prices jobs that end."""

    def __init__(self, *, catalogues: CatalogueSource, telemetry: Telemetry, clock: Clock) -> None:
        self._catalogues = catalogues
        self._telemetry = telemetry
        self._clock = clock

    def served_by(self, job: Job) -> Way:
        """Model, deployment and road that served the job.

        Raises:
            CatalogueError, UnknownModelError: they are no longer in the catalogue.
        """
        way = self._catalogue(job).model(job.model).way(job.deployment, job.inference_type)
        if way is None:
            raise CatalogueError(f"Deployment '{job.resource}' is no longer in the catalogue.")
        return way

    def settlement(self, job: Job, usage: Usage, work: Work) -> Settlement:
        """What the work on a job has cost; unknown where its time or its price is."""
        try:
            model, deployment, road = self.served_by(job)
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

    def worth(self, job: Job) -> Decimal | None:
        """Dollars that one more such request would cost on the baseline road."""
        if job.held_seconds is None:
            return None
        try:
            model, deployment, road = self.served_by(job)
        except (CatalogueError, UnknownModelError):
            return None
        return baseline_cost(model, deployment, road, held_seconds=job.held_seconds, usage=job.usage)

    def bill(self, job: Job, settlement: Settlement) -> Bill:
        """What a job is charged for and billed as."""
        return Bill(
            settled_at=self._clock.now(),
            charged=charge_of(settlement.effective, job.reservation),
            instance=settlement.instance,
            avoided=settlement.reasons,
            variant=self._variant(job),
        )

    def places(self, job: Job) -> int:
        """How many concurrent requests share the instance second charged to one of them."""
        if job.inference_type is not InferenceType.BATCH:
            return 1
        try:
            return self.served_by(job).road.concurrency
        except (CatalogueError, UnknownModelError):
            return 1

    def _catalogue(self, job: Job) -> Catalogue:
        """The catalogue that says how the job went and what it costs: for a token-priced call, that of the call."""
        if job.rates_version:
            return self._catalogues.of_version(job.rates_version)
        return self._catalogues.seen_by(job)

    @staticmethod
    def _own_parts(job: Job, work: Work, catalogue: Catalogue) -> Decimal:
        """The gateway's own costs of a job in dollars, at a catalogue's prices."""
        input_bytes = _STORED_INPUT_BYTES if job.input.key is not None else 0
        rates = gateway_rates(catalogue.gateway_prices)
        own = rates.expected(job.inference_type, input_bytes, float(work.held_seconds or ZERO))
        own += reservation_parts(job.reservation, rates, job=True) + (job.earlier_parts or ZERO)
        return own if work.parts is None else own + work.parts - rates.invocation(1)

    def _variant(self, job: Job) -> str:
        try:
            return self.served_by(job).road.target_variant or ""
        except (CatalogueError, UnknownModelError):
            return ""
