"""Jobs that gathered and are not worth a start are handed on to a provider, within budgets."""

from copy import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.fakes.budgeted_gateway import counter_of, make_budget
from tests.fakes.examples import make_job
from tests.fakes.gateway import document
from tests.fakes.hand_on_house import BOTH, GATHERING, STARTUP, HandOnHouse
from tests.fakes.sleepers import ASYNC
from tests.fakes.token_house import TOKENS, completion, dollars, token_catalogue
from tollgate.adapters.metering.price_snapshot import snapshot_book
from tollgate.api.catalogue_file import read_catalogue
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, Control
from tollgate.domain.budgets.budget import BudgetPeriod
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice.outcomes import marked
from tollgate.domain.costs.gateway_parts import gateway_rates
from tollgate.domain.errors import BackendThrottledError, CatalogueError, StorageError
from tollgate.domain.jobs.job import JobState
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.wake_by_deadline import DueWork, SleepingEndpoint
from tollgate.domain.roads.capacity import RoadState
from tollgate.services.places.work import GatheredJob

DAY = make_budget("5")
DEAR = BOTH.replace("max_output_tokens = 500", "max_output_tokens = 50000")
"""A call can cost more there than an instance holds for it."""
MANY = 400
"""So many wait together that their tokens would cost more than a start."""


def test_a_few_are_answered_by_the_provider_and_the_endpoint_sleeps_on() -> None:
    """In time, charged by the tokens, with nothing left on hold, and the record says why."""
    house = HandOnHouse(BOTH, DAY)
    names = [house.come() for _ in range(2)]
    held = counter_of(house.gateway).committed
    assert house.job(names[0]).deployment == "gpu"
    house.until_due()
    assert [house.job(name).state for name in names] == [JobState.COMPLETED] * 2
    assert house.phase is Phase.ASLEEP
    assert house.endpoints.orders == []
    assert house.paid == 2
    for name in names:
        job = house.job(name)
        assert job.resource == "chat/paid"
        assert job.route_reason.endswith(";handed_on=paid")
        assert job.finished_at is not None
        assert job.deadline_at is not None
        assert job.finished_at < job.deadline_at
        tokens, handed_on = dollars(20, 30), gateway_rates(house.catalogue.gateway_prices).handed_on()
        assert job.effective_cost is not None
        assert tokens + handed_on < job.effective_cost < tokens + Decimal("0.0003")
    counter = counter_of(house.gateway)
    assert counter.spent == counter.committed == sum(house.job(name).effective_cost or 0 for name in names)
    assert held > 0


def test_outcomes_and_feedback_are_the_providers_that_answered() -> None:
    """The id still says which deployment was chosen, and on what topic."""
    house = HandOnHouse()
    name = house.come()
    chosen = house.gateway.jobs.jobs.pop(name)
    name = marked(name, tenant=chosen.owner.tenant, model="chat", deployment="gpu", topic="question", seal="")
    house.gateway.jobs.add(chosen._replace(job_id=name))
    house.until_due()
    assert house.job(name).resource == "chat/paid"
    feedback = {"inference_id": name, "model": "chat", "score": 1}
    judged = document(house.gateway.call("POST /v1/feedback", feedback))
    assert judged["deployment"] == "chat/paid"
    [(place, tally)] = house.gateway.outcomes.tallies.items()
    assert place == ("chat", "paid", "question")
    assert (tally.requests, tally.judged) == (1, 1)


def test_it_is_not_handed_on_before_it_must_begin() -> None:
    """Until then company may come."""
    house = HandOnHouse()
    name = house.come()
    house.until_due(8)
    assert house.job(name).deployment == "gpu"
    house.until_due(4)
    job = house.job(name)
    assert job.deployment == "paid"
    assert job.submitted_at is not None
    assert job.deadline_at is not None
    left = (job.deadline_at - job.submitted_at).total_seconds()
    assert STARTUP - 60 < left <= STARTUP + 3 * 60


def test_enough_of_them_wake_the_endpoint() -> None:
    """As without a provider: none is handed on."""
    house = HandOnHouse()
    names = [house.come(parameters={"max_tokens": 500}) for _ in range(MANY)]
    house.calls(12)
    assert house.record(ASYNC).history[-1].reason != "nobody waits"
    assert house.phase is not Phase.ASLEEP
    assert {house.job(name).deployment for name in names} == {"gpu"}


class _Seen(GatheredJob):
    """Counts how often the work of any of them was looked at."""

    looks = 0

    @property
    def work(self) -> DueWork:
        _Seen.looks += 1
        return super().work


def test_a_crowd_that_is_handed_on_is_gone_through_a_few_times_and_not_once_for_each() -> None:
    """Otherwise 2,000 of them take seconds of the processor."""
    house = HandOnHouse()
    giver, now = house.catalogue.models["chat"].deployments[-1], house.clock.now()
    due = now + timedelta(seconds=STARTUP + 60)
    names = [f"inf_{number}" for number in range(200)]
    for name in names:
        limit = {"max_tokens": 1}
        house.gateway.jobs.add(make_job(name, model="chat", deployment="gpu", created_at=now, parameters=limit))
    work, road = DueWork(due.timestamp(), 0.1), giver.roads[InferenceType.ASYNC]
    crowd = [_Seen(giver, road, house.job(name), due + timedelta(hours=1), work) for name in names]
    done = house.handing_on.due(crowd, SleepingEndpoint(STARTUP, 8, 4), now)
    assert done.handed_on == len(names)
    assert _Seen.looks <= 10 * len(names)


def test_many_that_are_due_at_the_same_later_moment_are_weighed_before_a_start() -> None:
    """One instance would have to begin them long before that; a start for them costs many times their tokens."""
    house = HandOnHouse(BOTH.replace("base_seconds = 0.1", "base_seconds = 20"))
    now = house.clock.now()
    names = [f"inf_{number}" for number in range(60)]
    for name in names:
        limit, due = {"max_tokens": 10}, now + timedelta(minutes=30)
        job = make_job(name, model="chat", deployment="gpu", created_at=now, deadline_at=due, parameters=limit)
        house.gateway.jobs.add(job)
    house.until_due(32)
    assert house.endpoints.orders == []
    for job in map(house.job, names):
        assert (job.state, job.resource) == (JobState.COMPLETED, "chat/paid")
        assert job.finished_at is not None
        assert job.finished_at < now + timedelta(minutes=30)


def test_a_budget_that_has_no_room_leaves_it_to_the_instance() -> None:
    """A call can cost more than what is held for the job: the ledger stays as it is, and the endpoint wakes."""
    house = HandOnHouse(DEAR, DAY)
    name = house.come()
    held = counter_of(house.gateway).committed
    tight = DAY._replace(limit_usd=held + Decimal("0.000001"))
    house.gateway.catalogues.catalogue = replace(house.catalogue, budgets=(tight,))
    before = house.job(name)
    house.calls(12)
    assert counter_of(house.gateway).committed == held
    assert house.job(name).deployment == "gpu"
    assert house.job(name).reservation == before.reservation
    assert house.phase is not Phase.ASLEEP
    assert house.telemetry.counts["HandOnRefused"] >= 1


def test_more_is_held_before_it_is_handed_on() -> None:
    """Exactly the most that the call can cost, in the counter and on the record; it covers what the runner asks for."""
    house = HandOnHouse(DEAR, DAY)
    name = house.come()
    small = house.job(name).reservation
    house.gateway.realtime.answer = BackendThrottledError("busy")
    house.until_due()
    job = house.job(name)
    assert (job.deployment, job.state) == ("paid", JobState.QUEUED)
    assert small is not None
    assert job.reservation is not None
    assert counter_of(house.gateway).committed == job.reservation.amount > small.amount
    assert job.reservation.amount > dollars(0, 50_000)
    house.gateway.realtime.answer = completion()
    house.messages()
    assert counter_of(house.gateway).committed == house.job(name).effective_cost


def test_a_limit_for_single_requests_holds_there_too() -> None:
    """A budget of the period `request` has no counter that could refuse."""
    single = make_budget("1", period=BudgetPeriod.REQUEST)
    house = HandOnHouse(DEAR, DAY, single)
    name = house.come()
    lower = single._replace(limit_usd=Decimal("0.0000001"))
    house.gateway.catalogues.catalogue = replace(house.catalogue, budgets=(DAY, lower))
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


def test_a_shadow_budget_only_watches() -> None:
    """It would have refused, and is overdrawn."""
    house = HandOnHouse(DEAR, DAY._replace(shadow=True, limit_usd=Decimal("0.0000001")))
    name = house.come()
    house.until_due()
    assert house.job(name).deployment == "paid"
    assert house.job(name).state is JobState.COMPLETED


def test_a_shadow_budget_whose_period_is_over_only_watches_too() -> None:
    """What is held for a job counts in the hour in which it came, which is overdrawn as well."""
    dearer = BOTH.replace("max_output_tokens = 500", "max_output_tokens = 500000")
    house = HandOnHouse(dearer, DAY._replace(shadow=True, limit_usd=Decimal("0.0000001"), period=BudgetPeriod.HOUR))
    house.clock.advance(60 * (58 - house.clock.now().minute))
    name = house.come()
    house.until_due()
    assert house.clock.now().hour != house.job(name).created_at.hour
    assert house.job(name).deployment == "paid"
    assert house.endpoints.orders == []


def test_what_the_provider_cannot_be_sent_wakes_the_endpoint() -> None:
    """An image has no bound in tokens, and those that wait with it are served by the instance that it needs."""
    house = HandOnHouse()
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}]
    names = [house.come(input=image), house.come()]
    house.calls(12)
    assert {house.job(name).deployment for name in names} == {"gpu"}
    assert house.phase is not Phase.ASLEEP


def test_a_large_input_is_read_once_from_the_bucket() -> None:
    """It lies there from a few kilobytes on; a job that waits is looked at each minute."""
    house = HandOnHouse()
    name = house.come(input="long " * 4_000)
    assert house.job(name).input.key is not None
    reads: list[str] = []
    get = house.gateway.objects.get

    def counted(key: str) -> bytes | None:
        reads.append(key)
        return get(key)

    house.gateway.objects.get = counted  # type: ignore[method-assign]  # the same, and it is counted
    house.until_due()
    assert house.job(name).resource == "chat/paid"
    assert house.job(name).state is JobState.COMPLETED
    assert len(reads) == 2  # by the keeper and by the runner


def test_an_input_that_is_gone_is_left_to_the_instance() -> None:
    """Whoever runs the job says what became of it."""
    house = HandOnHouse()
    name = house.come(input="long " * 4_000)
    house.gateway.objects.objects.clear()
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


def test_a_bucket_that_fails_wakes_the_endpoint() -> None:
    """Late is worse than dear."""
    house = HandOnHouse()
    name = house.come(input="long " * 4_000)

    def fail(key: str) -> bytes | None:
        raise StorageError(key)

    house.gateway.objects.get = fail  # type: ignore[method-assign]  # for as long as this test
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


@pytest.mark.parametrize("state", [RoadState.BROKEN, RoadState.SLOW])
def test_a_provider_in_trouble_gets_nothing(state: RoadState) -> None:
    """Its circuit is open: the instance serves what waits."""
    house = HandOnHouse()
    name = house.come()
    house.places.states["chat/paid", InferenceType.REALTIME] = (state, 0)
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


def test_brakes_hold_for_the_provider() -> None:
    """A stop that spares the endpoint as critical does not let its work slip away to the provider."""
    house = HandOnHouse()
    name = house.come()
    brakes = BrakePolicy(steps=(), critical=frozenset({"chat/gpu"}))
    house.gateway.catalogues.catalogue = replace(house.catalogue, brakes=brakes)
    house.gateway.brakes.control = replace(Control(), level=BrakeLevel.STOP)
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP


def test_a_busy_provider_is_asked_again_in_time() -> None:
    """The pause is half of what is left to the deadline at most."""
    house = HandOnHouse()
    name = house.come()
    house.gateway.realtime.answer = BackendThrottledError("busy")
    house.until_due(12)
    [message] = house.gateway.deferred_queue.sent
    job = house.job(name)
    assert job.deadline_at is not None
    assert message.delay_seconds <= (job.deadline_at - house.clock.now()).total_seconds() / 2 + 60


def test_a_request_without_a_deadline_wakes_the_endpoint_for_all() -> None:
    """Nothing is handed on where an instance comes anyway."""
    house = HandOnHouse()
    first = house.come()
    house.clock.advance(600)
    now = house.clock.now()
    house.gateway.jobs.add(make_job("other", model="chat", deployment="gpu", created_at=now))
    house.keeper.tick()
    assert house.job(first).deployment == "gpu"
    assert house.phase is Phase.WAKING


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('hand_on_to = "paid"', 'hand_on_to = "nobody"'), "no deployment of that name"),
        (('hand_on_to = "paid"', 'hand_on_to = "gpu"'), "not paid by the token"),
        (("gather = true", "gather = false"), "gather = true"),
        (('[models.chat.deployments.gpu]\ntier = "small"', '[models.chat.deployments.gpu]\ntier = "large"'), "tier"),
        (('dialect = "messages"', 'dialect = "messages"\nsupports = ["tools"]'), "tools"),
        (('dialect = "messages"', 'dialect = "messages"\nrole = "challenger"'), "role"),
        (("async = {", "realtime = {"), "asynchronous"),
    ],
)
def test_a_catalogue_says_who_can_take_it(change: tuple[str, str], words: str) -> None:
    """Whoever could not stand in is refused when the file is applied."""
    text = BOTH.replace(*change)
    assert text != BOTH
    if "idle_minutes = 0" in text and "gather = false" in text:
        text = text.replace("idle_minutes = 0", "idle_minutes = 5")
    with pytest.raises(CatalogueError, match=words):
        read_catalogue(text, snapshot_book(), region="us-east-1", architecture="arm64", version=1)


def test_without_the_setting_nothing_is_handed_on() -> None:
    """Two deployments alone are no wish."""
    house = HandOnHouse(TOKENS + GATHERING.replace('hand_on_to = "paid"\n', ""))
    name = house.come()
    house.calls(12)
    assert house.job(name).deployment == "gpu"
    assert house.phase is not Phase.ASLEEP
    assert token_catalogue(BOTH).models["chat"].deployments[1].sleep is not None
