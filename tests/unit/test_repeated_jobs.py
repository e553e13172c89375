"""Requests with an idempotency key that become jobs: one job for each, whatever dies before the answer is kept."""

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import DAY
from tests.fakes.faults import Fault, Faults
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.money_house import MoneyHouse
from tests.fakes.openai_calls import finish_jobs
from tollgate.domain.jobs.job import JobState

BODY = {"model": "echo", "input": "hello", "priority": "medium"}
LIST = {"model": "echo", "prompt": ["one", "two"], "service_tier": "default"}


def _ask(house: MoneyHouse, key: str = "k", **options: Any) -> Any:
    return house.gateway.infer(BODY, headers={"idempotency-key": key}, **options)


@pytest.mark.parametrize("call", ["InMemoryJobStore.add", "InMemoryQueue.send"])
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.ANSWER_LOST])
def test_a_repetition_after_a_death_finds_the_job_of_the_first_call(call: str, fault: Fault) -> None:
    """The claim on the key has run out, and nobody kept an answer; still it is held, run and charged once."""
    house = MoneyHouse(Faults({1: fault}, of=call))
    assert house.ask(BODY, "k") == 202
    (job,) = house.jobs.jobs.values()
    assert job.reservation is not None
    assert house.ledger.counters[DAY].held == job.reservation.amount
    house.settle_down()
    assert len(house.endpoint.runs) == 1
    assert house.ledger.counters[DAY].spent == house.charged


def test_an_answer_that_could_not_be_kept_makes_no_second_job() -> None:
    """The first caller has it; the second, after the claim, gets the same job."""
    house = MoneyHouse()
    house.gateway.idempotency.complete = lambda *_args, **_named: None  # type: ignore[method-assign]  # kept nowhere
    first = _ask(house)
    house.clock.advance(60)
    second = _ask(house)
    assert (first.status, second.status) == (202, 202)
    assert document(first)["id"] == document(second)["id"]
    assert len(house.jobs.jobs) == 1


def test_other_keys_tenants_and_days_have_jobs_of_their_own() -> None:
    """A key is remembered for a day."""
    house = MoneyHouse()
    _ask(house)
    _ask(house, "other")
    _ask(house, tenant="rival")
    assert len(house.jobs.jobs) == 3
    house.gateway.idempotency.items.clear()
    house.clock.advance(86_400 + 60)
    assert _ask(house).status == 202
    assert len(house.jobs.jobs) == 4


def test_a_job_that_was_called_off_is_not_the_answer_to_a_repetition() -> None:
    """A list's first job is called off when its second cannot be paid for; the list may come again."""
    house = MoneyHouse()
    _ask(house)
    house.gateway.idempotency.items.clear()
    (job,) = house.jobs.jobs.values()
    house.jobs.jobs[job.job_id] = job._replace(state=JobState.CANCELLED)
    assert document(_ask(house))["id"] != job.job_id


def test_the_jobs_of_a_list_are_not_taken_for_one() -> None:
    """Each prompt has its own, and a repetition finds both."""
    house = MoneyHouse()
    for _ in range(2):
        house.gateway.call("POST /v1/completions", LIST, headers={"idempotency-key": "k"})
        house.gateway.idempotency.items.clear()
    assert len({str(job.input.inline) for job in house.jobs.jobs.values()}) == len(house.jobs.jobs) == 2


def test_a_repetition_that_waits_for_the_job_is_free_and_says_so() -> None:
    """`Prefer: wait=20` gives both calls the ended job; only the first one's headers are charged with it."""
    gateway = FakeGateway()
    finish_jobs(gateway, effective_cost=Decimal("0.5"), avoided_cost=Decimal("0.25"))
    headers = {"idempotency-key": "k", "prefer": "wait=20"}
    first, second = (gateway.infer(BODY, headers=headers) for _ in range(2))
    assert (first.status, second.status) == (200, 200)
    assert document(first)["id"] == document(second)["id"]
    assert "x-tollgate-idempotent-replay" not in first.headers
    assert second.headers["x-tollgate-idempotent-replay"] == "true"
    costs = [(a.headers["x-tollgate-cost-usd"], a.headers["x-tollgate-avoided-cost-usd"]) for a in (first, second)]
    assert costs == [("0.5", "0.25"), ("0", "0")]
    assert document(second)["cost"]["effective_cost_usd"] == "0.5"
