"""Records of a batch transform."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.jsonpath import PathSyntaxError
from local.sagemaker.records import (
    BadRecordError,
    Processing,
    output_name,
    payloads,
    split_lines,
    whole_object,
)


@given(st.lists(st.binary(max_size=40).filter(lambda line: not set(line) & set(b"\r\n"))), st.integers(1, 50))
def test_lines_come_back_however_they_are_read(lines: list[bytes], cut: int) -> None:
    """Splitting gives back the lines that were joined, whatever the size of the pieces they arrive in."""
    text = b"".join(line + b"\n" for line in lines)
    chunks = [text[start : start + cut] for start in range(0, len(text), cut)]
    assert list(split_lines(chunks)) == lines


def test_a_last_line_without_an_end_counts_and_returns_are_dropped() -> None:
    """Windows line ends and a missing last line end make no difference."""
    assert list(split_lines([b"a\r\nb"])) == [b"a", b"b"]


def test_an_endless_line_is_refused_early() -> None:
    """A line over the limit fails while it is read, before all of it is in memory."""

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10

    with pytest.raises(BadRecordError):
        next(split_lines(endless(), 100))
    with pytest.raises(BadRecordError):
        next(whole_object(endless(), 100))


@given(st.lists(st.binary(max_size=30)), st.integers(30, 90))
def test_full_payloads_keep_order_and_limit(records: list[bytes], limit: int) -> None:
    """MultiRecord loses and reorders nothing, exceeds its limit never, and fills payloads as far as it can."""
    batches = list(payloads(records, multi=True, limit_bytes=limit))
    assert [record for batch in batches for record in batch] == records
    sizes = [sum(len(record) + 1 for record in batch) for batch in batches]
    assert all(len(batch) == 1 or size <= limit for batch, size in zip(batches, sizes, strict=True))
    for size, following in zip(sizes, batches[1:], strict=False):
        assert size + len(following[0]) + 1 > limit


def test_single_record_sends_one_each_and_refuses_giants() -> None:
    """SingleRecord makes one payload a record; a record over MaxPayloadInMB is bad."""
    assert list(payloads([b"a", b"b"], multi=False, limit_bytes=1)) == [[b"a"], [b"b"]]
    with pytest.raises(BadRecordError):
        list(payloads([b"ab"], multi=False, limit_bytes=1))


def test_filters_and_join_follow_the_documentation() -> None:
    """The input filter hides an id from the model; the join brings it back beside the answer."""
    processing = Processing.read(
        {"InputFilter": "$.features", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}
    )
    record = b'{"id": 5, "features": [1, 2], "other": true}'
    assert json.loads(processing.before(record)) == [1, 2]
    [stored] = processing.after([record], b'{"score": 0.5}', lines=False)
    assert json.loads(stored) == {"id": 5, "SageMakerOutput": {"score": 0.5}}


def test_what_is_not_an_object_is_joined_as_input_and_output() -> None:
    """An array has no room for a member, so input and output stand side by side."""
    [stored] = Processing.read({"JoinSource": "Input"}).after([b"[1]"], b"2", lines=False)
    assert json.loads(stored) == {"SageMakerInput": [1], "SageMakerOutput": 2}


def test_without_processing_bytes_pass_untouched() -> None:
    """With the default filters nothing is parsed: any bytes go in and out."""
    processing = Processing.read({})
    assert processing.before(b"\xff,1") == b"\xff,1"
    assert processing.after([b"a", b"b"], b"\x00\x01", lines=False) == [b"\x00\x01"]


def test_answers_that_do_not_match_their_records_cannot_be_joined() -> None:
    """One answer line for two records is an error, not a guess."""
    processing = Processing.read({"JoinSource": "Input"})
    with pytest.raises(BadRecordError, match="2 records"):
        processing.after([b"{}", b"{}"], b"{}\n", lines=True)
    assert len(processing.after([b"{}", b"{}"], b"1\n2\n", lines=True)) == 2


@pytest.mark.parametrize(
    ("document", "record"),
    [({"InputFilter": "$.x"}, b"{}"), ({"InputFilter": "$.x"}, b"not json")],
)
def test_a_record_without_the_filtered_part_is_bad(document: dict[str, str], record: bytes) -> None:
    """A filter that finds nothing, or no JSON at all, makes the record a bad one."""
    with pytest.raises(BadRecordError):
        Processing.read(document).before(record)


def test_an_unknown_join_is_refused() -> None:
    """JoinSource is None or Input."""
    with pytest.raises(PathSyntaxError):
        Processing.read({"JoinSource": "Output"})


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("in/", "in/a.jsonl", "a.jsonl.out"),
        ("in", "in/a.jsonl", "a.jsonl.out"),
        ("in/", "in/deep/a.jsonl", "deep/a.jsonl.out"),
        ("in/a.jsonl", "in/a.jsonl", "a.jsonl.out"),
        ("in/da", "in/data/a.csv", "data/a.csv.out"),
        ("", "a.csv", "a.csv.out"),
    ],
)
def test_outputs_mirror_their_inputs(prefix: str, key: str, name: str) -> None:
    """Every input object gets `.out` at the same place below the output path."""
    assert output_name(prefix, key) == name
