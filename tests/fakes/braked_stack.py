"""A stack whose brakes work on endpoints in memory."""

from copy import replace
from datetime import timedelta
from decimal import Decimal

from tests.fakes.backends import FixedCatalogue
from tests.fakes.clock import CountingIds, ManualClock
from tests.fakes.control import InMemoryControl, RecordingAnnouncer, RecordingHolds
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.examples import make_catalogue
from tests.fakes.ledger import InMemoryLedger, RecordingNotices
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.webhooks import InMemoryWebhookSecrets, ScriptedSender
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep, Signal
from tollgate.domain.brakes.plan import EntryState
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.places.standing import (
    Place,
    PlaceKind,
    ScalingPolicy,
    ScalingTarget,
    Standing,
    StandStatus,
    VariantStanding,
)
from tollgate.services.brakes.steps import BrakeSteps
from tollgate.services.brakes.work import Brakes
from tollgate.services.budgets.announce import BudgetWebhooks
from tollgate.services.budgets.finish_notices import NoticeFinisher
from tollgate.services.budgets.watch_spend import SpendWatch

LEVELS = (BrakeLevel.WARN, BrakeLevel.DOWNGRADE, BrakeLevel.DEFER, BrakeLevel.STOP)
POLICY = BrakePolicy(
    steps=tuple(BrakeStep(Decimal(p), level) for p, level in zip((80, 90, 95, 100), LEVELS, strict=True))
)
REALTIME = Place(PlaceKind.REALTIME, "tollgate-echo-realtime")
ASYNC = Place(PlaceKind.ASYNC, "tollgate-echo-async")
JOBS = Place(PlaceKind.BATCH, "tollgate-echo")


def standings() -> dict[Place, Standing]:
    """What stands before anybody brakes."""
    policy = ScalingPolicy("backlog", "TargetTrackingScaling", '{"TargetValue":5.0}')
    target = ScalingTarget("endpoint/a/variant/v", "sagemaker:variant:DesiredInstanceCount", 0, 4, policies=(policy,))
    return {
        REALTIME: Standing(
            REALTIME, StandStatus.UP, "config-7", (VariantStanding("v", 3, 3, 1.0),), tags=(("team", "search"),)
        ),
        ASYNC: Standing(ASYNC, StandStatus.UP, "config-8", (VariantStanding("v", 2, 2, 1.0),), (target,)),
        JOBS: Standing(JOBS, StandStatus.UP, jobs=("tollgate-batch-1",)),
    }


class World:
    """A stack with brakes, where endpoints take one pause to change."""

    def __init__(
        self,
        policy: BrakePolicy = POLICY,
        *,
        patience: float = 25.0,
        settles: bool = True,
        sender: ScriptedSender | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.store = InMemoryControl()
        self.endpoints = FakeEndpoints(standings=standings())
        self.announcer = RecordingAnnouncer()
        self.telemetry = RecordingTelemetry()
        self.holds = RecordingHolds()
        self.ledger = InMemoryLedger()
        budget = Budget(ScopeKind.GATEWAY, "", BudgetPeriod.DAY, Decimal(10))
        self.catalogues = FixedCatalogue(replace(make_catalogue(), brakes=policy, budgets=(budget,)))
        self.settles = settles
        self.ids = CountingIds()
        self.patience = patience
        self.brakes = self.another()
        self.notices = RecordingNotices()
        self.sender, self.secrets = sender or ScriptedSender(), InMemoryWebhookSecrets()
        self.watch = SpendWatch(
            brakes=self.brakes,
            catalogues=self.catalogues,
            ledger=self.ledger,
            notices=NoticeFinisher(
                ledger=self.ledger, notices=self.notices, telemetry=self.telemetry, clock=self.clock
            ),
            webhooks=BudgetWebhooks(
                sender=self.sender,
                secrets=self.secrets,
                catalogues=self.catalogues,
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            clock=self.clock,
        )

    def another(self) -> Brakes:
        """The service of another execution environment."""
        steps = BrakeSteps(
            store=self.store,
            endpoints=self.endpoints,
            telemetry=self.telemetry,
            clock=self.clock,
            pause=self.pause,
            holds=self.holds,
            patience_seconds=self.patience,
        )
        return Brakes(
            store=self.store,
            steps=steps,
            catalogues=self.catalogues,
            announcer=self.announcer,
            telemetry=self.telemetry,
            clock=self.clock,
            ids=self.ids,
        )

    def pause(self, seconds: float) -> None:
        """Time goes by, and endpoints become what they were told to."""
        self.clock.advance(seconds)
        if self.settles:
            self.endpoints.settle()

    def signal(self, level: BrakeLevel, cause: str = "budget:b") -> Signal:
        """A cause to brake until the end of the day."""
        end = self.clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return Signal(cause, level, self.clock.now(), end, "because")

    def brake(self, level: BrakeLevel) -> None:
        """Hear of it, and do what follows."""
        self.brakes.hear(self.signal(level))
        self.brakes.settle()

    def level(self) -> BrakeLevel:
        """How far the brakes are on."""
        return self.store.control.level

    def states(self) -> dict[str, EntryState]:
        """The steps by level and target."""
        return {f"{e.level.word}:{e.target}": e.state for e in self.store.steps.values()}
