"""SageMaker's refusals in the words of the domain, and what goes over the wire."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from tests.fakes.examples import make_catalogue
from tests.fakes.messages import InMemoryObjectStore
from tollgate.adapters.aws.errors import AwsError, NoCapacityError, ThrottledError
from tollgate.adapters.aws.retry import FailureKind
from tollgate.adapters.metering.cost_explorer import TAG
from tollgate.adapters.s3.objects import S3ObjectStore
from tollgate.adapters.sagemaker.asynchronous import INLINE_BODY_BYTES, SageMakerAsync
from tollgate.adapters.sagemaker.runtime_client import AsyncInvokeResult
from tollgate.adapters.sagemaker.transform import SageMakerTransform
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    StorageError,
)
from tollgate.ports.backends import TransformJob

_ROADS = make_catalogue().model("echo").deployments[0].roads


def _client(service: Any) -> Any:
    return boto3.client(service, region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")


@pytest.fixture
def transform() -> SageMakerTransform:
    backend = SageMakerTransform(InMemoryObjectStore(), "tollgate-dev")
    backend.__dict__["_client"] = _client("sagemaker")
    return backend


@pytest.fixture
def stub(transform: SageMakerTransform) -> Iterator[Stubber]:
    with Stubber(transform._client) as stubber:
        yield stubber


def _job(road: Road = _ROADS[InferenceType.BATCH], largest: int = 100) -> TransformJob:
    return TransformJob(
        name="tollgate-1",
        road=road,
        input_prefix="transform-input/tollgate-1/",
        output_prefix="transform-output/tollgate-1/",
        content_type="application/json",
        largest_record=largest,
    )


_SIZES = [
    # concurrency, longest line, MaxPayloadInMB, MaxConcurrentTransforms
    (4, 100, 1, 4),
    (4, 1_048_577, 2, 4),
    (16, 30 * 1_048_576, 30, 3),
    (1, 200 * 1_048_576, 100, 1),
]


@pytest.mark.parametrize("sizes", _SIZES)
def test_a_transform_job_joins_answers_to_ids_within_the_limits(
    transform: SageMakerTransform, stub: Stubber, sizes: tuple[int, int, int, int]
) -> None:
    """One record a call, the record's id beside its answer, and at most 100 MB of records at work together."""
    concurrency, largest, megabytes, at_once = sizes
    seen: dict[str, Any] = {}
    transform._client.meta.events.register(
        "provide-client-params.sagemaker.CreateTransformJob", lambda params, **_: seen.update(params)
    )
    stub.add_response("create_transform_job", {"TransformJobArn": "arn:aws:sagemaker:us-east-1:1:transform-job/x"})
    [deployment] = make_catalogue(concurrency=concurrency).model("echo").deployments
    transform.start(_job(deployment.roads[InferenceType.BATCH], largest))
    assert seen["DataProcessing"] == {
        "InputFilter": "$.body",
        "OutputFilter": "$['id','SageMakerOutput']",
        "JoinSource": "Input",
    }
    assert (seen["BatchStrategy"], seen["TransformInput"]["SplitType"]) == ("SingleRecord", "Line")
    assert (seen["MaxPayloadInMB"], seen["MaxConcurrentTransforms"]) == (megabytes, at_once)
    assert seen["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].endswith("/transform-input/tollgate-1/")
    # Without the tag the stack's bill would lack its transform jobs, and every such day look like drift.
    assert {"Key": TAG, "Value": "tollgate-dev"} in seen["Tags"]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ResourceLimitExceeded", 400, CapacityError),
        ("InternalFailure", 500, CapacityError),
        ("ThrottlingException", 400, BackendThrottledError),
        ("ValidationException", 400, BackendError),
        ("ResourceNotFound", 400, BackendError),
    ],
)
def test_a_refused_start_says_whether_to_come_back(
    transform: SageMakerTransform, stub: Stubber, code: str, status: int, expected: type[BackendError]
) -> None:
    """Limits and throttles pass; a failed validation stays."""
    stub.add_client_error("create_transform_job", code, http_status_code=status)
    with pytest.raises(BackendError) as caught:
        transform.start(_job())
    assert type(caught.value) is expected


def test_a_name_that_exists_means_that_it_was_started(transform: SageMakerTransform, stub: Stubber) -> None:
    """The first call worked and its answer was lost."""
    stub.add_client_error("create_transform_job", "ResourceInUse", http_status_code=400)
    transform.start(_job())
    stub.assert_no_pending_responses()


def test_a_sagemaker_that_cannot_be_reached_is_tried_later(
    transform: SageMakerTransform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the job's fault."""

    def unreachable(**_named: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://example.com")

    monkeypatch.setattr(transform._client, "describe_transform_job", unreachable)
    with pytest.raises(CapacityError):
        transform.describe("tollgate-1")


@pytest.mark.parametrize("code", ["ResourceNotFound", "ValidationException"])
def test_a_job_that_does_not_exist_is_none(transform: SageMakerTransform, stub: Stubber, code: str) -> None:
    """And stopping it is no error."""
    stub.add_client_error("describe_transform_job", code, http_status_code=400)
    assert transform.describe("tollgate-1") is None
    stub.add_client_error("stop_transform_job", code, http_status_code=400)
    transform.stop("tollgate-1")
    stub.add_client_error("describe_transform_job", "AccessDeniedException", http_status_code=400)
    with pytest.raises(BackendError):
        transform.describe("tollgate-1")


class _Runtime:
    """InvokeEndpointAsync, recorded or failing."""

    def __init__(self, error: AwsError | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self._error = error

    def invoke_endpoint_async(self, endpoint_name: str, **named: Any) -> AsyncInvokeResult:
        self.calls.append({"endpoint": endpoint_name, **named})
        if self._error is not None:
            raise self._error
        return AsyncInvokeResult("inf_1", "s3://b/out", "")


def _submit(runtime: _Runtime, objects: InMemoryObjectStore, body: bytes) -> Any:
    backend = SageMakerAsync(runtime, objects)  # type: ignore[arg-type]  # stands in for the client
    return backend.submit(
        _ROADS[InferenceType.ASYNC],
        body,
        "application/json",
        inference_id="inf_1",
        request_ttl_seconds=60,
        timeout_seconds=10,
        trace="00-a-b-01",
    )


@pytest.mark.parametrize(("size", "inline"), [(INLINE_BODY_BYTES, True), (INLINE_BODY_BYTES + 1, False)])
def test_bodies_travel_in_the_call_up_to_sagemakers_limit(size: int, *, inline: bool) -> None:
    """Larger ones through the bucket, never both."""
    runtime, objects = _Runtime(), InMemoryObjectStore()
    submission = _submit(runtime, objects, b"x" * size)
    [call] = runtime.calls
    assert (call["body"] is not None) == inline
    assert (call["input_location"] is None) == inline
    assert list(objects.objects) == ([] if inline else ["async-input/inf_1.body"])
    assert call["custom_attributes"] == "traceparent=00-a-b-01"
    assert (submission.output_location, submission.failure_location) == ("s3://b/out", None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NoCapacityError("x", "y", 400), CapacityError),
        (ThrottledError("x", "y", 400, kind=FailureKind.THROTTLED), BackendThrottledError),
        (AwsError("InternalFailure", "y", 500, kind=FailureKind.TRANSIENT), BackendTimeoutError),
        (AwsError("ValidationError", "y", 400), BackendError),
    ],
)
def test_a_refused_submission_says_what_is_known(error: AwsError, expected: type[BackendError]) -> None:
    """Not taken, perhaps taken, or never to be taken."""
    with pytest.raises(BackendError) as caught:
        _submit(_Runtime(error), InMemoryObjectStore(), b"x")
    assert type(caught.value) is expected


@pytest.fixture
def bucket() -> S3ObjectStore:
    store = S3ObjectStore("tollgate-test")
    store.__dict__["_client"] = _client("s3")
    return store


@pytest.mark.parametrize("there", [False, True])
def test_a_403_is_looked_into_by_listing(bucket: S3ObjectStore, *, there: bool) -> None:
    """S3 says 403 for a missing object to whoever may not list the whole bucket."""
    with Stubber(bucket._client) as stub:
        stub.add_client_error("head_object", "403", http_status_code=403)
        stub.add_response("list_objects_v2", {"Contents": [{"Key": "a" if there else "ab"}]})
        if there:
            with pytest.raises(StorageError):
                bucket.stored_at("a")
        else:
            assert bucket.stored_at("a") is None
