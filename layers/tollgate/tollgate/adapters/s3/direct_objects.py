"""The bucket as whole objects, without boto3."""

from datetime import datetime

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.s3.client import S3Client

_WHAT = "bucket"


class S3DirectObjects:
    """The `WholeObjectStore` of AWS for functions that a caller waits for; `S3ObjectStore` can do more."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """See `WholeObjectStore`."""
        with storage_errors(_WHAT):
            self._client.put_object(self._bucket, key, body, content_type=content_type)

    def get(self, key: str) -> bytes | None:
        """See `WholeObjectStore`."""
        with storage_errors(_WHAT):
            return self._client.get_object(self._bucket, key)

    def stored_at(self, key: str) -> datetime | None:
        """See `WholeObjectStore`."""
        with storage_errors(_WHAT):
            head = self._client.head_object(self._bucket, key)
        return None if head is None else head.last_modified

    def size_of(self, key: str) -> int | None:
        """See `FileObjects`."""
        with storage_errors(_WHAT):
            head = self._client.head_object(self._bucket, key)
        return None if head is None else head.size

    def copy(self, source: str, key: str) -> None:
        """See `FileObjects`."""
        with storage_errors(_WHAT):
            self._client.copy_object(self._bucket, source, key)

    def delete(self, key: str) -> None:
        """See `FileObjects`."""
        with storage_errors(_WHAT):
            self._client.delete_object(self._bucket, key)

    def presigned_put(self, key: str, *, size: int, expires_seconds: int) -> str:
        """See `FileObjects`."""
        with storage_errors(_WHAT):
            return self._client.presigned_put(self._bucket, key, size=size, expires_seconds=expires_seconds)

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        """See `WholeObjectStore`."""
        with storage_errors(_WHAT):
            return self._client.presigned_get(self._bucket, key, expires_seconds=expires_seconds)

    def location_of(self, key: str) -> str:
        """See `WholeObjectStore`."""
        return f"s3://{self._bucket}/{key}"

    def key_of(self, location: str) -> str | None:
        """See `WholeObjectStore`."""
        start = f"s3://{self._bucket}/"
        return location.removeprefix(start) if location.startswith(start) else None
