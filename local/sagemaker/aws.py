"""The emulated AWS beside the stand-in. Its calls block, so they are made from threads."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_ANYBODY = "test"  # an emulator asks for no more, and a person's own credentials stay where they are
FAILED = (BotoCoreError, ClientError)


def is_transient(error: BotoCoreError | ClientError) -> bool:
    """Tell whether a failed call may succeed later: the emulator did not answer, or answered 5xx."""
    if isinstance(error, ClientError):
        return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500)) >= 500
    return True


@dataclass(frozen=True, slots=True)
class Location:
    """A place in S3."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read an `s3://bucket/key`.

        Raises:
            ValueError: it is not one.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise ValueError(f"{uri!r} is not an S3 location")
        return cls(bucket, key)

    def under(self, name: str) -> "Location":
        """Return the place of a name inside this prefix."""
        prefix = f"{self.key.rstrip('/')}/" if self.key else ""
        return Location(self.bucket, f"{prefix}{name}")

    @property
    def uri(self) -> str:
        """The `s3://` form."""
        return f"s3://{self.bucket}/{self.key}"


class Aws:
    """Clients of the emulator, made at first use.

    Args:
        endpoint: its base URL.
        region: AWS region name.
    """

    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint = endpoint
        self._region = region
        self._clients: dict[str, Any] = {}
        # Clients may be shared between threads; making them may not.
        self._making = threading.Lock()

    def client(self, service: str) -> Any:
        """Return the client of a service on the emulator."""
        with self._making:
            if service not in self._clients:
                self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: Any) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._endpoint,
            region_name=self._region,
            aws_access_key_id=_ANYBODY,
            aws_secret_access_key=_ANYBODY,
            config=Config(
                connect_timeout=3,
                read_timeout=60,
                retries={"total_max_attempts": 3, "mode": "standard"},
                s3={"addressing_style": "path"},
                max_pool_connections=64,
            ),
        )

    def read(self, place: Location) -> bytes:
        """Return an object's bytes."""
        body: bytes = self.client("s3").get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
        return body

    def chunks(self, place: Location, size: int) -> Iterator[bytes]:
        """Yield an object's bytes, at most `size` at a time."""
        body = self.client("s3").get_object(Bucket=place.bucket, Key=place.key)["Body"]
        try:
            yield from body.iter_chunks(size)
        finally:
            body.close()

    def write(self, place: Location, body: bytes, content_type: str) -> None:
        """Write an object."""
        self.client("s3").put_object(Bucket=place.bucket, Key=place.key, Body=body, ContentType=content_type)

    def upload(self, place: Location, file: IO[bytes]) -> None:
        """Write an object from a file, in parts when it is large."""
        # One part at a time: ten at once, boto3's default, would hold 80 MB.
        config = TransferConfig(use_threads=False)
        self.client("s3").upload_fileobj(file, place.bucket, place.key, Config=config)

    def keys(self, prefix: Location) -> Iterator[Location]:
        """Yield the objects under a prefix in the order of their keys."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=prefix.bucket, Prefix=prefix.key)
        for page in pages:
            for found in page.get("Contents", ()):
                yield Location(prefix.bucket, found["Key"])

    def publish(self, topic: str, message: str) -> None:
        """Publish to an SNS topic."""
        self.client("sns").publish(TopicArn=topic, Message=message)
