"""A gateway whose endpoints sleep: the keeper, the deferred runs and the gateway around one set of fakes."""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field

from tests.fakes.clock import ManualClock
from tests.fakes.completer import job_completer
from tests.fakes.crashes import CrashPoint
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway
from tests.fakes.messages import InMemoryEvents
from tests.fakes.places import FakeActivity, FakePlaces
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.dialects import ContainerDialects
from tollgate.adapters.time_zones import time_zone
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.errors import CapacityError, TollgateError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.domain.places.standing import Place, PlaceKind, ScalingTarget, Standing, StandStatus, VariantStanding
from tollgate.domain.roads.capacity import Capacity, RoadCapacity
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.deferred_calls import DeferredCalls
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.run_deferred import DeferredRun
from tollgate.services.jobs.run_token_job import TokenJobRun
from tollgate.services.places.hand_on import HandingOn
from tollgate.services.places.keep_places import PlaceKeeper
from tollgate.services.places.news import PlaceNews
from tollgate.services.places.watch_places import PlaceWatch
from tollgate.services.places.work import PlaceWork

REALTIME = Place(PlaceKind.REALTIME, "tollgate-echo-realtime")
ASYNC = Place(PlaceKind.ASYNC, "tollgate-echo-async")
POLICY = SleepPolicy(idle_minutes=30)


def sleepy_catalogue(policy: SleepPolicy | None = POLICY, *roads: InferenceType) -> Catalogue:
    """The example catalogue with a policy, and with these roads only if any are named."""
    catalogue = make_catalogue()
    [deployment] = catalogue.models["echo"].deployments
    kept = {t: replace(r, startup_seconds=240.0) for t, r in deployment.roads.items() if not roads or t in roads}
    model = replace(catalogue.models["echo"], deployments=(replace(deployment, roads=kept, sleep=policy),))
    return replace(catalogue, models={"echo": model})


def standing(place: Place, instances: int = 1, bounds: tuple[int, int] | None = None) -> Standing:
    """A place that is up."""
    target = ScalingTarget(
        f"endpoint/{place.name}/variant/main", "sagemaker:variant:DesiredInstanceCount", *(bounds or (0, 0))
    )
    return Standing(
        place,
        StandStatus.UP,
        configuration=f"{place.name}-config",
        variants=(VariantStanding("main", instances, instances),),
        scaling=() if bounds is None else (target,),
    )


@dataclass
class LiveCapacity:
    """A `CapacitySource` that sees what was told at once; `measured` are the seconds that a request holds its place."""

    places: FakePlaces
    measured: float | None = None

    def snapshot(self) -> Capacity:
        """See `CapacitySource`."""
        states = self.places.states.items()
        return Capacity(
            {
                road: RoadCapacity(state=state, instances=n, measured_seconds=self.measured)
                for road, (state, n) in states
            }
        )


def nobody_by_token() -> TokenJobRun:
    """For a house without such providers."""
    raise AssertionError("Nothing here is paid by the token.")


@dataclass
class Sleepers:
    """What a test looks at and moves."""

    catalogue: Catalogue = field(default_factory=sleepy_catalogue)
    clock: ManualClock = field(default_factory=ManualClock)
    endpoints: FakeEndpoints = field(default_factory=FakeEndpoints)
    places: FakePlaces = field(default_factory=FakePlaces)
    activity: FakeActivity = field(default_factory=FakeActivity)
    wakes: InMemoryEvents = field(default_factory=InMemoryEvents)
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    paused: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = FakeGateway(clock=self.clock, catalogue=self.catalogue)
        self.capacity = LiveCapacity(self.places)
        self.gateway.capacity.snapshot = self.capacity.snapshot  # type: ignore[method-assign]  # sees what is told
        for place in (REALTIME, ASYNC):
            self.endpoints.put(standing(place))
        self.keeper = self.new_keeper()
        completer = job_completer(
            jobs=self.gateway.jobs,
            objects=self.gateway.objects,
            catalogues=self.gateway.catalogues,
            durations=self.gateway.measurements,
            telemetry=self.telemetry,
            clock=self.clock,
        )
        gate = BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock)
        self.deferred = DeferredRun(
            jobs=self.gateway.jobs,
            catalogues=self.gateway.catalogues,
            brakes=BrakedJobs(
                gate=gate,
                catalogues=self.gateway.catalogues,
                queue=self.gateway.deferred_queue,
                telemetry=self.telemetry,
            ),
            places=self.places,
            wakes=self.wakes,
            calls=DeferredCalls(
                jobs=self.gateway.jobs,
                objects=self.gateway.objects,
                requests=JobRequests(ContainerDialects(), self.gateway.objects),
                backend=self.gateway.realtime,
                completer=completer,
                telemetry=self.telemetry,
                clock=self.clock,
            ),
            by_token=nobody_by_token,
            telemetry=self.telemetry,
            clock=self.clock,
        )

    def new_keeper(self, point: CrashPoint | None = None) -> PlaceKeeper:
        """Another execution environment's keeper."""
        return PlaceKeeper(
            catalogues=self.gateway.catalogues,
            records=self.places,
            control=self.endpoints,
            watch=PlaceWatch(
                work=PlaceWork(jobs=self.gateway.jobs, catalogues=self.gateway.catalogues, capacities=self.capacity),
                control=self.endpoints,
                activity=self.activity,
                telemetry=self.telemetry,
                zones=time_zone,
                handing_on=self.hand_on_to(point or CrashPoint(0)),
            ),
            news=PlaceNews(
                capacities=self.capacity,
                states=self.places,
                jobs=self.gateway.jobs,
                queues={
                    InferenceType.REALTIME: self.gateway.deferred_queue,
                    InferenceType.ASYNC: self.gateway.async_queue,
                },
            ),
            telemetry=self.telemetry,
            clock=self.clock,
            pause=self.pause,
        )

    def hand_on_to(self, watch: CrashPoint) -> Callable[[], HandingOn] | None:  # noqa: ARG002 -- for those who do
        """Nobody is beside these endpoints."""
        return None

    def pause(self, seconds: float) -> None:
        """The keeper waits; meanwhile changes under way end."""
        self.paused.append(seconds)
        self.clock.advance(seconds)
        self.endpoints.settle()

    def record(self, place: Place = REALTIME) -> PlaceRecord:
        """The record of a place."""
        return self.places.records[place]

    def minutes(self, count: int, *, settle: bool = True) -> None:
        """Let so many minutes pass, with the keeper's look in each; changes under way end in between."""
        for _ in range(count):
            self.clock.advance(60)
            if settle:
                self.endpoints.settle()
            self.keeper.tick()

    def calls(self, count: int) -> None:
        """Let the schedule call so many times, a minute apart; each call looks on for as long as it has a reason."""
        for _ in range(count):
            began = self.clock.now()
            self.keeper.follow(self.keeper.tick())
            self.clock.advance(60 - (self.clock.now() - began).total_seconds())

    def until_asleep(self, place: Place = REALTIME) -> None:
        """Leave the place alone until it sleeps."""
        self.minutes(40)
        assert self.record(place).phase.value == "asleep", self.record(place)

    def deliver(self) -> None:
        """Hand every event and message on, wake requests first; a job without capacity comes back."""
        for events in (self.gateway.wakes, self.wakes):
            sent, events.sent = events.sent, []
            for event in sent:
                assert event.body["kind"] == "wake"
                self.keeper.wake(Place.from_key(event.body["place"]))
        sent, self.gateway.deferred_queue.sent = self.gateway.deferred_queue.sent, []
        for message in sent:
            try:
                self.deferred.run(message.body["job_id"])
            except CapacityError:
                self.gateway.deferred_queue.sent.append(message)
            except TollgateError as error:
                raise AssertionError(error.message) from error
