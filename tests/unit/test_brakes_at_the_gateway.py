"""Brakes as a caller meets them, and as work that was accepted before them does."""

from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.control import FixedBrakes
from tests.fakes.examples import make_catalogue, make_job
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep, Control
from tollgate.domain.catalogue import Catalogue, Tier
from tollgate.domain.jobs.job import JobState
from tollgate.services.brakes.gate import BrakeGate

HELLO = {"model": "echo", "input": "hello", "priority": "high"}
POLICY = BrakePolicy(steps=(BrakeStep(Decimal(100), BrakeLevel.STOP),))


def _catalogue(*, critical: frozenset[str] = frozenset()) -> Catalogue:
    """Two tiers, with all the traffic on the larger one."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (small,) = model.deployments
    large = replace(small, name="large", tier=Tier.LARGE, weight=1000)
    model = replace(model, deployments=(replace(small, weight=1), large))
    return replace(catalogue, models={"echo": model}, brakes=replace(POLICY, critical=critical))


def _gateway(level: BrakeLevel, **options: Any) -> FakeGateway:
    gateway = FakeGateway(catalogue=_catalogue(**options))
    gateway.brakes.control = Control(
        revision=1, level=level, reason="the month is spent", until=gateway.clock.now() + timedelta(hours=2)
    )
    return gateway


def test_a_catalogue_without_brakes_never_asks_for_them() -> None:
    """Nobody pays for what they do not use, whatever the record says."""
    gateway = FakeGateway()
    gateway.brakes.control = Control(revision=1, level=BrakeLevel.STOP)
    assert gateway.infer(HELLO).status == 200
    assert gateway.brakes.reads == 0


@pytest.mark.parametrize(
    ("level", "deployment", "road", "reason"),
    [
        (BrakeLevel.NONE, "echo/large", "realtime", ""),
        (BrakeLevel.WARN, "echo/large", "realtime", ""),
        (BrakeLevel.DOWNGRADE, "echo/small", "realtime", ";brake=downgrade"),
        (BrakeLevel.DEFER, "echo/small", "async", ";brake=defer"),
    ],
)
def test_each_level_slows_down_further(level: BrakeLevel, deployment: str, road: str, reason: str) -> None:
    """Smaller, then later; the route's reason says so."""
    gateway = _gateway(level)
    answer = gateway.infer(HELLO)
    assert answer.headers["x-tollgate-deployment"] == deployment
    assert answer.headers["x-tollgate-inference-type"] == road
    assert answer.headers["x-tollgate-route-reason"].endswith(reason or "priority=high")


def test_a_stop_refuses_new_work_and_spends_nothing() -> None:
    """429 with the time until it goes on, the reason, no call, no job, no cost; it is counted."""
    gateway = _gateway(BrakeLevel.STOP)
    for road in ("high", "medium", "low"):
        answer = gateway.infer(HELLO | {"priority": road})
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7200")
        assert document(answer)["error"]["code"] == "insufficient_quota"
        assert "the month is spent" in document(answer)["error"]["message"]
        assert answer.headers["x-tollgate-route-reason"] == "brake=stop"
        assert answer.headers["x-tollgate-cost-usd"] == "0"
    assert (gateway.realtime.calls, gateway.async_queue.bodies, gateway.batch_queue.bodies) == ([], [], [])
    assert gateway.ledger.writes == 0
    assert sum("BrakeRefused" in line for line in gateway.metrics) == 3


def test_a_stop_holds_for_openais_routes_too() -> None:
    """There is one admission point."""
    gateway = _gateway(BrakeLevel.STOP)
    messages = [{"role": "user", "content": "hi"}]
    answer = gateway.call("POST /v1/chat/completions", {"model": "echo", "messages": messages})
    assert answer.status == 429


def test_critical_deployments_go_on_through_a_stop() -> None:
    """Requests go to the critical one of a model; a model that is critical as a whole notices nothing."""
    answer = _gateway(BrakeLevel.STOP, critical=frozenset({"echo/small"})).infer(HELLO)
    assert (answer.status, answer.headers["x-tollgate-deployment"]) == (200, "echo/small")
    answer = _gateway(BrakeLevel.STOP, critical=frozenset({"echo"})).infer(HELLO)
    assert (answer.status, answer.headers["x-tollgate-deployment"]) == (200, "echo/large")


def _gate(level: BrakeLevel, clock: Any) -> tuple[BrakeGate, FixedBrakes]:
    brakes = FixedBrakes()
    brakes.control = Control(revision=1, level=level)
    return BrakeGate(brakes=lambda: brakes, telemetry=RecordingTelemetry(), clock=clock), brakes


def test_a_job_that_waits_is_not_handed_over_during_a_stop() -> None:
    """It comes back by itself and is handed over when the brake is off; no delivery counts as failed."""
    road = AsyncRoad()
    road.catalogues.catalogue = replace(road.catalogues.catalogue, brakes=POLICY)
    road.brakes.control = Control(revision=1, level=BrakeLevel.STOP)
    submitter = road.submitter()
    job = make_job()
    road.jobs.add(job)
    submitter.submit(job.job_id)
    assert road.backend.submitted == []
    assert [body["job_id"] for body in road.queue.bodies] == [job.job_id]
    road.brakes.control = replace(road.brakes.control, level=BrakeLevel.DEFER)
    submitter.submit(job.job_id)
    assert len(road.backend.submitted) == 1


def test_transform_jobs_do_not_start_during_a_stop_and_run_again_after_it() -> None:
    """Neither those that are due, nor those that the brakes have stopped; afterwards every request gets its answer."""
    road = BatchRoad()
    road.held_back.add(RESOURCE)
    road.add_jobs(4)
    road.clock.advance(1000)
    road.dispatcher().wake(RESOURCE)
    assert road.backend.started == {}
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.QUEUED}
    road.held_back.clear()
    road.dispatcher().wake(RESOURCE)
    (name,) = road.backend.started
    road.held_back.add(RESOURCE)
    road.backend.end(name, "Stopped", began=road.clock.now())
    road.collect(name)
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.SUBMITTED}
    assert list(road.backend.started) == [name]
    road.held_back.clear()
    road.run_everything()
    assert {job.state for job in road.jobs.jobs.values()} == {JobState.COMPLETED}
