"""The bucket, through boto3."""

import codecs
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from tollgate.domain.errors import StorageError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

_PART = 8 * 1024 * 1024
_CHUNK = 256 * 1024

LONGEST_LINE = 32 * 1024 * 1024
"""Bytes; what a line has beyond them is passed over. Functions have little memory, and what brings one down takes the
work of others with it."""


class S3ObjectStore:
    """The `ObjectStore` of AWS. The client is made on first use, for boto3 is slow to import."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    @cached_property
    def _client(self) -> "S3Client":
        import boto3  # noqa: PLC0415 -- functions that never touch the bucket must not pay for the import
        from botocore.config import Config  # noqa: PLC0415 -- as above

        return boto3.client(
            "s3",
            config=Config(
                signature_version="s3v4",
                connect_timeout=2,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 4},
                tcp_keepalive=True,
            ),
        )

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """See `ObjectStore`."""
        with _storage_errors(f"writing {key}"):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def put_lines(self, key: str, lines: Iterable[bytes], *, content_type: str = "application/jsonl") -> None:
        """See `ObjectStore`."""
        self.put_chunks(key, (piece for line in lines for piece in (line, b"\n")), content_type=content_type)

    def put_chunks(self, key: str, chunks: Iterable[bytes], *, content_type: str = "application/octet-stream") -> None:
        """See `ChunkedObjects`. What is larger than one part goes up part by part as the chunks come."""
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 -- see _client

        part_by_part = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=False)
        with _storage_errors(f"writing {key}"):
            self._client.upload_fileobj(
                _ChunkStream(chunks),  # type: ignore[arg-type]  # a raw stream of bytes that is only read
                self._bucket,
                key,
                ExtraArgs={"ContentType": content_type},
                Config=part_by_part,
            )

    def get(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        with _storage_errors(f"reading {key}"):
            body = self._open(key)
            return None if body is None else body.read()

    def lines(self, key: str) -> Iterator[bytes] | None:
        """See `ObjectStore`. A byte order mark at the start is dropped; only a line feed ends a line."""
        chunks = self.chunks(key)
        return None if chunks is None else split_lines(chunks)

    def chunks(self, key: str) -> Iterator[bytes] | None:
        """See `ChunkedObjects`."""
        with _storage_errors(f"reading {key}"):
            body = self._open(key)
        return None if body is None else _chunks(key, body.iter_chunks(_CHUNK))

    def stored_at(self, key: str) -> datetime | None:
        """See `ObjectStore`."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        with _storage_errors(f"looking for {key}"):
            try:
                return self._client.head_object(Bucket=self._bucket, Key=key)["LastModified"]
            except ClientError as error:
                if self._is_absent(key, error):
                    return None
                raise

    def list_keys(self, prefix: str) -> Iterator[str]:
        """See `ObjectStore`."""
        with _storage_errors(f"listing {prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield entry["Key"]

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        with _storage_errors(f"deleting {key}"):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _open(self, key: str) -> "StreamingBody | None":
        from botocore.exceptions import ClientError  # noqa: PLC0415 -- see _client

        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        except ClientError as error:
            if self._is_absent(key, error):
                return None
            raise

    def _is_absent(self, key: str, error: "ClientError") -> bool:
        """Whether an error means that there is no such object.

        S3 answers 403 instead of 404 to whoever may not list the whole bucket, and our functions may list some prefixes
        only; so a 403 is looked into by listing.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 403 and code != "SignatureDoesNotMatch":
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
            return all(entry["Key"] != key for entry in found.get("Contents", ()))
        # A HEAD has no body, so S3 gives only the status.
        return code == "NoSuchKey" or (status == 404 and code != "NoSuchBucket")

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        """See `ObjectStore`."""
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_seconds
        )

    def location_of(self, key: str) -> str:
        """See `ObjectStore`."""
        return f"s3://{self._bucket}/{key}"

    def key_of(self, location: str) -> str | None:
        """See `ObjectStore`."""
        start = f"s3://{self._bucket}/"
        return location.removeprefix(start) if location.startswith(start) else None


class _ChunkStream(io.RawIOBase):
    """Chunks as a stream of bytes that is read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts = [self._rest]
        held = len(self._rest)
        while size < 0 or held < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            held += len(chunk)
        data = b"".join(parts)
        cut = held if size < 0 else size
        self._rest = data[cut:]
        return data[:cut]


def split_lines(chunks: Iterable[bytes], longest: int = LONGEST_LINE) -> Iterator[bytes]:
    """Lines of a stream of bytes, without their ends (LF or CR LF) and without a byte order mark.

    Of a line that is longer than `longest` its beginning, a chunk more at most: no JSON any more, but no danger either.
    """
    unfinished: list[bytes] = []
    held = 0
    mark = codecs.BOM_UTF8
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            if held < longest:
                unfinished.append(part)
            yield b"".join(unfinished).removeprefix(mark).removesuffix(b"\r")
            unfinished.clear()
            held = 0
            mark = b""
        if rest and held < longest:
            unfinished.append(rest)
            held += len(rest)
    if unfinished:
        yield b"".join(unfinished).removeprefix(mark).removesuffix(b"\r")


def _chunks(key: str, body: Iterable[bytes]) -> Iterator[bytes]:
    with _storage_errors(f"reading {key}"):
        yield from body


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- see S3ObjectStore._client

    try:
        yield
    except ClientError as error:
        raise StorageError(f"Failed while {what}: {error.response['Error']['Code']}.") from error
    except BotoCoreError as error:
        raise StorageError(f"Failed while {what}: {type(error).__name__}.") from error
