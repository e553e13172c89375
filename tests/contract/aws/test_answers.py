"""Both clients read the same answer the same way: results, error codes, messages, request ids."""

import json
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tollgate.adapters.aws.errors import (
    AwsConnectionError,
    AwsError,
    ConditionalCheckFailedError,
    InvalidRequestError,
    ModelError,
    NoCapacityError,
    ResourceNotFoundError,
    ThrottledError,
    TransactionCancelledError,
)
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.transaction import TransactPut
from tollgate.adapters.messaging.sqs_client import QueueMessage, SqsClient
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient

DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs"

# service, status, headers, body, expected class
ERRORS: dict[str, tuple[str, int, dict[str, str], Any, type[AwsError]]] = {
    "prefixed_type": (
        "dynamodb",
        400,
        {},
        {"__type": DYNAMODB + "ResourceNotFoundException", "message": "no table"},
        ResourceNotFoundError,
    ),
    "bare_type_capital_message": (
        "dynamodb",
        400,
        {},
        {"__type": "ValidationException", "Message": "bad"},
        InvalidRequestError,
    ),
    "coral_validation": (
        "dynamodb",
        400,
        {},
        {"__type": "com.amazon.coral.validate#ValidationException", "message": "bad"},
        InvalidRequestError,
    ),
    "access_denied": (
        "dynamodb",
        400,
        {},
        {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "not you"},
        AwsError,
    ),
    "throttled": (
        "dynamodb",
        400,
        {},
        {"__type": DYNAMODB + "ProvisionedThroughputExceededException", "message": "slow down"},
        ThrottledError,
    ),
    "request_limit": ("dynamodb", 400, {}, {"__type": DYNAMODB + "RequestLimitExceeded"}, ThrottledError),
    "throttling": ("dynamodb", 400, {}, {"__type": "ThrottlingException"}, ThrottledError),
    "conflict": (
        "dynamodb",
        400,
        {},
        {"__type": DYNAMODB + "TransactionConflictException", "message": "busy"},
        AwsError,
    ),
    "server_error": ("dynamodb", 500, {}, {"__type": DYNAMODB + "InternalServerError"}, AwsError),
    "not_json": ("dynamodb", 502, {}, b"<html>bad gateway</html>", AwsError),
    "no_body": ("dynamodb", 503, {}, b"", AwsError),
    "too_many_requests_without_code": ("dynamodb", 429, {}, b"", ThrottledError),
    "condition": (
        "dynamodb",
        400,
        {},
        {"__type": DYNAMODB + "ConditionalCheckFailedException", "message": "The conditional request failed"},
        ConditionalCheckFailedError,
    ),
    "query_error": (
        "sqs",
        400,
        {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
        {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no queue"},
        ResourceNotFoundError,
    ),
    "query_error_of_another_form": (
        "sqs",
        400,
        {"x-amzn-query-error": "strange"},
        {"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "bad characters"},
        InvalidRequestError,
    ),
    "sqs_throttled": (
        "sqs",
        403,
        {"x-amzn-query-error": "RequestThrottled;Sender"},
        {"__type": "com.amazonaws.sqs#RequestThrottled"},
        ThrottledError,
    ),
    "error_type_header": (
        "sagemaker-runtime",
        400,
        {"x-amzn-errortype": "ValidationError:http://internal.amazon.com/coral/"},
        {"message": "Endpoint e of account 1 not found."},
        InvalidRequestError,
    ),
    "error_type_header_with_namespace": (
        "sagemaker-runtime",
        503,
        {"x-amzn-errortype": "com.amazonaws.sagemaker#ServiceUnavailable"},
        {"Message": "try later"},
        AwsError,
    ),
    "code_in_body": (
        "sagemaker-runtime",
        400,
        {},
        {"code": "ValidationError", "message": "m"},
        InvalidRequestError,
    ),
    "code_in_body_over_type": (
        "sagemaker-runtime",
        400,
        {},
        {"Code": "ThrottlingException", "__type": "Other"},
        ThrottledError,
    ),
    "no_capacity": (
        "sagemaker-runtime",
        400,
        {"x-amzn-errortype": "ValidationError"},
        {
            "Message": "Inference Component has no capacity to process this request. ApplicationAutoScaling"
            " may be in-progress (if configured) or try to increase the capacity by invoking"
            " UpdateInferenceComponentRuntimeConfig API."
        },
        NoCapacityError,
    ),
    "model_not_ready": (
        "sagemaker-runtime",
        429,
        {"x-amzn-errortype": "ModelNotReadyException"},
        {"Message": "loading"},
        NoCapacityError,
    ),
    "model_error": (
        "sagemaker-runtime",
        424,
        {"x-amzn-errortype": "ModelError"},
        {"Message": "Received server error (500)", "OriginalStatusCode": 500, "OriginalMessage": "boom"},
        ModelError,
    ),
    "dependency": (
        "sagemaker-runtime",
        530,
        {"x-amzn-errortype": "InternalDependencyException"},
        {"Message": "m"},
        AwsError,
    ),
}


def call_ours(service: str, transport: Any) -> Any:
    """One call of the service by our client."""
    if service == "dynamodb":
        return DynamoDBClient(transport).get_item("t", {"pk": "a"})
    if service == "sqs":
        return SqsClient(transport).send_message(QUEUE, QueueMessage("m"))
    return SageMakerRuntimeClient(transport).invoke_endpoint("e", b"{}")


def call_boto(service: str, client: Any) -> Any:
    """The same by botocore."""
    if service == "dynamodb":
        return client.get_item(TableName="t", Key={"pk": {"S": "a"}})
    if service == "sqs":
        return client.send_message(QueueUrl=QUEUE, MessageBody="m")
    return client.invoke_endpoint(EndpointName="e", Body=b"{}", ContentType="application/json")


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors_are_read_as_botocore_reads_them(
    name: str, recorder: Any, answer: Any, make_transport: Any, make_boto: Any
) -> None:
    """Code, message, status and request id agree, and the code becomes the right class."""
    service, status, headers, body, expected = ERRORS[name]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    recorder.script = [answer(status=status, headers=headers, body=raw)] * 2
    client = make_boto(service, retries={"mode": "standard", "total_max_attempts": 1})
    with pytest.raises(ClientError) as theirs:
        call_boto(service, client)
    with pytest.raises(AwsError) as own:
        call_ours(service, make_transport(max_attempts=1).transport)
    assert type(own.value) is expected
    assert own.value.code == theirs.value.response["Error"]["Code"]
    assert own.value.status == theirs.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert own.value.request_id == "REQ-1"
    if not isinstance(body, bytes):  # of foreign bodies botocore keeps neither text nor request id
        assert own.value.message == theirs.value.response["Error"]["Message"]
        assert own.value.request_id == theirs.value.response["ResponseMetadata"]["RequestId"]


def test_foreign_error_page_is_shown_in_part(recorder: Any, answer: Any, make_transport: Any) -> None:
    """A body that is not AWS's is quoted, but only its beginning."""
    recorder.script = [answer(status=502, body=b"<html>" + b"x" * 9000)]
    with pytest.raises(AwsError) as failed:
        call_ours("dynamodb", make_transport(max_attempts=1).transport)
    assert failed.value.message.startswith("<html>xxx")
    assert len(failed.value.message) == 500


@pytest.mark.parametrize("service", ["dynamodb", "sqs"])
@pytest.mark.parametrize("body", [b"", b"<html>login</html>", b"[]"])
def test_good_status_with_a_foreign_body(service: str, body: bytes, recorder: Any, answer: Any, ours: Any) -> None:
    """A 200 that is not AWS's, from a proxy for instance, is an error with an unknown outcome."""
    recorder.script = [answer(body=body)]
    with pytest.raises(AwsError) as failed:
        call_ours(service, ours.transport)
    assert failed.value.code == "UnreadableAnswer"
    assert failed.value.outcome_unknown


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "ü", "\x00"])
def test_headers_cannot_be_injected(value: str, recorder: Any, ours: Any) -> None:
    """A header value with a line break or beyond ASCII is refused before anything is sent."""
    with pytest.raises(ValueError, match="printable ASCII"):
        SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"{}", custom_attributes=value)
    assert recorder.requests == []


def test_item_of_a_failed_condition(recorder: Any, answer: Any, ours: Any) -> None:
    """The item that stood in the way comes back as plain values; a refusal is no reason to try again."""
    body = {
        "__type": DYNAMODB + "ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"pk": {"S": "a"}, "committed": {"N": "0.10"}},
    }
    recorder.script = [answer(status=400, body=json.dumps(body).encode())]
    with pytest.raises(ConditionalCheckFailedError) as failed:
        DynamoDBClient(ours.transport).put_item("t", {"pk": "a"}, condition="attribute_not_exists(pk)")
    assert failed.value.item == {"pk": "a", "committed": Decimal("0.10")}
    assert not failed.value.outcome_unknown
    assert len(recorder.requests) == 1


def test_reasons_of_a_cancelled_transaction(recorder: Any, answer: Any, ours: Any) -> None:
    """There is one reason for each action, in order, with the item where there is one."""
    body = {
        "__type": DYNAMODB + "TransactionCanceledException",
        "Message": "cancelled",
        "CancellationReasons": [
            {"Code": "None"},
            {"Code": "ConditionalCheckFailed", "Message": "no", "Item": {"n": {"N": "1"}}},
        ],
    }
    recorder.script = [answer(status=400, body=json.dumps(body).encode())]
    with pytest.raises(TransactionCancelledError) as failed:
        DynamoDBClient(ours.transport).transact_write_items(
            [TransactPut("t", {"pk": "a"}), TransactPut("t", {"pk": "b"})]
        )
    assert [(reason.code, reason.item) for reason in failed.value.reasons] == [
        ("None", None),
        ("ConditionalCheckFailed", {"n": Decimal(1)}),
    ]


def test_what_the_container_said(recorder: Any, answer: Any, ours: Any) -> None:
    """A model error carries the container's own status, message and log."""
    body = {
        "Message": "m",
        "OriginalStatusCode": 507,
        "OriginalMessage": "out of memory",
        "LogStreamArn": "arn",
    }
    recorder.script = [answer(status=424, headers={"x-amzn-errortype": "ModelError"}, body=json.dumps(body).encode())]
    with pytest.raises(ModelError) as failed:
        SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"{}")
    error = failed.value
    assert (error.original_status_code, error.original_message, error.log_stream_arn) == (
        507,
        "out of memory",
        "arn",
    )


def test_inference_answer(recorder: Any, answer: Any, ours: Any, make_boto: Any) -> None:
    """Body, content type and variant are what botocore finds, for a body that is no text."""
    headers = {"content-type": "application/x-npy", "x-Amzn-Invoked-Production-Variant": "champion"}
    recorder.script = [answer(body=b"\x00\x93NUMPY", headers=headers)] * 2
    result = SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"{}")
    theirs = call_boto("sagemaker-runtime", make_boto("sagemaker-runtime"))
    assert result.body == theirs["Body"].read()
    assert result.content_type == theirs["ContentType"]
    assert result.invoked_production_variant == theirs["InvokedProductionVariant"] == "champion"
    assert 0 < result.latency_s < 5


def test_accepted_async_inference(recorder: Any, answer: Any, ours: Any, make_boto: Any) -> None:
    """The id and both locations are what botocore finds."""
    headers = {
        "X-Amzn-SageMaker-OutputLocation": "s3://b/out",
        "X-Amzn-SageMaker-FailureLocation": "s3://b/failed",
    }
    recorder.script = [answer(status=202, body=b'{"InferenceId":"id-1"}', headers=headers)] * 2
    result = SageMakerRuntimeClient(ours.transport).invoke_endpoint_async("e", body=b"{}")
    theirs = make_boto("sagemaker-runtime").invoke_endpoint_async(EndpointName="e", Body=b"{}")
    assert (result.inference_id, result.output_location, result.failure_location) == (
        theirs["InferenceId"],
        theirs["OutputLocation"],
        theirs["FailureLocation"],
    )


def test_damaged_body_is_fetched_again(recorder: Any, answer: Any, ours: Any) -> None:
    """A body that does not match DynamoDB's checksum is not believed; the read is repeated."""
    good = b'{"Item":{"pk":{"S":"a"}}}'
    recorder.script = [
        answer(body=b'{"Item":{"pk":{"S":"b"}}}', headers={"x-amz-crc32": "2017220270"}),
        answer(body=good),
    ]
    assert DynamoDBClient(ours.transport).get_item("t", {"pk": "a"}) == {"pk": "a"}
    assert len(recorder.requests) == 2


def test_body_damaged_every_time(recorder: Any, answer: Any, ours: Any) -> None:
    """A body that never matches its checksum is an error, not a wrong item."""
    recorder.script = [answer(headers={"x-amz-crc32": "1"})] * 3
    with pytest.raises(AwsConnectionError) as failed:
        DynamoDBClient(ours.transport).get_item("t", {"pk": "a"})
    assert failed.value.code == "ChecksumMismatch"
    assert len(recorder.requests) == 3
