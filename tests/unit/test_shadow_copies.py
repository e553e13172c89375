"""Copies for a deployment that answers nobody: what becomes of them, and what they may cost."""

from copy import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import DAY, counter_of, make_budget
from tests.fakes.choosing_gateway import LITTLE, ask, reason_of, served_by
from tests.fakes.completer import job_completer
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import EASY, chat_answer, sized_catalogue
from tests.fakes.telemetry import RecordingMeasurements, RecordingTelemetry
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, BrakeStep, Control
from tollgate.domain.budgets.budget import Budget, BudgetAction, ScopeKind, Threshold
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice.policy import ChoicePolicy, DeploymentRole, ExtraSpend
from tollgate.domain.jobs.job import Job
from tollgate.ports.outcomes import Extra
from tollgate.services.jobs.hand_over import invocation_timeout
from tollgate.services.jobs.price_job import Work

BRAKES = BrakePolicy(steps=(BrakeStep(Decimal(100), BrakeLevel.DOWNGRADE),))


def copying_gateway(
    *budgets: Budget, usd: str = "1", share: float = 1.0, brakes: BrakePolicy | None = None, **changes: Any
) -> FakeGateway:
    """Everything that model `chat` answers is copied to its deployment `next`, which `changes` are made to."""
    catalogue = sized_catalogue(ChoicePolicy(shadow=ExtraSpend(share, Decimal(usd))))
    model = catalogue.models["chat"]
    own: dict[str, Any] = {"name": "next", "role": DeploymentRole.SHADOW, "weight": 0}
    shadow = replace(model.deployments[0], **own | changes)
    models = {**catalogue.models, "chat": replace(model, deployments=(*model.deployments, shadow))}
    gateway = FakeGateway(catalogue=replace(catalogue, models=models, budgets=budgets, brakes=brakes))
    gateway.realtime.answer = chat_answer("Paris.")
    return gateway


def held_for(job: Job) -> Decimal:
    """Dollars."""
    assert job.reservation is not None
    return job.reservation.amount


def complete(gateway: FakeGateway, job: Job) -> Job:
    """End a copy after two seconds of its instance."""
    completer = job_completer(
        jobs=gateway.jobs,
        objects=gateway.objects,
        catalogues=gateway.catalogues,
        durations=RecordingMeasurements(),
        telemetry=RecordingTelemetry(),
        clock=gateway.clock,
        outcomes=gateway.outcomes,
    )
    work = Work(Decimal(2), gateway.clock.now())
    assert completer.complete(job, chat_answer("Lyon."), work)
    assert not completer.complete(gateway.jobs.jobs[job.job_id], chat_answer("Lyon."), work)
    return gateway.jobs.jobs[job.job_id]


def test_a_copy_becomes_a_job_of_the_shadow() -> None:
    """The caller's answer and cost are those of the champion; the copy is under a key of its own."""
    gateway = copying_gateway()
    answer = ask(gateway)
    assert served_by(answer) == LITTLE
    assert reason_of(answer).endswith(";shadow")
    (job,) = gateway.jobs.jobs.values()
    assert (job.deployment, job.inference_type, job.owner.key_id) == ("next", InferenceType.ASYNC, "shadow")
    assert job.metadata == {"tollgate_shadow_of": document(answer)["id"]}
    assert job.route_reason == f"shadow_of={document(answer)['id']}"


def test_only_the_share_is_copied() -> None:
    """About as many as the owner wants."""
    gateway = copying_gateway(share=0.3)
    for number in range(60):
        ask(gateway, f"{EASY} {number}")
    assert 8 <= len(gateway.jobs.jobs) <= 28


@pytest.mark.parametrize("shadow", [{"role": DeploymentRole.CHAMPION}, {"roads": "realtime"}])
def test_without_a_shadow_that_takes_jobs_nothing_is_copied(shadow: dict[str, Any]) -> None:
    """The caller is answered as ever."""
    if "roads" in shadow:
        roads = sized_catalogue().models["chat"].deployments[0].roads
        shadow = {"roads": {InferenceType.REALTIME: roads[InferenceType.REALTIME]}}
    gateway = copying_gateway(**shadow)
    assert served_by(ask(gateway)) == LITTLE
    assert gateway.jobs.jobs == {}


def test_the_days_money_is_never_exceeded() -> None:
    """Copies are made while what the next one is held for is left."""
    one = copying_gateway()
    ask(one)
    each = held_for(next(iter(one.jobs.jobs.values())))
    gateway = copying_gateway(usd=str(each * Decimal("2.5")))
    for number in range(5):
        ask(gateway, f"{EASY} {number}")
    assert len(gateway.jobs.jobs) == 2
    assert gateway.outcomes.spent("chat", Extra.SHADOW) <= each * Decimal("2.5")


def test_an_empty_budget_ends_it() -> None:
    """For the day."""
    gateway = copying_gateway(usd="0.000000001")
    ask(gateway)
    assert gateway.jobs.jobs == {}


def test_it_never_serves() -> None:
    """Whatever is asked."""
    gateway = copying_gateway()
    assert {served_by(ask(gateway, f"{EASY} {n}")) for n in range(30)} == {LITTLE}


def test_the_days_money_counts_what_is_held_and_then_what_it_cost() -> None:
    """Not an estimate: a copy that takes longer than expected is cut when it has used up what is held for it."""
    gateway = copying_gateway()
    ask(gateway)
    (job,) = gateway.jobs.jobs.values()
    assert gateway.outcomes.spent("chat", Extra.SHADOW) == held_for(job) > (job.estimated_cost or 0)
    model = gateway.catalogues.catalogue.models["chat"]
    assert invocation_timeout(job, model) < model.asynchronous.invocation_timeout_seconds
    ended = complete(gateway, job)
    assert ended.bill is not None
    assert gateway.outcomes.spent("chat", Extra.SHADOW) == ended.bill.charged == ended.effective_cost


def test_a_copy_that_ends_on_another_day_gives_that_day_nothing() -> None:
    """What was left of yesterday's money is no more money for today."""
    gateway = copying_gateway()
    ask(gateway)
    (job,) = gateway.jobs.jobs.values()
    gateway.clock.advance(timedelta(days=1).total_seconds())
    complete(gateway, job)
    assert gateway.outcomes.spent("chat", Extra.SHADOW) == held_for(job)


@pytest.mark.parametrize("kind", [ScopeKind.GATEWAY, ScopeKind.MODEL])
def test_budgets_of_everybody_hold_and_settle_a_copy(kind: ScopeKind) -> None:
    """As any other request: together with the caller's, never beyond the limit."""
    gateway = copying_gateway(make_budget("1", kind, subject="" if kind is ScopeKind.GATEWAY else "chat"))
    ask(gateway)
    (job,) = gateway.jobs.jobs.values()
    name = DAY if kind is ScopeKind.GATEWAY else DAY.replace("gateway", "model:chat")
    before = counter_of(gateway, name)
    assert before.committed == before.spent + held_for(job)
    ended = complete(gateway, job)
    after = counter_of(gateway, name)
    assert after.committed == after.spent == before.spent + (ended.effective_cost or Decimal(0))


def test_a_budget_with_nothing_left_for_a_copy_keeps_the_callers_answer() -> None:
    """Who asked is answered, and does not hear of the copy that was not made."""
    gateway = copying_gateway(make_budget("0.002"))
    answer = ask(gateway)
    assert "shadow" not in reason_of(answer)
    assert gateway.jobs.jobs == {}
    assert gateway.outcomes.spent("chat", Extra.SHADOW) == 0
    assert counter_of(gateway).committed == counter_of(gateway).spent > 0


def test_the_callers_own_budget_does_not_count_a_copy() -> None:
    """It is under a key of its own, which an owner may give a budget too."""
    gateway = copying_gateway(make_budget("1", ScopeKind.KEY))
    answer = ask(gateway)
    assert gateway.jobs.jobs
    caller, copy = sorted(gateway.ledger.counters.items(), key=lambda entry: entry[0].startswith("key:shadow"))
    assert caller[1].committed == Decimal(answer.headers["x-tollgate-cost-usd"])
    assert copy[0].startswith("key:shadow#")


def test_nothing_is_copied_while_a_threshold_or_a_brake_saves() -> None:
    """Copies are the first thing that can be spared."""
    threshold = (Threshold(Decimal(0), BudgetAction.DOWNGRADE),)
    saving = copying_gateway(make_budget("1", thresholds=threshold))
    ask(saving)
    assert saving.jobs.jobs == {}
    for level, copies in ((BrakeLevel.NONE, 1), (BrakeLevel.WARN, 1), (BrakeLevel.DOWNGRADE, 0)):
        gateway = copying_gateway(brakes=BRAKES)
        gateway.brakes.control = Control(revision=1, level=level)
        ask(gateway)
        assert len(gateway.jobs.jobs) == copies, level
