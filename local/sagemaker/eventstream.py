"""AWS event-stream frames, written by hand because botocore only knows how to read them.

A frame is: total length, header length, CRC-32 of those eight bytes, headers, payload, CRC-32 of all before
it. Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import json
import struct
from binascii import crc32

from local.sagemaker.wire import Json

_STRING_HEADER = 7
CONTENT_TYPE = "application/vnd.amazon.eventstream"


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Return one encoded frame whose headers are all strings."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return message + struct.pack(">I", crc32(message))


def payload_part(payload: bytes) -> bytes:
    """Return a `PayloadPart` event, the shape every piece of a streamed answer has."""
    headers = {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    return frame(headers, payload)


def stream_exception(kind: str, message: str, error_code: str | None = None) -> bytes:
    """Return an exception frame: `ModelStreamError` (with a code) or `InternalStreamFailure`."""
    body = {"Message": message} | ({"ErrorCode": error_code} if error_code else {})
    return exception(kind, body)


def event(kind: str, document: Json) -> bytes:
    """Return an event with a JSON document, the shape of Bedrock's."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(document).encode())


def exception(kind: str, members: Json) -> bytes:
    """Return an exception frame with the members of its shape."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps(members).encode())


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING_HEADER, len(text)) + text
