"""The answer cache under many callers at once, and when its table is down: who runs, waits, is refused."""

from tests.fakes.cached_gateway import ask, gateway, now_ms, state
from tests.fakes.gateway import FakeGateway, document
from tollgate.domain.cache.entry import CacheSlot
from tollgate.domain.cache.policy import WhenDown
from tollgate.services.cache.breaker import FAILURES


def test_a_follower_gets_the_leaders_answer() -> None:
    """It waits while somebody else runs, and never calls the model."""
    api = gateway()
    ask(api)
    ((key, row),) = api.answers.rows.items()
    done = row.slot
    api.answers.rows[key].slot = CacheSlot(fence=1, lease_until_ms=now_ms(api) + 20_000)
    looks = iter(range(100))

    def leader_ends() -> None:
        if next(looks) == 3:
            api.answers.rows[key].slot = done

    api.meanwhile = leader_ends
    assert state(ask(api)) == "hit"
    assert len(api.realtime.calls) == 1


def led_by_another(api: FakeGateway, seconds: float, job_id: str = "") -> str:
    """The entry of `BODY` as it is while somebody else runs it."""
    ask(api)
    ((key, row),) = api.answers.rows.items()
    row.slot = CacheSlot(fence=1, lease_until_ms=now_ms(api) + int(seconds * 1000), job_id=job_id)
    return key


def test_a_follower_takes_over_from_a_dead_leader() -> None:
    """When the lease ends, one run more, under the next fence."""
    api = gateway()
    key = led_by_another(api, 5)
    assert state(ask(api)) == "miss"
    assert len(api.realtime.calls) == 2
    assert api.answers.rows[key].slot.fence == 2


def test_those_who_waited_long_enough_go_on_within_a_limit() -> None:
    """Two may run beside a leader that hangs; the others are asked to come back. What they made is not kept."""
    api = gateway(wait_seconds=3, strays=2)
    key = led_by_another(api, 60)
    answers = [ask(api) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 503, 503]
    assert answers[2].headers["Retry-After"] == "5"
    assert len(api.realtime.calls) == 3
    assert api.answers.rows[key].slot.answer is None


def test_nobody_waits_for_a_job_with_the_connection_open() -> None:
    """An asynchronous job leads and may take minutes: an urgent request runs beside it at once."""
    api = gateway()
    led_by_another(api, 600, job_id="inf_9")
    before = api.clock.monotonic()
    assert state(ask(api)) == "miss"
    assert api.clock.monotonic() - before < 1


def test_without_coalescing_everybody_runs_and_the_last_answer_is_kept() -> None:
    """No lease is taken: a miss is one read and one write."""
    api = gateway(coalesce=False)
    ask(api)
    assert api.answers.calls == ["read", "store"]
    assert state(ask(api)) == "hit"


def test_a_failed_write_costs_nobody_an_answer() -> None:
    """The caller gets what was paid for; it is counted."""
    api = gateway()
    api.answers.fails = lambda operation: operation == "store"
    assert ask(api).status == 200
    assert any("CacheWriteFailed" in line for line in api.metrics)


def test_when_the_table_is_down_a_share_goes_on_and_the_rest_is_refused() -> None:
    """Of 400 requests about half run, as configured; the others get 503 with a time to come back."""
    api = gateway(uncached_share=0.5)
    api.answers.fails = lambda _operation: True
    answers = [ask(api, request_id=f"req-{number}") for number in range(400)]
    ran = [answer for answer in answers if answer.status == 200]
    assert len(ran) == len(api.realtime.calls)
    assert 160 <= len(ran) <= 240
    refused = next(answer for answer in answers if answer.status == 503)
    assert document(refused)["error"]["code"] == "cache_unavailable"
    assert refused.headers["Retry-After"] == "5"
    assert {state(answer) for answer in ran} == {"bypass"}


def test_when_the_table_is_down_the_rest_may_go_async() -> None:
    """As the model's policy says: accepted as a job, which looks into the cache when its turn comes."""
    api = gateway(uncached_share=0.0, when_down=WhenDown.ASYNC)
    api.answers.fails = lambda _operation: True
    answer = ask(api)
    assert answer.status == 202
    assert answer.headers["x-tollgate-route-reason"].endswith(";async_fallback=cache_down")
    assert not api.realtime.calls
    (job,) = api.jobs.jobs.values()
    assert job.cache is not None


def test_the_breaker_stops_asking_and_tries_again_after_a_rest() -> None:
    """After a few failures nobody waits for the table; one request at a time finds out whether it is back."""
    api = gateway(uncached_share=1.0)
    api.answers.fails = lambda _operation: True
    for _ in range(20):
        ask(api)
    assert len(api.answers.calls) == 2 * FAILURES
    api.answers.fails = lambda _operation: False
    assert state(ask(api)) == "bypass"
    api.clock.advance(6)
    assert state(ask(api)) == "miss"
    assert state(ask(api)) == "hit"


def test_one_hiccup_is_not_an_outage() -> None:
    """A read that fails once is tried again at once."""
    api = gateway(uncached_share=0.0)
    ask(api)
    failures = iter([True, False])
    api.answers.fails = lambda _operation: next(failures, False)
    assert state(ask(api)) == "hit"
