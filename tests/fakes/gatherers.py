"""A gateway whose asynchronous endpoint gathers and ends with its work: the keeper, the submitter and a SageMaker."""

from copy import replace
from datetime import timedelta

from tests.fakes.async_road import AsyncRoad
from tests.fakes.examples import make_job
from tests.fakes.sleepers import ASYNC, Sleepers, sleepy_catalogue, standing
from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import CLOSE_LOOK_SECONDS, Phase, SleepPolicy

ENDS_WITH_ITS_WORK = SleepPolicy(idle_minutes=0, gather=True)
PLACES = 8


def _with_places(catalogue: Catalogue, places: int) -> Catalogue:
    model = catalogue.models["echo"]
    [deployment] = model.deployments
    roads = {kind: replace(road, concurrency=places) for kind, road in deployment.roads.items()}
    return replace(catalogue, models={"echo": replace(model, deployments=(replace(deployment, roads=roads),))})


class Gatherers(Sleepers):
    """Sleepers with an asynchronous road: messages are handed over at once, and SageMaker answers when it is told."""

    def __init__(self, policy: SleepPolicy = ENDS_WITH_ITS_WORK) -> None:
        super().__init__(catalogue=_with_places(sleepy_catalogue(policy, InferenceType.ASYNC), PLACES))
        self.endpoints.put(standing(ASYNC, 1, bounds=(0, 4)))
        road = AsyncRoad(self.catalogue)
        road.clock, road.jobs = self.clock, self.gateway.jobs
        self.backend = road.backend
        road.places = self.places
        self.submitter = road.submitter()
        self.number = 0
        self.order: list[str] = []

    @property
    def phase(self) -> Phase:
        """Of the endpoint."""
        return self.record(ASYNC).phase

    @property
    def submitted(self) -> list[str]:
        """Ids of the jobs that SageMaker has, in the order in which it got them."""
        return [name for name in self.order if self.gateway.jobs.jobs[name].state is JobState.SUBMITTED]

    def come(self, minutes: float | None = 20) -> str:
        """A request is accepted, due in so many minutes."""
        self.number += 1
        name, now = f"inf_{self.number}", self.clock.now()
        due = None if minutes is None else now + timedelta(minutes=minutes)
        self.gateway.jobs.add(make_job(name, created_at=now, deadline_at=due))
        self._submit(name)
        return name

    def hand_over(self) -> None:
        """The messages of the keeper reach the submitter."""
        sent, self.gateway.async_queue.sent = self.gateway.async_queue.sent, []
        for message in sent:
            self._submit(message.body["job_id"])

    def _submit(self, name: str) -> None:
        before = self.gateway.jobs.jobs[name].state
        self.submitter.submit(name)
        if before is not self.gateway.jobs.jobs[name].state:
            self.order.append(name)

    def answer(self, *names: str) -> None:
        """SageMaker has answered these, or all."""
        for name in names or tuple(self.submitted):
            job = self.gateway.jobs.jobs[name]
            assert job.state is JobState.SUBMITTED
            self.gateway.jobs.jobs[name] = job._replace(state=JobState.COMPLETED, finished_at=self.clock.now())

    def look(self) -> bool:
        """A look a few seconds later; whether there is to be another one."""
        self.clock.advance(CLOSE_LOOK_SECONDS)
        self.endpoints.settle()
        return bool(self.keeper._look_at([ASYNC], close=True))

    def until(self, phase: Phase) -> None:
        """Look until the place is there."""
        for _ in range(1000):
            if self.phase is phase:
                return
            self.look()
        raise AssertionError(self.record(ASYNC))

    def sleeping(self) -> "Gatherers":
        """The same, asleep for the first time by its metrics."""
        self.until_asleep(ASYNC)
        self.endpoints.orders.clear()
        return self

    def working(self, count: int = 1) -> list[str]:
        """Requests that gathered, handed over on a place that was woken for them."""
        names = [self.come() for _ in range(count)]
        self.until(Phase.AWAKE)
        self.hand_over()
        return names
