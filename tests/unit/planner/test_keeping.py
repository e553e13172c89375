"""The planner's endpoint that gathers does what the capacity function does with one, second by second."""

from array import array
from collections.abc import Callable, Sequence
from copy import replace
from datetime import timedelta
from decimal import Decimal
from heapq import heapreplace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.handing_on import Tokens, serve_handing_on
from planner.keeping import HAND_OVER_SECONDS, serve_keeping
from planner.waking import Requests
from tests.fakes.crashes import CrashPoint
from tests.fakes.examples import make_job
from tests.fakes.gatherers import ENDS_WITH_ITS_WORK, PLACES, Gatherers
from tests.fakes.sleepers import ASYNC
from tests.fakes.token_house import token_catalogue
from tollgate.adapters.dialects import ContainerDialects
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import CLOSE_LOOK_SECONDS, TICK_SECONDS, Phase, SleepPolicy
from tollgate.domain.places.standing import StandStatus
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.places.hand_on import HandingOn
from tollgate.services.places.work import GatheredJob

STARTUP = 240.0
HELD = 5.0
ANSWERED = 2.0
PRICED = """
[models.chat.deployments.paid]
tier = "small"
timing = { base_seconds = 2.0, expected_output_tokens = 100 }
[models.chat.deployments.paid.tokens]
provider = "openai_http"
model = "any"
url = "https://api.example.com/v1"
max_output_tokens = 500
usd_per_million_input_tokens = "0"
usd_per_million_output_tokens = "13"
"""
"""About six requests are worth a start."""
ENDPOINT = SleepingEndpoint(STARTUP, PLACES, 4)


class Stack(Gatherers):
    """The keeper and the submitter over an endpoint that takes its time, on a clock that goes second by second."""

    def __init__(self, policy: SleepPolicy = ENDS_WITH_ITS_WORK) -> None:
        super().__init__(policy)
        self.sleeping()
        self.capacity.measured = HELD
        self._ready = 0.0
        self._changing = False
        self._places = [0.0] * PLACES
        self._served = 0
        self._ends: list[tuple[float, str]] = []
        self.ended: dict[str, float] = {}
        self.handed_on: set[str] = set()

    def run(self, coming: Sequence[tuple[int, float]], seconds: int) -> None:
        """Let requests come, each at its second and due so many minutes later."""
        due, follow = sorted(coming), False
        began = self.clock.now()
        for second in range(seconds):
            self.clock.advance((began + timedelta(seconds=second) - self.clock.now()).total_seconds())
            self._sagemaker(float(second))
            while due and due[0][0] <= second:
                self.come(due.pop(0)[1])
            if second % TICK_SECONDS == 0:
                follow = bool(self.keeper.tick())
            elif follow and second % CLOSE_LOOK_SECONDS == 0:
                follow = bool(self.keeper._look_at([ASYNC], close=True))
            self.hand_over()
            self.provide()

    def provide(self) -> None:
        """What others do who answer requests: nobody else does here."""

    def _sagemaker(self, now: float) -> None:
        found = self.endpoints.describe(ASYNC)
        if found.status is StandStatus.CHANGING and not self._changing:
            self._ready = now + (STARTUP if found.desired else 0.0)
        self._changing = found.status is StandStatus.CHANGING
        if self._changing and now >= self._ready:
            self.endpoints.settle()
            self._changing = False
        while self._served < len(self.order):
            handed_over = now - 1.0  # after this was asked for that second
            end = max(self._places[0], handed_over + HAND_OVER_SECONDS) + HELD
            heapreplace(self._places, end)
            self._ends.append((end, self.order[self._served]))
            self._served += 1
        done = [(end, name) for end, name in self._ends if end <= now]
        self._ends = [each for each in self._ends if each not in done]
        for end, name in done:
            self.ended[name] = end
            self.answer(name)

    @property
    def woken(self) -> list[float]:
        """Seconds at which it was woken."""
        return [line.at.timestamp() for line in self.record(ASYNC).history if line.phase is Phase.WAKING]


@settings(max_examples=25, deadline=None)
@given(
    coming=st.lists(
        st.tuples(st.integers(0, 240).map(lambda tens: 10 * tens + 1), st.integers(15, 40)), min_size=1, max_size=25
    ),
)
@example(coming=[(1, 15), (400, 15), (780, 15), (1300, 40), (1301, 40)])
@example(coming=[(second, 20) for second in range(60, 85)])
@example(coming=[*[(1, 22)] * 7, (226, 40), (1234, 40), (1265, 37), (1267, 36)])
@example(coming=[*[(1, 15)] * 7, (865, 15)])
@example(coming=[(276, 15), (1147, 15)])
@example(coming=[(276, 15), (1147, 15), (1201, 15)])
def test_the_planner_wakes_and_serves_when_the_keeper_does(coming: list[tuple[int, int]]) -> None:
    """As many starts, at most two looks apart, and nobody is late.

    The planner counts requests that are due in the same ten seconds as one, so that they come ten seconds apart here:
    who comes between its look and the keeper's next one would belong to another start.
    """
    stack = Stack()
    began = stack.clock.now().timestamp()
    stack.run(coming, 7200)
    ordered = sorted(coming)
    requests = Requests(
        array("d", [float(second) for second, _ in ordered]),
        array("d", [HELD] * len(ordered)),
        array("d", [minutes * 60.0 for _, minutes in ordered]),
    )
    planned = serve_keeping(requests, ENDPOINT)
    starts = [moment for moment, change in planned.changes if change > 0]
    earlier = [moment - began - start for moment, start in zip(stack.woken, starts, strict=True)]
    assert all(0 <= seconds <= 2 * CLOSE_LOOK_SECONDS for seconds in earlier)
    assert stack.phase is Phase.ASLEEP
    slack = HAND_OVER_SECONDS + 3 * CLOSE_LOOK_SECONDS
    found = [stack.ended[f"inf_{number}"] for number in range(1, len(ordered) + 1)]
    assert max(abs(end - mine) for end, mine in zip(planned.ends, found, strict=True)) <= slack
    assert all(end <= second + minutes * 60 for end, (second, minutes) in zip(found, ordered, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0, 900), min_size=1, max_size=60),
    held=st.floats(0.1, 30),
    deadline=st.floats(330, 90_000),
)
def test_every_request_ends_once_and_every_instance_goes(gaps: list[float], held: float, deadline: float) -> None:
    """Each answer comes after its request, nobody is late, and what was started was paid until it went."""
    arrivals, now = array("d"), 0.0
    for gap in gaps:
        now += gap
        arrivals.append(now)
    count = len(arrivals)
    requests = Requests(arrivals, array("d", [held]) * count, array("d", [deadline]) * count)
    served = serve_keeping(requests, replace(ENDPOINT, maximum=8))
    assert all(a + held <= end <= a + deadline for a, end in zip(arrivals, served.ends, strict=True))
    assert sum(change for _, change in served.changes) == 0
    billed = -sum(moment * change for moment, change in served.changes)
    assert abs(billed - served.instance_seconds) < 1e-6 * max(1.0, billed)
    assert served.instance_seconds >= served.startup_seconds == served.starts * STARTUP


class HandOnStack(Stack):
    """The same beside a provider, which answers what is handed on to it."""

    def __init__(self) -> None:
        super().__init__(replace(ENDS_WITH_ITS_WORK, hand_on_to="paid"))
        paid = token_catalogue(PRICED).models["chat"].deployments[0]
        model = self.catalogue.models["echo"]
        model = replace(model, deployments=(*model.deployments, replace(paid, model="echo")))
        self.gateway.catalogues.catalogue = catalogue = replace(self.catalogue, models={"echo": model})
        self.submitter._catalogues = self.gateway.catalogues
        self.submitter._runs = self.gateway.deferred_queue
        self.handing_on = HandingOn(
            jobs=self.gateway.jobs,
            objects=self.gateway.objects,
            queue=self.gateway.async_queue,
            catalogues=self.gateway.catalogues,
            capacities=self.capacity,
            dialects=ContainerDialects(),
            gate=BrakeGate(brakes=lambda: self.gateway.brakes, telemetry=self.telemetry, clock=self.clock),
            telemetry=self.telemetry,
            clock=self.clock,
        )
        self.price = catalogue.models["echo"].deployments[0].roads[InferenceType.ASYNC].usd_per_hour or Decimal(0)
        self.began = self.clock.now()

    def hand_on_to(self, watch: CrashPoint) -> Callable[[], HandingOn]:  # noqa: ARG002 -- nothing crashes here
        return lambda: self.handing_on

    def provide(self) -> None:
        sent, self.gateway.deferred_queue.sent = self.gateway.deferred_queue.sent, []
        for message in sent:
            name = message.body["job_id"]
            job = self.gateway.jobs.jobs[name]
            self.gateway.jobs.jobs[name] = job._replace(state=JobState.COMPLETED, finished_at=self.clock.now())
            self.ended[name] = (self.clock.now() - self.began).total_seconds() + ANSWERED
            self.handed_on.add(name)

    def tokens(self, count: int) -> Tokens:
        """The provider as the planner sees it: what the gateway itself expects to be saved on such a request."""
        job = make_job(created_at=self.clock.now(), deadline_at=self.clock.now() + timedelta(hours=1))
        model = self.gateway.catalogues.catalogue.models["echo"]
        giver = model.deployments[0]
        taker = self.handing_on.taker(giver)
        assert taker is not None
        assert job.deadline_at is not None
        work = DueWork(job.deadline_at.timestamp() - HELD, HELD)
        gathered = GatheredJob(giver, giver.roads[InferenceType.ASYNC], job, job.deadline_at, work)
        offer = self.handing_on.offer(gathered, taker, self.clock.now())
        assert offer is not None
        start = float(self.price) / 3600 * STARTUP
        return Tokens(array("d", [offer.saved] * count), array("d", [ANSWERED] * count), start)


@settings(max_examples=25, deadline=None)
@given(
    coming=st.lists(
        st.tuples(st.integers(0, 240).map(lambda tens: 10 * tens + 1), st.integers(15, 40)), min_size=1, max_size=40
    ),
)
@example(coming=[(1, 15), (400, 15), (780, 15), (1300, 40), (1301, 40)])
@example(coming=[(second, 20) for second in range(60, 360, 10)])
@example(coming=[(1, 15), *[(second, 40) for second in range(11, 211, 10)]])
@example(coming=[(1, 29), (351, 23), (351, 23), (411, 22), (531, 20), (601, 37)])
def test_the_planner_hands_on_what_the_keeper_does(coming: list[tuple[int, int]]) -> None:
    """The same requests go to the tokens, the others find as many starts, and nobody is late.

    The planner counts requests that are due in the same ten seconds as one: with deadlines of four seconds more than
    whole minutes, all of them are on the same side of what a look counts.
    """
    stack = HandOnStack()
    tokens = stack.tokens(len(coming))
    stack.run([(second, minutes + 4 / 60) for second, minutes in coming], 7200)
    ordered = sorted(coming)
    requests = Requests(
        array("d", [float(second) for second, _ in ordered]),
        array("d", [HELD] * len(ordered)),
        array("d", [minutes * 60.0 + 4.0 for _, minutes in ordered]),
    )
    planned = serve_handing_on(requests, ENDPOINT, tokens)
    names = [f"inf_{number}" for number in range(1, len(ordered) + 1)]
    assert [bool(one) for one in planned.elsewhere] == [name in stack.handed_on for name in names]
    starts = [moment for moment, change in planned.changes if change > 0]
    began = stack.began.timestamp()
    assert all(
        0 <= moment - began - start <= 2 * CLOSE_LOOK_SECONDS for moment, start in zip(stack.woken, starts, strict=True)
    )
    slack = HAND_OVER_SECONDS + 3 * CLOSE_LOOK_SECONDS
    found = [stack.ended[name] for name in names]
    assert max(abs(end - mine) for end, mine in zip(planned.ends, found, strict=True)) <= slack
    assert all(end <= second + minutes * 60 for end, (second, minutes) in zip(found, ordered, strict=True))


def test_a_second_to_answer_at_the_provider_too_many_keeps_it_for_an_instance() -> None:
    """A call may take a minute; who needs longer has an instance started, and that one serves the others too."""
    requests = Requests(array("d", [1.0, 2.0]), array("d", [HELD] * 2), array("d", [900.0] * 2))
    little = Tokens(array("d", [0.0001] * 2), array("d", [2.0, 61.0]), 0.1)
    served = serve_handing_on(requests, ENDPOINT, little)
    assert (list(served.elsewhere), served.starts) == ([0, 0], 1)
    served = serve_handing_on(requests, ENDPOINT, replace(little, seconds=array("d", [2.0, 60.0])))
    assert (list(served.elsewhere), served.starts, served.instance_seconds) == ([1, 1], 0, 0.0)
