"""All roads to an answer that comes later, wired over one set of fakes that may fail at any call."""

from copy import replace
from typing import TYPE_CHECKING

from tests.fakes.async_endpoint import AsyncEndpoint
from tests.fakes.budgeted_gateway import make_budget
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_catalogue
from tests.fakes.faults import Faults
from tests.fakes.gateway import FakeGateway
from tests.fakes.messages import InMemoryQueue
from tests.fakes.money_books import MoneyBooks
from tests.fakes.places import FakePlaces
from tests.fakes.token_house import OneProvider, completion, token_catalogue
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.dialects.merging import InputsMerger
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind
from tollgate.domain.catalogue import BatchPolicy, Catalogue, InferenceType
from tollgate.domain.errors import (
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
)
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.deferred_calls import DeferredCalls
from tollgate.services.jobs.hand_over import AsyncHandOver
from tollgate.services.jobs.hand_over_together import GroupHandOver
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.prepare_async import AsyncPreparation
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.jobs.run_token_job import TokenJobRun
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.jobs.submit_together import GroupSubmitter

if TYPE_CHECKING:
    from tollgate.services.jobs.async_notice import AsyncNotice


def paid_catalogue(*, together: bool = False, limit: str = "5") -> Catalogue:
    """The example model, whose requests may share an invocation, and one paid by the token, in three budgets."""
    catalogue = make_catalogue(batch=BatchPolicy(max_records=3, max_age_seconds=60, records_per_file=2))
    model = catalogue.models["echo"]
    (small,) = model.deployments
    policy = MicroBatchPolicy(max_requests=16, max_bytes=10_000, max_seconds=10) if together else None
    small = replace(small, micro_batch=policy, sleep=SleepPolicy(idle_minutes=30))
    budgets = (
        make_budget(limit),
        make_budget(limit, ScopeKind.TEAM, BudgetPeriod.MONTH),
        make_budget(limit, ScopeKind.KEY, BudgetPeriod.TOTAL),
    )
    models = {"echo": replace(model, deployments=(small,)), "chat": token_catalogue().model("chat")}
    return replace(catalogue, models=models, budgets=budgets)


class MoneyRoads(MoneyBooks):
    """The gateway, all roads behind it, and the sweeper."""

    def __init__(
        self, faults: Faults | None = None, *, together: bool = False, limit: str = "5", busy: int = 1
    ) -> None:
        super().__init__()
        self.busy = busy
        self.notices: list[AsyncNotice] = []
        self.steps = 0
        self.faults = faults or Faults()
        self.faults.world = self
        self.catalogues.catalogue = paid_catalogue(together=together, limit=limit)
        self.gateway = FakeGateway(
            clock=self.clock,
            catalogue=self.catalogues.catalogue,
            ledger=self.ledger,
            objects=self.objects,
            async_queue=self.async_queue,
            batch_queue=self.queue,
            deferred_queue=self.deferred_queue,
            answers=self.answers,
            shared_jobs=self.jobs,
        )
        self.provider = token_catalogue().model("chat").deployments[0].roads[InferenceType.ASYNC].target
        self.gateway.realtime.answers[self.provider] = completion()
        self.jobs.ledger = self.file_batches.ledger = self.ledger
        self.endpoint = AsyncEndpoint(self.clock, self.objects)
        # Gateway functions that died; what they held and had not recorded is known to nobody.
        self.died_answering = 0
        self._watch()
        self._roads()

    def _watch(self) -> None:
        over = self.faults.over
        jobs = ("add", "get", "get_many", "change", "add_late", "open_since", "pool_of", "waiting_for_batch")
        over(self.jobs, *jobs)
        over(self.batches, "add", "get", "change", "open_since", "lease", "release")
        over(self.file_batches, "get", "change", "open_since")
        over(self.files, "add", "get")
        over(self.objects, "put", "put_lines", "get", "lines", "list_keys", "delete", "stored_at")
        over(self.ledger, "write", "read", "open_notice", "tell_once")
        over(self.answers, "read", "lead", "store", "release")
        for queue in (self.async_queue, self.deferred_queue, self.queue, self.webhooks):
            over(queue, "send")
        over(self.endpoint, "submit", fails=BackendThrottledError, lost=BackendTimeoutError)
        over(self.backend, "start", "stop", "describe", fails=BackendThrottledError, lost=BackendThrottledError)
        over(self.gateway.realtime, "invoke", fails=CapacityError, lost=BackendTimeoutError)

    def _roads(self) -> None:
        nothing = CrashPoint(0)
        completer = self.completer(nothing)
        self.faults.over(self.holding, "take_place")
        requests = JobRequests(ContainerDialects(), self.objects)
        hand_over = AsyncHandOver(
            jobs=self.jobs,
            objects=self.objects,
            backend=self.endpoint,
            completer=completer,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        preparation = AsyncPreparation(
            jobs=self.jobs,
            catalogues=self.catalogues,
            requests=requests,
            hand_over=hand_over,
            completer=completer,
            brakes=self._braked(self.async_queue),
            places=FakePlaces(),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        submitter = AsyncSubmitter(
            jobs=self.jobs,
            catalogues=self.catalogues,
            preparation=preparation,
            hand_over=hand_over,
            completer=completer,
            answers=lambda: self.job_answers,
            brakes=self._braked(self.async_queue),
            runs=self.deferred_queue,
            telemetry=self.telemetry,
        )
        groups = GroupHandOver(
            single=hand_over,
            objects=self.objects,
            backend=self.endpoint,
            merger=InputsMerger(),
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
        )
        self.submitter = GroupSubmitter(
            submitter=submitter,
            preparation=preparation,
            hand_over=hand_over,
            groups=groups,
            merger=InputsMerger(),
            jobs=self.jobs,
            catalogues=self.catalogues,
            capacities=self.gateway.capacity,
            telemetry=self.telemetry,
        )
        by_token = TokenJobRun(
            jobs=self.jobs,
            objects=self.objects,
            catalogues=self.catalogues,
            requests=requests,
            providers=OneProvider(self.gateway.realtime),
            completer=completer,
            queue=self.deferred_queue,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self.deferred = DeferredRun(
            jobs=self.jobs,
            catalogues=self.catalogues,
            brakes=self._braked(self.deferred_queue),
            places=FakePlaces(),
            wakes=self.gateway.wakes,
            calls=DeferredCalls(
                jobs=self.jobs,
                objects=self.objects,
                requests=requests,
                backend=self.gateway.realtime,
                completer=completer,
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            by_token=lambda: by_token,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def _braked(self, queue: InMemoryQueue) -> BrakedJobs:
        gate = BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock)
        return BrakedJobs(gate=gate, catalogues=self.catalogues, queue=queue, telemetry=self.telemetry)
