"""S3 by botocore and by our transport: the same requests, the same URLs, the same errors."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tollgate.adapters.aws.errors import AwsError, ResourceNotFoundError, ThrottledError
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig
from tollgate.adapters.s3.client import S3Client

KEYS = ["plain.json", "a b+c/é💡.json", "x//y", "./a/../b", "%41=&?#~'()*!@,;:$"]
REGION = "eu-central-1"
VARYING = {"authorization", "x-amz-date", "user-agent", "connection", "accept-encoding", "expect", "content-length"}
BOOK_KEEPING = {"amz-sdk-invocation-id", "amz-sdk-request"}
CALLS: dict[str, tuple[Callable[[S3Client, str], Any], Callable[[Any, str], Any]]] = {
    "put": (
        lambda s, key: s.put_object("data", key, b"\x00body", content_type="text/plain"),
        lambda b, key: b.put_object(Bucket="data", Key=key, Body=b"\x00body", ContentType="text/plain"),
    ),
    "copy": (
        lambda s, key: s.copy_object("data", "from/" + key, key),
        lambda b, key: b.copy_object(Bucket="data", CopySource={"Bucket": "data", "Key": "from/" + key}, Key=key),
    ),
    "get": (lambda s, key: s.get_object("data", key), lambda b, key: b.get_object(Bucket="data", Key=key)),
    "head": (lambda s, key: s.head_object("data", key), lambda b, key: b.head_object(Bucket="data", Key=key)),
}
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs")


def boto_config() -> Config:
    """Plain SigV4, without the checksums that botocore sends beside the hash of the body."""
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("name", CALLS)
def test_same_request_on_the_wire(name: str, key: str, recorder: Any, answer: Any, ours: Any) -> None:
    """Method, path, body, headers and a signature that botocore's signer agrees with, whatever the key."""
    # A HEAD has no body; botocore and awscrt both leave Content-Length alone then.
    headers = {"last-modified": "Sun, 01 Mar 2026 12:00:00 GMT"}
    recorder.script = [answer(body=b"", headers=headers)] * 2
    by_us, by_boto = CALLS[name]
    boto: Any = boto3.client("s3", region_name=REGION, endpoint_url=recorder.url, config=boto_config())
    by_boto(boto, key)
    by_us(S3Client(ours.transport), key)
    theirs, own = recorder.requests
    assert (own.method, own.target, own.body) == (theirs.method, theirs.target, theirs.body)
    meaning = {k: v for k, v in theirs.headers.items() if k not in VARYING | BOOK_KEEPING}
    assert {k: v for k, v in own.headers.items() if k not in VARYING} == meaning
    assert own.headers.get("content-length") == theirs.headers.get("content-length")
    assert own.headers["authorization"].partition("Signature=")[2] == _signature(own)


def _signature(recorded: Any) -> str:
    signed = recorded.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest(
        method=recorded.method,
        url=f"http://{recorded.headers['host']}{recorded.target}",
        headers={name: recorded.headers[name] for name in signed},
        data=recorded.body,
    )
    request.context["timestamp"] = recorded.headers["x-amz-date"]
    signer = S3SigV4Auth(CREDENTIALS, "s3", REGION)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


def _url_signatures(method: str, url: str, **headers: str) -> tuple[str, str]:
    """The signature in a URL, and botocore's for a request to it with these headers."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    request = AWSRequest(
        method=method, url=url.partition("&X-Amz-Signature=")[0], headers={"host": parts.netloc, **headers}
    )
    request.context["timestamp"] = query["X-Amz-Date"]
    signer = S3SigV4QueryAuth(CREDENTIALS, "s3", REGION, expires=int(query["X-Amz-Expires"]))
    signed = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return query["X-Amz-Signature"], str(signed)


@pytest.mark.parametrize("key", KEYS)
def test_a_presigned_put_takes_the_announced_bytes_only(key: str) -> None:
    """The length is among the signed headers, so S3 finds no valid signature on a request with another one."""
    client = S3Client(AwsTransport(TransportConfig(region=REGION)))
    url = client.presigned_put("data", key, size=4_000_000, expires_seconds=90)
    assert "X-Amz-SignedHeaders=content-length%3Bhost" in url
    ours, botocores = _url_signatures("PUT", url, **{"content-length": "4000000"})
    assert ours == botocores
    ours, botocores = _url_signatures("PUT", url, **{"content-length": "4000001"})
    assert ours != botocores


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9000"])
def test_presigned_url_is_valid(key: str, endpoint: str | None) -> None:
    """Botocore's signer computes the same signature for the URL; it goes to the bucket's host, or to the endpoint."""
    client = S3Client(AwsTransport(TransportConfig(region=REGION, s3_endpoint=endpoint)))
    url = client.presigned_get("data", key, expires_seconds=90)
    parts = urlsplit(url)
    assert parts.netloc == ("127.0.0.1:9000" if endpoint else "data.s3.eu-central-1.amazonaws.com")
    query = dict(parse_qsl(parts.query))
    assert query["X-Amz-Expires"] == "90"
    assert query["X-Amz-Security-Token"] == CREDENTIALS.token
    ours, botocores = _url_signatures("GET", url)
    assert ours == botocores


def test_a_bucket_with_a_dot_is_addressed_by_path() -> None:
    """Its host name would not fit AWS's certificate."""
    client = S3Client(AwsTransport(TransportConfig(region="cn-north-1")))
    url = client.presigned_get("my.data", "k", expires_seconds=1)
    assert url.startswith("https://s3.cn-north-1.amazonaws.com.cn/my.data/k?")


def test_reading(recorder: Any, answer: Any, ours: Any) -> None:
    """The body as sent, time and size of a HEAD."""
    recorder.script = [
        answer(body=b"\x00\xff", headers={"content-type": "x/y"}),
        answer(body=b"", headers={"last-modified": "Sun, 01 Mar 2026 12:00:07 GMT"}),
    ]
    client = S3Client(ours.transport)
    assert client.get_object("data", "k") == b"\x00\xff"
    head = client.head_object("data", "k")
    assert head is not None
    assert (head.size, head.last_modified) == (0, datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC))


@pytest.mark.parametrize(
    ("expected", "status", "code"),
    [(ResourceNotFoundError, 404, "NoSuchBucket"), (AwsError, 403, "AccessDenied"), (ThrottledError, 503, "SlowDown")],
)
def test_errors_have_their_class(
    expected: type[AwsError], status: int, code: str, *, recorder: Any, answer: Any, ours: Any
) -> None:
    """Code and message come out of the XML; throttles are tried again."""
    xml = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>a &lt; b</Message></Error>'.encode()
    recorder.script = [answer(status=status, body=xml, headers={"content-type": "application/xml"})] * 3
    with pytest.raises(expected) as caught:
        S3Client(ours.transport).get_object("data", "k")
    assert (caught.value.code, caught.value.message, caught.value.status) == (code, "a < b", status)
    assert len(recorder.requests) == (3 if expected is ThrottledError else 1)


def test_absence_is_no_error(recorder: Any, answer: Any, ours: Any) -> None:
    """For GET by its code; for HEAD, which has no body, by its status."""
    xml = b"<Error><Code>NoSuchKey</Code></Error>"
    recorder.script = [answer(status=404, body=xml), answer(status=404, body=b"")]
    client = S3Client(ours.transport)
    assert client.get_object("data", "k") is None
    assert client.head_object("data", "k") is None


def test_a_put_is_repeated_after_a_lost_answer(recorder: Any, answer: Any, ours: Any) -> None:
    """The same bytes twice are the same object."""
    recorder.script = [answer(status=500, body=b""), answer(body=b"")]
    S3Client(ours.transport).put_object("data", "k", b"x", content_type="text/plain")
    assert [request.body for request in recorder.requests] == [b"x", b"x"]
