"""Half of a surrogate pair, which JSON can spell and no text has, is refused by the name of its field."""

import json
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.gateway import document
from tests.fakes.whole_api import WholeApi
from tests.unit.api.test_hostile_calls import BODIES, PATH, WITH_BODY
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.dropped_files import dropped_line
from tollgate.domain.jobs.file_batches import BatchLineError, batch_line
from tollgate.domain.json_values import refuse_half_pairs

VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters() | st.sampled_from("\ud83d\ude00\\u"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (r'"\ud800"', None),
        (r'{"input": "a\uDFFF"}', "input"),
        (r'{"input": "\ude00\ud83d"}', "input"),
        (r'{"messages": [{"content": "a"}, {"content": ["", "\ud83d!"]}]}', "messages[1].content[1]"),
        (r'{"a": {"\udfff": "\ud800"}}', "a"),
        (r'{"\udfff": 1}', None),
    ],
)
def test_the_place_is_named(text: str, place: str | None) -> None:
    """As OpenAI writes it; the object where it is a name, and nothing where it is the whole."""
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair") as refused:
        refuse_half_pairs(json.loads(text), text)
    assert refused.value.param == place


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', '"😀"', r'{"\uD83D\uDE00": ["\u00e9"]}'])
def test_whole_characters_pass(text: str) -> None:
    """A pair of escapes, as Python's clients write every emoji, and a backslash before what looks like one."""
    refuse_half_pairs(json.loads(text), text)


@given(VALUES)
def test_what_passes_can_be_written_and_only_that(value: Any) -> None:
    """In whatever value, and whatever is escaped."""
    text = json.dumps(value)
    # Two halves that stood apart are one character when they are read again.
    read = json.loads(text)
    try:
        json.dumps(read, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidRequestError):
            refuse_half_pairs(read, text)
    else:
        refuse_half_pairs(read, text)


@pytest.mark.parametrize("route", [route for route in WITH_BODY if any(BODIES[route].values())])
def test_every_route_that_takes_text_names_the_field(route: str) -> None:
    """400 before anything is looked up or run."""
    name = next(name for name, value in BODIES[route].items() if name != "model" and value)
    answer = WholeApi().call(route, json.dumps(BODIES[route] | {name: ["a", {"b": "\ud800"}]}), path=PATH)
    error = document(answer)["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "invalid_request", f"{name}[1].b")


def test_a_body_with_half_a_character_in_it_is_no_utf_8() -> None:
    """A half that was not escaped can only come from bytes that are none."""
    answer = WholeApi().call("POST /v1/inferences", '{"model": "echo", "input": "\ud800"}')
    assert answer.status == 400
    assert document(answer)["error"]["message"] == "The body is not UTF-8."


def test_a_line_of_a_batch_keeps_its_name() -> None:
    """So that its owner finds it in the file of errors."""
    line = rb'{"custom_id": "one", "method": "POST", "url": "/v1/responses", "body": {"input": "\ud800"}}'
    with pytest.raises(BatchLineError) as refused:
        batch_line(line, "/v1/responses")
    assert (refused.value.custom_id, refused.value.param) == ("one", "body.input")


@pytest.mark.parametrize("line", [rb'{"input": "\ud800"}', b'{"input": "\xed\xa0\x80"}', b'{"input": "\xff"}'])
def test_a_dropped_line_is_refused(line: bytes) -> None:
    """Escaped, as bytes, and what is no UTF-8 at all; a container would see none of them."""
    with pytest.raises(InvalidRequestError):
        dropped_line(line)


def test_a_byte_order_mark_before_a_file_is_passed_over() -> None:
    """Some editors write one."""
    assert dropped_line(b'\xef\xbb\xbf{"input": 1}').input == 1


def test_the_place_is_found_in_one_pass_however_deep_it_lies() -> None:
    """A large list at the bottom is not written anew for each level above it."""
    text = "[" * 95 + r'"\ud83d\ude00",' * 300_000 + r'"\ud800"' + "]" * 95
    value = json.loads(text)
    began = process_time()
    with pytest.raises(InvalidRequestError, match="half of a surrogate pair"):
        refuse_half_pairs(value, text)
    assert process_time() - began < 0.5
