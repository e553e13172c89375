"""The same call by botocore and by our transport puts the same request on the wire."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.contract.aws import token_backend_cases
from tests.fakes.clock import ManualClock
from tests.fakes.telemetry import RecordingTelemetry
from tollgate.adapters.aws.transport import AwsTransport
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.transaction import TransactPut, TransactUpdate
from tollgate.adapters.messaging.lambda_events import LambdaEvents
from tollgate.adapters.messaging.sqs_client import QueueMessage, SqsClient
from tollgate.adapters.sagemaker.runtime_client import SageMakerRuntimeClient
from tollgate.adapters.texts.lambda_sentences import LambdaSentences
from tollgate.services.cache.breaker import CacheBreaker

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs"
# What botocore adds for its own book-keeping; the services do not need it.
BOOK_KEEPING = {"amz-sdk-invocation-id", "amz-sdk-request"}
# Frame and identity of the client, never signed by either.
UNSIGNED = {"user-agent", "content-length", "connection", "accept-encoding", "x-amzn-trace-id"}

type OursCall = Callable[[AwsTransport], Any]
type BotoCall = Callable[[Any], Any]

CASES: dict[str, tuple[str, OursCall, BotoCall]] = {
    "get_item": (
        "dynamodb",
        lambda t: DynamoDBClient(t).get_item(
            "jobs", {"pk": "ä€😀", "sk": 7}, consistent=True, projection="#s", names={"#s": "state"}
        ),
        lambda b: b.get_item(
            TableName="jobs",
            Key={"pk": {"S": "ä€😀"}, "sk": {"N": "7"}},
            ConsistentRead=True,
            ProjectionExpression="#s",
            ExpressionAttributeNames={"#s": "state"},
        ),
    ),
    "put_item": (
        "dynamodb",
        lambda t: DynamoDBClient(t).put_item(
            "jobs",
            {
                "pk": "a",
                "cost": Decimal("0.0001"),
                "blob": b"\x00\xff",
                "tags": {"x"},
                "m": {"l": [None, True]},
            },
            condition="attribute_not_exists(pk)",
            return_item_on_failure=True,
        ),
        lambda b: b.put_item(
            TableName="jobs",
            Item={
                "pk": {"S": "a"},
                "cost": {"N": "0.0001"},
                "blob": {"B": b"\x00\xff"},
                "tags": {"SS": ["x"]},
                "m": {"M": {"l": {"L": [{"NULL": True}, {"BOOL": True}]}}},
            },
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        ),
    ),
    "update_item": (
        "dynamodb",
        lambda t: DynamoDBClient(t).update_item(
            "ledger",
            {"pk": "team"},
            update="ADD committed :amount",
            condition="#c <= :room",
            names={"#c": "committed"},
            values={":amount": Decimal("1.25"), ":room": 99},
            return_changed=True,
        ),
        lambda b: b.update_item(
            TableName="ledger",
            Key={"pk": {"S": "team"}},
            UpdateExpression="ADD committed :amount",
            ConditionExpression="#c <= :room",
            ExpressionAttributeNames={"#c": "committed"},
            ExpressionAttributeValues={":amount": {"N": "1.25"}, ":room": {"N": "99"}},
            ReturnValues="UPDATED_NEW",
        ),
    ),
    "delete_item": (
        "dynamodb",
        lambda t: DynamoDBClient(t).delete_item("jobs", {"pk": "a"}, condition="owner = :o", values={":o": "me"}),
        lambda b: b.delete_item(
            TableName="jobs",
            Key={"pk": {"S": "a"}},
            ConditionExpression="owner = :o",
            ExpressionAttributeValues={":o": {"S": "me"}},
        ),
    ),
    "query": (
        "dynamodb",
        lambda t: DynamoDBClient(t).query(
            "jobs",
            key_condition="#o = :o",
            names={"#o": "owner"},
            values={":o": "me"},
            index="by_owner",
            projection="pk",
            limit=5,
            forward=False,
            start_key={"pk": "z"},
            consistent=True,
            count_only=True,
        ),
        lambda b: b.query(
            TableName="jobs",
            KeyConditionExpression="#o = :o",
            ExpressionAttributeNames={"#o": "owner"},
            ExpressionAttributeValues={":o": {"S": "me"}},
            IndexName="by_owner",
            ProjectionExpression="pk",
            Limit=5,
            ScanIndexForward=False,
            ExclusiveStartKey={"pk": {"S": "z"}},
            ConsistentRead=True,
            Select="COUNT",
        ),
    ),
    "batch_get_item": (
        "dynamodb",
        lambda t: DynamoDBClient(t).batch_get_item({"jobs": [{"pk": "a"}, {"pk": "b"}]}, consistent=True),
        lambda b: b.batch_get_item(
            RequestItems={"jobs": {"Keys": [{"pk": {"S": "a"}}, {"pk": {"S": "b"}}], "ConsistentRead": True}}
        ),
    ),
    "transact_write_items": (
        "dynamodb",
        lambda t: DynamoDBClient(t).transact_write_items(
            [
                TransactPut("jobs", {"pk": "a"}, condition="attribute_not_exists(pk)"),
                TransactUpdate("ledger", {"pk": "b"}, "SET n = :n", names={}, values={":n": 1}),
                TransactUpdate("jobs", {"pk": "d"}, "SET n = :m", "n = :n", values={":m": 3, ":n": 2}),
            ],
            client_request_token="token-1",
        ),
        lambda b: b.transact_write_items(
            TransactItems=[
                {
                    "Put": {
                        "TableName": "jobs",
                        "Item": {"pk": {"S": "a"}},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
                {
                    "Update": {
                        "TableName": "ledger",
                        "Key": {"pk": {"S": "b"}},
                        "UpdateExpression": "SET n = :n",
                        "ExpressionAttributeValues": {":n": {"N": "1"}},
                    }
                },
                {
                    "Update": {
                        "TableName": "jobs",
                        "Key": {"pk": {"S": "d"}},
                        "UpdateExpression": "SET n = :m",
                        "ConditionExpression": "n = :n",
                        "ExpressionAttributeValues": {":m": {"N": "3"}, ":n": {"N": "2"}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
            ],
            ClientRequestToken="token-1",
        ),
    ),
    "send_message": (
        "sqs",
        lambda t: SqsClient(t).send_message(
            QUEUE, QueueMessage("héllo", {"trace": "00-1", "size": 3, "raw": b"\x01"}, 5, "tenant-1")
        ),
        lambda b: b.send_message(
            QueueUrl=QUEUE,
            MessageBody="héllo",
            MessageAttributes={
                "trace": {"DataType": "String", "StringValue": "00-1"},
                "size": {"DataType": "Number", "StringValue": "3"},
                "raw": {"DataType": "Binary", "BinaryValue": b"\x01"},
            },
            DelaySeconds=5,
            MessageGroupId="tenant-1",
        ),
    ),
    "change_message_visibility": (
        "sqs",
        lambda t: SqsClient(t).change_message_visibility(QUEUE, "receipt+/=", 90),
        lambda b: b.change_message_visibility(QueueUrl=QUEUE, ReceiptHandle="receipt+/=", VisibilityTimeout=90),
    ),
    "invoke_endpoint": (
        "sagemaker-runtime",
        lambda t: SageMakerRuntimeClient(t).invoke_endpoint(
            "chat",
            b'{"inputs": "hi"}',
            target_model="a.tar.gz",
            target_variant="champion",
            inference_component="ic-1",
            custom_attributes="trace=1",
        ),
        lambda b: b.invoke_endpoint(
            EndpointName="chat",
            Body=b'{"inputs": "hi"}',
            ContentType="application/json",
            TargetModel="a.tar.gz",
            TargetVariant="champion",
            InferenceComponentName="ic-1",
            CustomAttributes="trace=1",
        ),
    ),
    "invoke_endpoint_odd_name": (
        "sagemaker-runtime",
        lambda t: SageMakerRuntimeClient(t).invoke_endpoint("mödel /ü~(1)%41+x", b"\x00\xff" * 9),
        lambda b: b.invoke_endpoint(
            EndpointName="mödel /ü~(1)%41+x", Body=b"\x00\xff" * 9, ContentType="application/json"
        ),
    ),
    "invoke_endpoint_async_body": (
        "sagemaker-runtime",
        lambda t: SageMakerRuntimeClient(t).invoke_endpoint_async(
            "chat", body=b"{}", inference_id="i", request_ttl_s=600, invocation_timeout_s=60
        ),
        lambda b: b.invoke_endpoint_async(
            EndpointName="chat",
            Body=b"{}",
            ContentType="application/json",
            InferenceId="i",
            RequestTTLSeconds=600,
            InvocationTimeoutSeconds=60,
        ),
    ),
    "invoke_endpoint_async_s3": (
        "sagemaker-runtime",
        lambda t: SageMakerRuntimeClient(t).invoke_endpoint_async(
            "chat", input_location="s3://b/k", custom_attributes="c"
        ),
        lambda b: b.invoke_endpoint_async(
            EndpointName="chat",
            InputLocation="s3://b/k",
            ContentType="application/json",
            CustomAttributes="c",
        ),
    ),
    "function_call": (
        "lambda",
        lambda t: LambdaSentences(
            t, "tollgate-sentences", timeout_s=1, breaker=CacheBreaker(ManualClock()), telemetry=RecordingTelemetry()
        )("ä€😀"),
        lambda b: b.invoke(
            FunctionName="tollgate-sentences",
            InvocationType="RequestResponse",
            Payload=json.dumps({"text": "ä€😀"}, ensure_ascii=False).encode(),
        ),
    ),
    "function_event": (
        "lambda",
        lambda t: LambdaEvents(t, "tollgate-capacity").send({"kind": "wake", "place": "ä€😀"}),
        lambda b: b.invoke(
            FunctionName="tollgate-capacity",
            InvocationType="Event",
            Payload=json.dumps({"kind": "wake", "place": "ä€😀"}, ensure_ascii=False).encode(),
        ),
    ),
    **token_backend_cases.CASES,
}
ANSWERS = {
    "send_message": b'{"MessageId":"m","MD5OfMessageBody":""}',
    "change_message_visibility": b"",
    "batch_get_item": b'{"Responses":{},"UnprocessedKeys":{}}',
    **token_backend_cases.ANSWERS,
}
SIGNING_NAMES = {"dynamodb": "dynamodb", "sqs": "sqs", "sagemaker-runtime": "sagemaker", "lambda": "lambda"}
SIGNING_NAMES |= token_backend_cases.SIGNING_NAMES


def body_of(request: Any) -> Any:
    """The body as JSON where it is JSON, with sets put in order."""
    try:
        return json.loads(request.body)
    except ValueError:
        return request.body


def signed_names(request: Any) -> set[str]:
    """The header names in the authorization header."""
    return set(request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))


@pytest.fixture(params=sorted(CASES))
def pair(request: pytest.FixtureRequest, recorder: Any, answer: Any, ours: Any, make_boto: Any) -> Any:
    """The recorded request of botocore, of ours, and the signing name."""
    service, call_ours, call_boto = CASES[request.param]
    recorder.script = [answer(body=ANSWERS.get(request.param, b"{}"))] * 2
    call_boto(make_boto(service))
    call_ours(ours.transport)
    theirs, own = recorder.requests
    return theirs, own, SIGNING_NAMES[service]


def test_same_method_path_and_body(pair: Any) -> None:
    """Method, path with its escapes, and the body as JSON are botocore's."""
    theirs, own, _ = pair
    assert (own.method, own.target) == (theirs.method, theirs.target)
    assert body_of(own) == body_of(theirs)


def test_same_headers(pair: Any) -> None:
    """Every header that carries meaning is there with the same value."""
    theirs, own, _ = pair
    varying = {"authorization", "x-amz-date"} | UNSIGNED | BOOK_KEEPING
    expected = {name: value for name, value in theirs.headers.items() if name not in varying}
    assert {name: value for name, value in own.headers.items() if name not in varying} == expected
    assert own.headers["content-length"] == str(len(own.body))


def test_same_headers_are_signed(pair: Any) -> None:
    """The signature covers what botocore's covers."""
    theirs, own, _ = pair
    assert signed_names(own) == signed_names(theirs) - BOOK_KEEPING
    assert {"host", "x-amz-date", "x-amz-security-token"} <= signed_names(own)


def test_signature_is_valid(pair: Any) -> None:
    """The signer of botocore computes the same signature for the request as it arrived."""
    _, own, signing_name = pair
    assert own.headers["authorization"] == expected_authorization(own, signing_name)


def expected_authorization(recorded: Any, signing_name: str) -> str:
    """The authorization header botocore would have made for this request at this time."""
    names = signed_names(recorded)
    request = AWSRequest(
        method=recorded.method,
        url=f"http://{recorded.headers['host']}{recorded.target}",
        headers={name: recorded.headers[name] for name in names},
        data=recorded.body,
    )
    request.context["timestamp"] = recorded.headers["x-amz-date"]
    signer = SigV4Auth(
        Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs"),
        signing_name,
        "eu-central-1",
    )
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={';'.join(sorted(names))}, Signature={signature}"
    )


@pytest.mark.parametrize("base", ["/base", "/base/"])
def test_base_path_of_an_endpoint_is_kept(base: str, recorder: Any, make_transport: Any) -> None:
    """An endpoint URL with a path puts its path before the operation's, and signs it."""
    ours = make_transport(sagemaker_runtime_endpoint=recorder.url + base)
    SageMakerRuntimeClient(ours.transport).invoke_endpoint("e", b"x")
    (request,) = recorder.requests
    assert urlsplit(request.target).path == "/base/endpoints/e/invocations"
    assert request.headers["authorization"] == expected_authorization(request, "sagemaker")
