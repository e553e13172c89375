"""A call to the gateway costs its caller what usage and budgets say, whichever store or queue fails on the way.

As in `test_faults_at_every_call`, with what is answered at once: each call to a port fails or loses its answer in turn.
A death at the gateway is another matter: what it held is given back, and what it did is on no record (docs/budgets.md).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import DAY, make_budget
from tests.fakes.examples import make_catalogue
from tests.fakes.faults import Fault, Faults
from tests.fakes.gateway import FakeGateway
from tests.fakes.live_gateway import ASK, BROKE, CHAT, PIECES, live_catalogue
from tests.fakes.messages import InMemoryEvents
from tests.fakes.sizes import EASY, chat_answer, sized_catalogue
from tests.fakes.streams import RecordingOutlet
from tollgate.adapters.dynamodb.jobs.settled import job_record
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.api.telemetry import Telemetry
from tollgate.domain.budgets.budget import BudgetPeriod, ScopeKind
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Catalogue, ModelKind
from tollgate.domain.choice.policy import CascadePolicy, ChoicePolicy, DeploymentRole, ExtraSpend
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError, TollgateError
from tollgate.domain.roads.health import HealthPolicy
from tollgate.services.cache.refresh_answers import AnswerRefresher, RefreshOrders

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
FULL, FAILED, LATE = CapacityError("full"), ModelFailedError("no", original_status=500), BackendTimeoutError("late")


class Desk:
    """A gateway with budgets, whose calls to what lies outside are counted, and the cache function beside it."""

    def __init__(self, catalogue: Catalogue, faults: Faults, *answers: bytes | Exception) -> None:
        budgets = (make_budget("5"), make_budget("5", ScopeKind.KEY, BudgetPeriod.MONTH))
        self.gateway = gateway = FakeGateway(catalogue=replace(catalogue, budgets=budgets))
        script: Iterator[bytes | Exception] = iter(answers)
        gateway.realtime.script = lambda: next(script, answers[-1])
        faults.over(gateway.ledger, "write", "read")
        faults.over(gateway.jobs, "add", "get", "change")
        faults.over(gateway.async_queue, "send")
        faults.over(gateway.answers, "read", "read_many", "lead", "store", "release")
        faults.over(gateway.health, "record_health")
        faults.over(gateway.idempotency, "claim", "complete", "release")
        self.wrong: list[str] = []
        self._asked = 0
        self._refresher = AnswerRefresher(
            inference=gateway.inference,
            store=gateway.answers,
            objects=gateway.objects,
            telemetry=Telemetry(namespace="T", service="t", write=lambda line: gateway.lines.append(json.loads(line))),
            clock=gateway.clock,
            compare=lambda _: None,
        )

    def ask(self, route: str, body: Any) -> None:
        """Send a call; what its answer says of its cost must be what its line says, and what it was charged."""
        self._asked += 1
        headers = {"idempotency-key": str(self._asked)}
        answer = self.gateway.call(route, body, headers=headers, request_id=f"req-{self._asked}")
        line = self._lines[-1]
        told, known = answer.headers.get("x-tollgate-cost-usd"), line.get("effective_cost_usd", "0")
        if "job_id" not in line and Decimal(told or 0) != Decimal(known):
            self.wrong.append(f"{told} told, {known} in the line of {answer.status}")
        if line.get("charged_usd", known) != known:
            self.wrong.append(f"{known} told, {line['charged_usd']} charged by the line of {answer.status}")

    def refresh(self) -> None:
        """Have the stale answers made anew; every order comes twice."""
        events = InMemoryEvents()
        for run, ticket in self.gateway.refreshes:
            RefreshOrders(events, self.gateway.objects).order(run, ticket)
        self.gateway.refreshes.clear()
        for order in (*events.bodies, *events.bodies):
            try:
                self._refresher.carry_out(order)
            except TollgateError:
                self._refresher.carry_out(order)

    @property
    def _lines(self) -> list[dict[str, Any]]:
        return [line for line in self.gateway.lines if line.get("message") == "request"]

    def end(self) -> list[str]:
        """What is wrong after the function's next request."""
        gateway, now = self.gateway, self.gateway.clock.now()
        gateway.admission.settle_delayed()
        lines = [json.dumps(line, separators=(",", ":")) for line in self._lines]
        records = [record for line in lines for record in records_of_line(line, now)]
        records += [job_record(job) for job in gateway.jobs.jobs.values()]
        charged = sum_of(roll_up(records, now)).charged
        for name, counter in gateway.ledger.counters.items():
            own = [slot for slot in counter.slots if slot[0] == "h" and "_" in slot]
            # Copies for a shadow deployment have a key of their own.
            if own or (name == DAY and counter.spent != charged):
                self.wrong.append(f"{name}: {counter.spent} spent, {charged} in usage, held: {own}")
        return self.wrong


Way = Callable[[Faults], Desk]


def _echo(**changes: Any) -> Catalogue:
    """`small` with all the traffic, and `spare` with none."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (small,) = model.deployments
    changed = replace(model, deployments=(small, replace(small, name="spare", weight=0)), **changes)
    return replace(catalogue, models={"echo": changed})


def _fallback(faults: Faults) -> Desk:
    """Two fail and one answers; then two find no room, and a job is made of it; then one is too late."""
    policy = HealthPolicy(fallback=("spare",), slow_seconds=2.0)
    catalogue = _echo(health=policy, fall_back_to_async=True)
    desk = Desk(catalogue, faults, FAILED, b"{}", FAILED, FULL, LATE)
    for _ in range(3):
        desk.ask("POST /v1/inferences", HELLO)
    return desk


def _cached(faults: Faults) -> Desk:
    """A miss, and stale answers that no deployment makes anew."""
    policy = CachePolicy(ttl_seconds=60, stale_seconds=600, stale_if_error_seconds=600)
    catalogue = _echo(cache=policy, health=HealthPolicy(fallback=("spare",)))
    desk = Desk(catalogue, faults, b"{}", FAILED, FAILED, FAILED, b"{}")
    for _ in range(3):
        desk.ask("POST /v1/inferences", HELLO)
        desk.refresh()
        desk.gateway.clock.advance(61)
    return desk


def _embeddings(faults: Faults) -> Desk:
    """Texts known and new; there is no room for the new ones alone."""
    catalogue = _echo(kind=ModelKind.EMBEDDING, cache=CachePolicy(per_text=True))
    desk = Desk(catalogue, faults, b"[[1.0], [2.0]]", FULL, b"[[1.0], [2.0], [3.0], [4.0]]")
    for texts in (["a", "b"], ["a", "b", "c", "d"]):
        desk.ask("POST /v1/embeddings", {"model": "echo", "input": texts, "service_tier": "priority"})
    return desk


def _prompts(faults: Faults) -> Desk:
    """The last of three fails; then jobs are made of two."""
    desk = Desk(_echo(), faults, b'{"text": "x"}', b'{"text": "y"}', FAILED)
    for tier, prompts in (("priority", ["a", "b", "c"]), ("default", ["d", "e"])):
        desk.ask("POST /v1/completions", {"model": "echo", "prompt": prompts, "service_tier": tier})
    return desk


def _cascade(faults: Faults) -> Desk:
    """A small answer that will not do, and a larger one; a copy for the shadow of each."""
    catalogue = sized_catalogue(ChoicePolicy(cascade=CascadePolicy(), shadow=ExtraSpend(1.0, Decimal(1))))
    model = catalogue.models["chat"]
    shadow = replace(model.deployments[0], name="next", role=DeploymentRole.SHADOW, weight=0)
    models = {**catalogue.models, "chat": replace(model, deployments=(*model.deployments, shadow))}
    answers = chat_answer("I don't know."), chat_answer("Paris."), chat_answer("I don't know."), FAILED
    desk = Desk(replace(catalogue, models=models), faults, *answers)
    for _ in range(2):
        desk.ask("POST /v1/inferences", {"model": "chat", "input": EASY, "priority": "high"})
    return desk


def _streams(faults: Faults) -> Desk:
    """Whole, left by its caller, and broken off."""
    desk = Desk(live_catalogue(cache=CachePolicy()), faults, b"{}")
    streams: list[tuple[Sequence[bytes | Exception], int | None]] = [
        (PIECES, None),
        (PIECES, 2),
        ([*PIECES[:3], BROKE], None),
    ]
    for number, (pieces, leaves_after) in enumerate(streams):
        desk.gateway.stream.pieces = pieces
        body = ASK | {"messages": [{"role": "user", "content": f"hello {number}"}]}
        desk.gateway.watch(CHAT, body, RecordingOutlet(leaves_after=leaves_after), request_id=f"req-{number}")
    return desk


WAYS: list[Way] = [_fallback, _cached, _embeddings, _prompts, _cascade, _streams]


@pytest.mark.parametrize("fault", [Fault.FAILS, Fault.ANSWER_LOST])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_no_single_fault_gets_a_callers_cost_wrong(way: Way, fault: Fault) -> None:
    """At any call: the answer's header, the line, usage and the budgets agree, and nothing stays held."""
    calm = Faults()
    assert way(calm).end() == []
    for number in range(1, len(calm.calls) + 1):
        faults = Faults({number: fault})
        assert way(faults).end() == [], f"{fault.value} at call {number}, {faults.struck}"
