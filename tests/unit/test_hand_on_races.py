"""Handing on while others act on the same job, or something fails: it is done once, and no job is lost."""

from datetime import timedelta

import pytest

from tests.fakes.budgeted_gateway import counter_of, make_budget
from tests.fakes.crashes import CrashError, CrashPoint
from tests.fakes.hand_on_house import BOTH, HandOnHouse
from tests.fakes.places import FakePlaces
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import Phase

DAY = make_budget("5")


def test_two_keepers_at_once_hand_it_on_once() -> None:
    """The second finds the record for another deployment, and holds nothing."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    first, second = house.new_keeper(), house.new_keeper()
    stale = list(house.gateway.jobs.unfinished("chat/gpu", InferenceType.ASYNC, limit=9))
    house.clock.advance(600)
    first.tick()
    amount = counter_of(house.gateway).committed
    house.gateway.jobs.unfinished = lambda *_args, **_kwargs: stale  # type: ignore[method-assign]  # an index that lags
    second.tick()
    assert counter_of(house.gateway).committed == amount
    del house.gateway.jobs.unfinished
    house.messages()
    house.messages()
    assert house.paid == 1
    assert house.job(name).state is JobState.COMPLETED
    assert counter_of(house.gateway).spent == house.job(name).effective_cost


def test_an_index_that_lags_hands_nothing_on_twice() -> None:
    """It still names a job among those of the endpoint whose record is the provider's by now."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    house.clock.advance(600)
    house.keeper.tick()
    moved = house.job(name)
    house.gateway.jobs.unfinished = lambda *_args, **_kwargs: [moved]  # type: ignore[method-assign]  # see above
    house.gateway.jobs.count_open = lambda *_args: 1  # type: ignore[method-assign]  # as above
    house.keeper.tick()
    assert house.job(name) == moved


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", [1, 2])
def test_a_keeper_that_dies_anywhere_loses_nothing(after: int, *, before: bool) -> None:
    """The message is there before the record changes, and the next look does what was not done."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    house.clock.advance(600)
    with pytest.raises(CrashError):
        house.new_keeper(CrashPoint(after, before=before)).tick()
    house.messages()
    house.calls(1)
    house.messages()
    job = house.job(name)
    assert (job.state, house.paid) == (JobState.COMPLETED, 1)
    counter = counter_of(house.gateway)
    assert counter.spent == counter.committed == job.effective_cost


def test_a_table_that_fails_leaves_it_to_the_instance() -> None:
    """Late is worse than dear: the endpoint is woken for it."""
    house = HandOnHouse()
    house.come()

    def fail(*_args: object, **_kwargs: object) -> bool:
        raise StorageError("down")

    house.gateway.jobs.hand_on = fail  # type: ignore[method-assign]  # for as long as this test
    house.calls(12)
    assert house.phase is not Phase.ASLEEP


def test_a_job_that_was_just_cancelled_stays_cancelled() -> None:
    """The keeper has read it before; nothing of it is held or run."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    stale = list(house.gateway.jobs.unfinished("chat/gpu", InferenceType.ASYNC, limit=9))
    house.queries.cancel(house.job(name).owner, name)
    house.clock.advance(600)
    house.gateway.jobs.unfinished = lambda *_args, **_kwargs: stale  # type: ignore[method-assign]  # read before
    house.gateway.jobs.count_open = lambda *_args: 1  # type: ignore[method-assign]  # as above
    house.keeper.tick()
    house.messages()
    assert house.job(name).state is JobState.CANCELLED
    assert house.paid == 0
    assert counter_of(house.gateway).committed == 0


def test_a_job_is_cancelled_while_it_is_handed_on() -> None:
    """The caller's read came first; all that is held by then is given back."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    read = house.job(name)
    house.clock.advance(600)
    house.keeper.tick()
    assert house.job(name).deployment == "paid"
    found = iter([read])
    get = house.gateway.jobs.get
    house.gateway.jobs.get = lambda job_id: next(found, None) or get(job_id)  # type: ignore[method-assign]  # once
    assert house.queries.cancel(read.owner, name).state is JobState.CANCELLED
    house.messages()
    assert house.paid == 0
    assert counter_of(house.gateway).committed == 0


def test_a_job_that_was_ever_claimed_stays_with_the_instance() -> None:
    """SageMaker may have it, although the record does not say so and the lease ran out."""
    house = HandOnHouse()
    name = house.come()
    job = house.job(name)
    house.gateway.jobs.jobs[name] = job._replace(submit_lease_until=job.created_at + timedelta(seconds=1))
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


def test_whoever_read_it_before_does_not_undo_it() -> None:
    """A submitter with the old record is refused, and finds the way to the provider when the message comes back."""
    house = HandOnHouse(BOTH, DAY)
    name = house.come()
    read = house.job(name)
    house.clock.advance(600)
    house.keeper.tick()
    preparation = house.tokens.preparation(FakePlaces())  # it believes the endpoint to be up
    with pytest.raises(ConflictError):
        preparation.claim(read)
    assert house.job(name).deployment == "paid"
    house.messages()
    assert house.paid == 1
