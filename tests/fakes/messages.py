"""A queue, events for a function, and a bucket in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.fakes.clock import ManualClock

BUCKET = "tollgate-test"


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message as it was sent."""

    body: Mapping[str, Any]
    trace: str = ""
    group: str = ""
    delay_seconds: int = 0


class InMemoryQueue:
    """The `MessageQueue` of tests."""

    def __init__(self) -> None:
        self.sent: list[SentMessage] = []

    def send(self, message: Mapping[str, Any], *, trace: str = "", group: str = "", delay_seconds: int = 0) -> None:
        self.sent.append(SentMessage(dict(message), trace, group, delay_seconds))

    @property
    def bodies(self) -> list[Mapping[str, Any]]:
        """What was sent, without envelopes."""
        return [message.body for message in self.sent]


class InMemoryEvents:
    """The `FunctionEvents` of tests."""

    def __init__(self) -> None:
        self.sent: list[SentMessage] = []

    def send(self, event: Mapping[str, Any]) -> None:
        self.sent.append(SentMessage(dict(event)))

    @property
    def bodies(self) -> list[Mapping[str, Any]]:
        """What was sent."""
        return [event.body for event in self.sent]


class InMemoryObjectStore:
    """The `ObjectStore` of tests."""

    def __init__(self, bucket: str = BUCKET, clock: ManualClock | None = None) -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = {}
        self._clock = clock or ManualClock()
        self._stored_at: dict[str, datetime] = {}

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        assert content_type
        self.objects[key] = body
        self._stored_at[key] = self._clock.now().replace(microsecond=0)

    def put_lines(self, key: str, lines: Iterable[bytes], *, content_type: str = "application/jsonl") -> None:
        self.put(key, b"".join(line + b"\n" for line in lines), content_type=content_type)

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def lines(self, key: str) -> Iterator[bytes] | None:
        assert key, "S3 has no object without a name, and boto3 refuses to ask"
        body = self.objects.get(key)
        if body is None:
            return None
        parts = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if not parts[-1]:
            parts.pop()
        return iter([part.removesuffix(b"\r") for part in parts])

    def chunks(self, key: str) -> Iterator[bytes] | None:
        body = self.objects.get(key)
        if body is None:
            return None
        size = max(3, len(body) // 1000)
        return iter([body[begin : begin + size] for begin in range(0, len(body), size)])

    def put_chunks(self, key: str, chunks: Iterable[bytes], *, content_type: str = "application/octet-stream") -> None:
        self.put(key, b"".join(chunks), content_type=content_type)

    def stored_at(self, key: str) -> datetime | None:
        return self._stored_at.get(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        return iter(sorted((key for key in self.objects if key.startswith(prefix)), key=str.encode))

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)
        self._stored_at.pop(key, None)

    def copy(self, source: str, key: str) -> None:
        if source in self.objects:
            self.put(key, self.objects[source])

    def size_of(self, key: str) -> int | None:
        body = self.objects.get(key)
        return None if body is None else len(body)

    def presigned_put(self, key: str, *, size: int, expires_seconds: int) -> str:
        return f"https://{self.bucket}.example/{key}?put&size={size}&expires={expires_seconds}"

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        return f"https://{self.bucket}.example/{key}?expires={expires_seconds}"

    def location_of(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def key_of(self, location: str) -> str | None:
        start = f"s3://{self.bucket}/"
        return location.removeprefix(start) if location.startswith(start) else None
