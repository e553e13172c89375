"""Events that nobody understands, on the deployed template: tried again, then dead letters that say what was wrong."""

import json

import pytest

from local.launch.layout import STACK_NAME
from tests.integration.capacity.dead_letters import dead_letter
from tests.local_stack import LocalStack

pytestmark = pytest.mark.integration

LETTERS = [
    ("capacity", {"kind": "wake", "place": "toaster/kitchen"}, "no such place 'toaster/kitchen'"),
    ("capacity", {"kind": "dance", "place": "x/y"}, "unknown kind 'dance'"),
    ("cache", {"kind": "dance"}, "unknown kind 'dance'"),
    ("budget-alarm", {"what": "is this"}, "neither a message, nor the schedule, nor an order"),
]


@pytest.fixture(scope="module")
def sent(local_stack: LocalStack) -> LocalStack:
    """The stack to which all of them were given, so that their tries and the pauses between these pass at once."""
    functions = local_stack.aws("lambda")
    for function, event, _ in LETTERS:
        name = f"{STACK_NAME}-{function}"
        functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    return local_stack


@pytest.mark.parametrize(("function", "event", "reason"), LETTERS)
def test_what_nobody_understands_becomes_a_dead_letter_with_its_reason(
    sent: LocalStack, function: str, event: dict[str, str], reason: str
) -> None:
    """Lambda's own queue gives the event again twice, and then puts it there with the error."""
    letter = dead_letter(sent, lambda payload: payload == event)
    assert reason in letter
    assert f"{STACK_NAME}-{function}" in letter
