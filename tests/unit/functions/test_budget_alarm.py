"""The budget-alarm function with the samples of its triggers, and the orders of the command line."""

import json
from typing import Any

import pytest

from functions.budget_alarm.app import handle
from tests.fakes.braked_stack import World
from tests.unit.template_document import ROOT
from tollgate.api.alarm_events import UnreadableAlarmError
from tollgate.domain.brakes.level import BrakeLevel

ORDER = {"source": "tollgate.brake", "who": "ann"}
SAMPLES = sorted(path.stem for path in (ROOT / "events" / "budget_alarm").glob("*.json"))


def _event(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "events" / "budget_alarm" / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize(
    ("sample", "level"),
    [
        ("budgets_actual", "stop"),
        ("budgets_forecast", "warn"),
        ("cloudwatch_alarm", "none"),  # the example's catalogue does not brake for alarms
        ("cloudwatch_ok", "none"),
        ("cloudwatch_composite", "none"),
        ("ledger_notice", "defer"),
        ("schedule", "none"),
    ],
)
def test_every_sample_does_what_it_says(sample: str, level: str) -> None:
    """And the second time nothing more."""
    world = World()
    assert handle(_event(sample), world.watch)["level"] == level
    writes = world.store.writes
    assert handle(_event(sample), world.watch)["level"] == level
    assert world.store.writes == writes


def test_the_samples_are_all_tried() -> None:
    """Those above and the one that nobody understands."""
    clouds = ["cloudwatch_alarm", "cloudwatch_composite", "cloudwatch_ok"]
    known = ["budgets_actual", "budgets_forecast", *clouds, "ledger_notice", "schedule", "unknown_text"]
    assert sorted(known) == SAMPLES


def test_an_unknown_text_is_safe_and_loud() -> None:
    """Nothing changes; an error line, a metric, and an exception that makes it a dead letter."""
    world = World()
    with pytest.raises(UnreadableAlarmError, match="begins 'Somebody has published"):
        handle(_event("unknown_text"), world.watch)
    assert world.store.writes == 0
    assert world.telemetry.counts == {"AlarmUnreadable": 1}
    assert [(level, message) for level, message, _ in world.telemetry.lines] == [("ERROR", "alarm not understood")]


def test_a_person_brakes_and_resumes() -> None:
    """By order, with a reason; what they are told back is the record."""
    world = World()
    done = handle(ORDER | {"order": "set", "level": "stop", "reason": "an experiment ran away"}, world.watch)
    assert (done["level"], done["reason"]) == ("stop", "an experiment ran away")
    assert handle(ORDER | {"order": "resume"}, world.watch)["level"] == "none"
    assert world.level() is BrakeLevel.NONE


@pytest.mark.parametrize(
    "event", [{}, {"source": "somebody"}, ORDER | {"order": "explode"}, ORDER | {"order": "set"}, ORDER | {"x": 1}]
)
def test_an_order_that_makes_no_sense_is_refused(event: dict[str, Any]) -> None:
    """Nothing is written."""
    world = World()
    with pytest.raises(UnreadableAlarmError):
        handle(event, world.watch)
    assert world.store.writes == 0
