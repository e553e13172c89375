"""S3 for the functions that must start quickly: whole objects, and URLs for them."""

from datetime import UTC, datetime
from typing import NamedTuple

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import AwsError, ResourceNotFoundError
from tollgate.adapters.aws.http import HttpResponse
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport

# The hash in every request covers the body, so S3 stores nothing that was damaged on its way.
_READ_TIMEOUT_S = 30.0
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/")


def _path_of(key: str) -> str:
    """The key percent-encoded, with its slashes kept."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in key.encode())


class ObjectHead(NamedTuple):
    """What S3 says of an object without sending it."""

    size: int
    last_modified: datetime


class S3Client:
    """The object operations of the hot path.

    All of them are repeated after a transient failure: a second PUT of the same bytes changes nothing.
    Buckets are addressed by host name, as AWS recommends; by path where an endpoint is configured, whose host need not
    have subdomains, and for names with a dot, which do not fit AWS's certificate.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
    """

    def __init__(self, transport: AwsTransport) -> None:
        self._transport = transport
        self._by_path = transport.config.s3_endpoint is not None

    def put_object(self, bucket: str, key: str, body: bytes, *, content_type: str) -> None:
        """Store an object of at most 5 GB.

        Raises:
            ResourceNotFoundError: there is no such bucket.
            AwsError: see `aws.errors`.
        """
        self._send("PutObject", "PUT", bucket, key, body=body, headers=(("content-type", content_type),))

    def get_object(self, bucket: str, key: str) -> bytes | None:
        """The whole object; None when there is none, and AccessDenied instead where listing is not allowed.

        Raises:
            ResourceNotFoundError: there is no such bucket.
            AwsError: see `aws.errors`.
        """
        try:
            return self._send("GetObject", "GET", bucket, key).body
        except ResourceNotFoundError as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def copy_object(self, bucket: str, source: str, key: str) -> None:
        """Copy an object of at most 5 GB within its bucket; nothing happens when there is none.

        S3 may find out that it cannot copy after it has begun to answer with 200: look at what is there afterwards.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html

        Raises:
            ResourceNotFoundError: there is no such bucket.
            AwsError: see `aws.errors`.
        """
        headers = (("x-amz-copy-source", f"{bucket}/{_path_of(source)}"),)
        try:
            self._send("CopyObject", "PUT", bucket, key, headers=headers)
        except ResourceNotFoundError as error:
            if error.code != "NoSuchKey":
                raise

    def head_object(self, bucket: str, key: str) -> ObjectHead | None:
        """Size and time of an object, None when there is none or no such bucket: a HEAD cannot tell them apart.

        Raises:
            AwsError: see `aws.errors`.
        """
        try:
            headers = self._send("HeadObject", "HEAD", bucket, key).headers
        except AwsError as error:
            if error.status == 404:
                return None
            raise
        modified = datetime.strptime(headers["last-modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
        return ObjectHead(int(headers.get("content-length", "0")), modified)

    def presigned_get(self, bucket: str, key: str, *, expires_seconds: int) -> str:
        """A URL that gives the object to whoever holds it.

        Raises:
            AwsError: there are no credentials.
        """
        subdomain, path = self._address(bucket, key)
        return self._transport.presigned_url(AwsService.S3, path, subdomain=subdomain, expires_seconds=expires_seconds)

    def presigned_put(self, bucket: str, key: str, *, size: int, expires_seconds: int) -> str:
        """A URL to which whoever holds it can PUT the object. S3 refuses any but this number of bytes (403).

        Raises:
            AwsError: there are no credentials.
        """
        subdomain, path = self._address(bucket, key)
        return self._transport.presigned_url(
            AwsService.S3,
            path,
            subdomain=subdomain,
            expires_seconds=expires_seconds,
            method="PUT",
            content_length=size,
        )

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object; S3 does not say whether there was one.

        Raises:
            ResourceNotFoundError: there is no such bucket.
            AwsError: see `aws.errors`.
        """
        self._send("DeleteObject", "DELETE", bucket, key)

    def _address(self, bucket: str, key: str) -> tuple[str, str]:
        if self._by_path or "." in bucket:
            return "", f"/{bucket}/{_path_of(key)}"
        return bucket, f"/{_path_of(key)}"

    def _send(
        self,
        operation: str,
        method: str,
        bucket: str,
        key: str,
        *,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> HttpResponse:
        subdomain, path = self._address(bucket, key)
        return self._transport.send(
            AwsCall(
                service=AwsService.S3,
                operation=operation,
                path=path,
                headers=headers,
                body=body,
                retry=RetryPolicy.IDEMPOTENT,
                read_timeout_s=_READ_TIMEOUT_S,
                method=method,
                subdomain=subdomain,
            )
        )
