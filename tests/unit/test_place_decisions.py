"""The log says why a place was put to sleep, woken, or left asleep while its jobs were handed on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import replace
from typing import Any

from tests.fakes.examples import make_job
from tests.fakes.gatherers import Gatherers
from tests.fakes.hand_on_house import STARTUP, HandOnHouse
from tests.fakes.sleepers import ASYNC, POLICY, REALTIME, Sleepers, sleepy_catalogue, standing
from tollgate.domain.brakes.level import BrakeLevel, BrakePolicy, Control
from tollgate.domain.catalogue import InferenceType


def decisions(world: Sleepers) -> Sequence[Mapping[str, Any]]:
    """Fields of the lines of decisions, oldest first."""
    return [fields for _, message, fields in world.telemetry.lines if message == "place decided"]


def test_nothing_is_logged_while_nothing_is_decided() -> None:
    """An hour of looks at endpoints that stay up."""
    world = Sleepers(catalogue=sleepy_catalogue(replace(POLICY, minimum=1)))
    world.minutes(60)
    assert decisions(world) == []


def test_a_sleep_says_for_how_long_nobody_came() -> None:
    """With the rule that said so, once."""
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME))
    world.until_asleep()
    [line] = decisions(world)
    assert line.items() >= {"place": REALTIME.key, "action": "sleep", "reason": "no invocation for 30 min"}.items()
    assert line["phase_seconds"] >= 30 * 60


def test_a_wake_says_what_waited() -> None:
    """How many requests, for which start-up, with how many instances."""
    world = Sleepers(catalogue=sleepy_catalogue(POLICY, InferenceType.REALTIME))
    world.endpoints.put(standing(REALTIME, 2, (2, 8)))
    world.until_asleep()
    world.gateway.jobs.add(make_job("inf_r", inference_type=InferenceType.REALTIME))
    world.keeper.tick()
    line = decisions(world)[-1]
    told = {"action": "wake", "reason": "1 waiting", "waiting": 1, "instances": 2, "startup_seconds": 240.0}
    assert line.items() >= told.items()
    assert line["phase"] == "asleep"


def test_a_storm_is_one_decision() -> None:
    """Whoever finds the endpoint being woken writes nothing."""
    world = Sleepers()
    world.until_asleep()
    keepers = [world.new_keeper() for _ in range(5)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda number: keepers[number % 5].wake(REALTIME), range(100)))
    assert [line["asked"] for line in decisions(world) if line["action"] == "wake"] == [True]


def test_instances_that_are_added_are_a_decision() -> None:
    """With how many there are then, and how many requests wanted them."""
    world = Gatherers().sleeping()
    world.working()
    world.capacity.measured = 60.0
    for _ in range(300):
        world.come(15)
    world.look()
    [line] = [line for line in decisions(world) if line["action"] == "grow"]
    assert line.items() >= {"instances": 4, "given": 301, "phase": "awake"}.items()


def test_handing_on_says_what_a_start_would_have_cost() -> None:
    """One line for all that one look handed on; the endpoint is not woken."""
    house = HandOnHouse()
    for _ in range(2):
        house.come()
    house.until_due()
    lines = [line for line in decisions(house) if line["action"] != "sleep"]
    assert [line["action"] for line in lines] == ["hand_on"]
    [line] = lines
    assert line.items() >= {"place": ASYNC.key, "handed_on": 2, "gathered": 0, "startup_seconds": STARTUP}.items()
    assert 0 < line["tokens_extra_usd"] < line["start_usd"]


def test_a_wake_says_why_nothing_was_handed_on() -> None:
    """Tokens for all of them would have cost more than the start."""
    house = HandOnHouse()
    for _ in range(400):
        house.come(parameters={"max_tokens": 500})
    house.calls(12)
    line = next(line for line in decisions(house) if line["action"] == "wake")
    assert line["not_handed_on"] == "a start costs less"
    assert line["tokens_extra_usd"] > line["start_usd"] > 0
    assert line["gathered"] > 0
    assert line["first_runs_in_seconds"] > STARTUP


def test_a_wake_says_that_only_an_instance_could_serve() -> None:
    """The brakes keep everything from the provider."""
    house = HandOnHouse()
    house.come()
    brakes = BrakePolicy(steps=(), critical=frozenset({"chat/gpu"}))
    house.gateway.catalogues.catalogue = replace(house.catalogue, brakes=brakes)
    house.gateway.brakes.control = replace(Control(), level=BrakeLevel.STOP)
    house.calls(12)
    line = next(line for line in decisions(house) if line["action"] == "wake")
    assert line["not_handed_on"] == "only an instance can serve the first"
