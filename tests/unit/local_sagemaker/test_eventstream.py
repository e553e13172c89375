"""Event-stream frames, read back by botocore's own parser."""

import json
from typing import Any

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.eventstream import payload_part, stream_exception


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.integers(1, 64))
def test_botocore_reads_every_part_however_it_is_cut(payloads: list[bytes], cut: int) -> None:
    """Frames keep payloads and headers, and their checksums hold, in whatever pieces they arrive."""
    wire = b"".join(payload_part(payload) for payload in payloads)
    buffer = EventStreamBuffer()
    read: list[Any] = []
    for start in range(0, len(wire), cut):
        buffer.add_data(wire[start : start + cut])
        read.extend(buffer)
    assert [message.payload for message in read] == payloads
    assert {message.headers[":event-type"] for message in read} == {"PayloadPart"}


def _read(buffer: Any) -> list[Any]:
    return list(buffer)


def test_an_exception_frame_names_its_kind() -> None:
    """A failure in mid-stream travels as an exception message with its members in JSON."""
    buffer = EventStreamBuffer()
    buffer.add_data(stream_exception("ModelStreamError", "it broke", "500"))
    [message] = _read(buffer)
    assert message.headers[":message-type"] == "exception"
    assert message.headers[":exception-type"] == "ModelStreamError"
    assert json.loads(message.payload) == {"Message": "it broke", "ErrorCode": "500"}
