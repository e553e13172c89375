"""Events that nobody understands, on the deployed template: tried again, then dead letters that say what was wrong."""

import json

import pytest

from local.launch.layout import STACK_NAME
from tests.integration.capacity.dead_letters import dead_letter
from tests.local_stack import LocalStack

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("function", "event", "reason"),
    [
        ("capacity", {"kind": "wake", "place": "toaster/kitchen"}, "no such place 'toaster/kitchen'"),
        ("capacity", {"kind": "dance", "place": "x/y"}, "unknown kind 'dance'"),
        ("cache", {"kind": "dance"}, "unknown kind 'dance'"),
        ("budget-alarm", {"what": "is this"}, "neither a message, nor the schedule, nor an order"),
    ],
)
def test_what_nobody_understands_becomes_a_dead_letter_with_its_reason(
    local_stack: LocalStack, function: str, event: dict[str, str], reason: str
) -> None:
    """Lambda's own queue gives the event again twice, and then puts it there with the error."""
    name = f"{STACK_NAME}-{function}"
    local_stack.aws("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    assert reason in dead_letter(local_stack, lambda payload: payload == event)
