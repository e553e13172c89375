"""Answers of jobs are found by other words too, whichever road made them."""

from copy import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.async_road import AsyncRoad
from tests.fakes.batch_road import RESOURCE, BatchRoad
from tests.fakes.examples import make_catalogue, make_job
from tests.unit.test_near_matches import BODY, FIRST, SECOND, Near
from tollgate.domain.cache.entry import CachedAnswer
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import StorageError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.near.policy import NearPolicy
from tollgate.services.jobs.async_notice import AsyncNotice

KEY = "k" * 64
TICKET = CacheTicket(KEY, 0, 600, 0, 0, scope="private#acme", context="c" * 64, prompt=FIRST)


def _catalogue() -> Catalogue:
    catalogue = make_catalogue()
    model = replace(catalogue.models["echo"], cache=CachePolicy(near=NearPolicy()))
    return replace(catalogue, models={"echo": model})


def _ended_async(ticket: CacheTicket) -> AsyncRoad:
    road = AsyncRoad(_catalogue())
    road.jobs.add(make_job("inf_1", cache=ticket, created_at=road.clock.now()))
    road.submitter().submit("inf_1")
    now = road.clock.now()
    location = road.answer("inf_1", b'{"label": "en"}')
    ended = now + timedelta(seconds=2)
    road.completion().notice(
        AsyncNotice("inf_1", completed=True, received_at=now, finished_at=ended, output_location=location)
    )
    return road


def test_a_job_knows_the_words_of_its_request() -> None:
    """A request that becomes a job takes its context and prompt along, whichever its road."""
    stack = Near()
    for body in (BODY | {"priority": "medium"}, BODY | {"priority": "low"}):
        assert stack.gateway.infer(body).status == 202
    tickets = [job.cache for job in stack.gateway.jobs.jobs.values()]
    assert len(tickets) == 2
    for ticket in tickets:
        assert ticket is not None
        assert (ticket.prompt, len(ticket.context)) == (FIRST, 64)


def test_the_answer_of_an_asynchronous_job_is_filed() -> None:
    """Once, under the request's own context, for as long as the answer is fresh."""
    road = _ended_async(TICKET)
    (order,) = road.filings.bodies
    assert (order["kind"], order["key"], order["context"], order["prompt"]) == ("near", KEY, "c" * 64, FIRST)
    assert order["expires_s"] == order["made_ms"] // 1000 + 600
    assert (order["beside"], order["vector"]) == (None, "")


def test_the_order_of_a_job_files_its_prompt() -> None:
    """What the job ordered is what the cache function takes: other words then find the prompt."""
    stack, made = Near(), Near()
    made.ask(FIRST)
    (filed,) = made.index.filed.values()
    road = _ended_async(replace(TICKET, key=filed.key, context=filed.context_key))
    (order,) = road.filings.bodies
    stack.gateway.clock.advance(order["made_ms"] / 1000 - stack.gateway.clock.now().timestamp())
    stack.parts.upkeep.file(order)
    assert [each.prompt for each in stack.index.filed.values()] == [FIRST]
    found: Any = stack.call("POST /v1/cache/lookup", BODY | {"input": SECOND})[1]
    assert [each["key"] for each in found["near"]["candidates"]] == [filed.key]


def test_a_job_without_words_files_nothing() -> None:
    """Its model has exact matches only."""
    road = _ended_async(replace(TICKET, context="", prompt=""))
    assert road.answers.read(KEY)[0].answer is not None
    assert road.filings.bodies == []


def test_the_answer_of_a_batch_job_is_kept_and_filed() -> None:
    """It takes no lease, for all records of a transform job run at once."""
    road = BatchRoad(_catalogue())
    road.add_jobs(1, cache=TICKET)
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    (name,) = road.backend.started
    road.run_transform(name)
    road.collect(name)
    answer = road.answers.read(KEY)[0].answer
    assert answer is not None
    assert answer.output == {"echo": 0}
    assert [order["prompt"] for order in road.filings.bodies] == [FIRST]


def test_the_answer_of_a_batch_job_is_not_kept_once_its_entry_was_forgotten() -> None:
    """An older answer was deleted while the transform job ran: its prompt does not come back by another way."""
    road = BatchRoad(_catalogue())
    began_ms = int(road.clock.now().timestamp() * 1000)
    ticket = replace(TICKET, began_ms=began_ms)
    old = CachedAnswer("old", Usage(), RESOURCE, None, began_ms, began_ms, began_ms, began_ms)
    assert road.answers.store(ticket, old)
    road.add_jobs(1, cache=ticket)
    road.clock.advance(300)
    road.dispatcher().wake(RESOURCE)
    (name,) = road.backend.started
    assert road.answers.forget(KEY, ticket.scope, began_ms + 1)
    road.run_transform(name)
    road.collect(name)
    assert road.answers.read(KEY)[0].answer is None
    assert road.filings.bodies == []


def test_an_answer_that_cannot_be_filed_is_kept_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job has ended; other words miss, and a metric says why."""

    def down(_self: object, _event: object) -> None:
        raise StorageError("throttled")

    monkeypatch.setattr("tests.fakes.messages.InMemoryEvents.send", down)
    road = _ended_async(TICKET)
    assert road.answers.read(KEY)[0].answer is not None
    assert road.telemetry.counts["CacheNearDown"] == 1
