"""Jobs that gather beside equal ones, or whose group has failed: who is handed on, and is answered in time."""

from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import counter_of, make_budget
from tests.fakes.crashes import CrashPoint
from tests.fakes.hand_on_house import BOTH, HandOnHouse
from tests.fakes.places import FakePlaces
from tests.fakes.token_house import token_catalogue
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import Phase
from tollgate.services.jobs.answers import JobAnswers
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.groups import ALONE
from tollgate.services.jobs.price_job import JobPricing
from tollgate.services.jobs.submit_async import AsyncSubmitter
from tollgate.services.places.work import GatheredJob


class EqualHouse(HandOnHouse):
    """Whose jobs may be answered by equal ones."""

    def __init__(self) -> None:
        super().__init__()
        models = {name: replace(model, cache=CachePolicy()) for name, model in self.catalogue.models.items()}
        self.gateway.catalogues.catalogue = replace(self.catalogue, models=models)
        completer = self.tokens.completer

        def remembering(watch: CrashPoint) -> JobCompleter:
            made = completer(watch)
            made._answers = self._job_answers
            return made

        self.tokens.completer = remembering  # type: ignore[method-assign]  # the same, and it keeps answers

    def submitter(self, places: FakePlaces | None = None) -> AsyncSubmitter:
        return self.tokens.submitter(places or self.places, self._job_answers)

    def _job_answers(self) -> JobAnswers:
        return JobAnswers(
            store=self.gateway.answers,
            jobs=self.gateway.jobs,
            objects=self.gateway.objects,
            queue=self.gateway.async_queue,
            catalogues=self.gateway.catalogues,
            pricing=JobPricing(catalogues=self.gateway.catalogues, telemetry=self.telemetry, clock=self.clock),
            telemetry=self.telemetry,
            clock=self.clock,
        )


def test_those_that_are_handed_on_together_make_one_call() -> None:
    """The others are answered by the first, at no cost."""
    house = EqualHouse()
    names = [house.come() for _ in range(3)]
    house.until_due(13)
    jobs = [house.job(name) for name in names]
    assert [job.state for job in jobs] == [JobState.COMPLETED] * 3
    assert {job.output.inline["text"] for job in jobs} == {"384,400 km"}
    assert house.paid == 1
    assert sorted(job.effective_cost or 0 for job in jobs)[:2] == [0, 0]


@pytest.mark.parametrize("patience", [10_800, 2_400])
def test_who_is_handed_on_does_not_wait_for_an_equal_one_that_has_time(patience: int) -> None:
    """The first of them still gathers, for longer than the second may take."""
    house = EqualHouse()
    first = house.come(deadline_seconds=patience)
    second = house.come()
    house.until_due(14)
    job = house.job(second)
    assert (job.deployment, job.state) == ("paid", JobState.COMPLETED)
    assert job.finished_at is not None
    assert job.deadline_at is not None
    assert job.finished_at < job.deadline_at
    assert house.job(first).deployment == "gpu"


def test_who_gathered_for_long_does_not_follow_himself() -> None:
    """He took the lead when he came, and his lease is over when his work must begin."""
    house = EqualHouse()
    name = house.come(deadline_seconds=2_400)
    house.until_due(38)
    job = house.job(name)
    assert (job.deployment, job.state) == ("paid", JobState.COMPLETED)
    assert job.finished_at is not None
    assert job.deadline_at is not None
    assert job.finished_at < job.deadline_at


def test_a_job_whose_group_has_failed_stays_with_the_instance() -> None:
    """What an instance did for it is on its record, and a provider's end would not charge that."""
    house = HandOnHouse()
    name = house.come()
    job = house.job(name)
    house.gateway.jobs.jobs[name] = job._replace(batch_id=ALONE, held_seconds=Decimal(50), earlier_parts=Decimal(0))
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


@pytest.mark.parametrize(("old", "new"), [("paid", "other"), ("= 500", "= 50000")])
def test_a_catalogue_that_comes_during_a_look_decides_at_the_next(old: str, new: str) -> None:
    """Who takes jobs, and what for, was worked out by the one before, and such a call would be refused."""
    house = HandOnHouse(BOTH, make_budget("5"))
    name = house.come()
    service = house.handing_on
    hand_on = service.hand_on

    def later(gathered: GatheredJob, offer: Any) -> bool | None:
        changed = replace(token_catalogue(BOTH.replace(old, new)), version=2, budgets=house.catalogue.budgets)
        house.gateway.catalogues.catalogue = changed
        return hand_on(gathered, offer)

    service.hand_on = later  # type: ignore[method-assign]  # the same, a moment later
    house.until_due(13)
    job = house.job(name)
    assert (job.state, job.catalogue_version) == (JobState.COMPLETED, 2)
    assert counter_of(house.gateway).committed == job.effective_cost
