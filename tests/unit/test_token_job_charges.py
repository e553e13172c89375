"""What a job at a provider is charged, whatever becomes of its call."""

from decimal import Decimal

import pytest

from tests.fakes.budgeted_gateway import counter_of
from tests.fakes.token_house import LATER, TOKENS, TokenHouse, completion, dollars, token_catalogue
from tollgate.domain.errors import (
    BackendError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
    StorageError,
)
from tollgate.domain.jobs.job import FINAL_STATES, JobState
from tollgate.services.jobs.claim_job import LEASE_SECONDS

OWN_PARTS = Decimal("0.0003")


def _accepted(house: TokenHouse) -> str:
    job_id = house.accept()
    house.submitter().submit(job_id)
    return job_id


@pytest.mark.parametrize("outcome", [BackendTimeoutError("late"), completion(None), b"{}"])
def test_what_nobody_can_price_is_charged_as_it_was_held(outcome: bytes | Exception) -> None:
    """After a time-out the provider may still charge; without figures nobody knows what."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.gateway.realtime.answer = outcome
    house.runner().run(job_id)
    house.runner().run(job_id)
    job = house.job(job_id)
    assert job.state in FINAL_STATES
    assert job.effective_cost is None
    assert job.reservation is not None
    assert counter_of(house.gateway).spent == job.reservation.amount > dollars(len(LATER["input"]), 500)
    assert len(house.gateway.realtime.calls) == 1


@pytest.mark.parametrize("error", [ModelFailedError("too long", original_status=400), BackendError("no permission")])
def test_a_refusal_ends_the_job_at_no_cost_but_the_gateways(error: BackendError) -> None:
    """The provider charges nothing for it."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.gateway.realtime.answer = error
    house.runner().run(job_id)
    job = house.job(job_id)
    assert job.state is JobState.FAILED
    assert 0 < counter_of(house.gateway).spent < OWN_PARTS


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("later", ["90", "0.01"])
def test_a_call_costs_what_it_cost_when_it_was_made(later: str, *, kept: bool) -> None:
    """Not what was in force at acceptance, nor what is when its answer is stored, at once or by the sweeper."""
    house = TokenHouse(limit="1")
    house.at_rate(2, "0.9")
    job_id = _accepted(house)
    held = house.job(job_id).reservation
    house.at_rate(3, "0.5")

    def meanwhile() -> bytes:
        house.at_rate(4, later)
        return completion(1_000, 200)

    house.gateway.realtime.script = meanwhile
    change = house.gateway.jobs.change

    def broken(*args: object, **kwargs: object) -> bool:
        if house.gateway.realtime.calls and kept:
            raise StorageError("the table is down")
        return change(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    house.gateway.jobs.change = broken  # type: ignore[method-assign]  # until the table is back
    run = house.runner()
    run.run(job_id)
    house.gateway.jobs.change = change  # type: ignore[method-assign]  # as it was
    if kept:
        assert house.completion().found_in_bucket(house.job(job_id))
    job, spent = house.job(job_id), counter_of(house.gateway).spent
    assert (job.state, job.rates_version) == (JobState.COMPLETED, 3)
    assert Decimal("0.0001") < spent < Decimal("0.0001") + OWN_PARTS
    assert job.effective_cost == spent
    assert held is not None
    assert spent < held.amount


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (CapacityError("full"), False),
        (BackendError("The provider refused the call."), False),
        (BackendTimeoutError("No answer in time."), True),
    ],
)
def test_why_a_call_failed_is_known_although_the_table_does_not_hear_it(error: BackendError, *, charged: bool) -> None:
    """The bucket keeps it for the sweeper: what was certainly not run is not charged as what was held."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    held = house.job(job_id).reservation
    assert held is not None
    house.gateway.realtime.answer = error
    change = house.gateway.jobs.change

    def broken(*args: object, **kwargs: object) -> bool:
        if house.gateway.realtime.calls:
            raise StorageError("the table is down")
        return change(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    house.gateway.jobs.change = broken  # type: ignore[method-assign]  # until the table is back
    house.runner().run(job_id)
    house.gateway.jobs.change = change  # type: ignore[method-assign]  # as it was
    house.clock.advance(LEASE_SECONDS)
    assert house.completion().found_in_bucket(house.job(job_id))
    job, counter = house.job(job_id), counter_of(house.gateway)
    assert job.failure is not None
    assert (job.state, job.failure.message) == (JobState.FAILED, error.message)
    assert counter.spent == counter.committed
    assert (counter.spent == held.amount) is charged
    assert charged or counter.spent < OWN_PARTS


def test_a_busy_provider_fixes_no_rate() -> None:
    """What was not run is run at the rates of its next call."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    house.gateway.realtime.answer = CapacityError("full")
    house.runner().run(job_id)
    assert (house.job(job_id).state, house.job(job_id).rates_version) == (JobState.QUEUED, 0)


@pytest.mark.parametrize("answer", [completion(1_000, 200), completion(None)])
def test_a_kept_answer_is_charged_however_soon_it_came(answer: bytes) -> None:
    """The bucket tells whole seconds; that it took none does not mean that no call was made."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    held = house.job(job_id).reservation
    key = f"results/{job_id}.answer.json"
    now = house.clock.now()
    house.gateway.objects.put(key, answer)
    house.gateway.jobs.jobs[job_id] = house.job(job_id)._replace(
        state=JobState.SUBMITTED, submitted_at=now, output_location=house.gateway.objects.location_of(key)
    )
    assert house.completion().found_in_bucket(house.job(job_id))
    job, spent = house.job(job_id), counter_of(house.gateway).spent
    assert held is not None
    assert job.state is JobState.COMPLETED
    if job.usage.output_tokens is None:
        assert spent == held.amount
    else:
        assert dollars(1_000, 200) < spent < dollars(1_000, 200) + OWN_PARTS


def test_a_job_that_nothing_ran_costs_nothing_but_the_gateways() -> None:
    """Its deployment left the catalogue while it waited: nobody need know that one's price."""
    house = TokenHouse(limit="1")
    job_id = _accepted(house)
    gone = TOKENS.replace("deployments.paid", "deployments.other")
    house.gateway.catalogues.catalogue = token_catalogue(gone, limit="1")
    house.runner().run(job_id)
    assert house.job(job_id).state is JobState.FAILED
    assert 0 < counter_of(house.gateway).spent < OWN_PARTS
