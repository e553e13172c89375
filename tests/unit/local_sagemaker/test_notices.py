"""The messages sent when work is over."""

import base64

from local.sagemaker.notices import EMBED_LIMIT_BYTES, endpoint_detail, inference_result, transform_detail

ASKED = {"accept": "application/json", "content_type": "text/plain", "input_location": "s3://in/1"}


def test_a_success_has_the_documented_shape() -> None:
    """A completed inference is told with exactly AWS's members, times in UTC with milliseconds."""
    message = inference_result(
        region="us-east-1",
        endpoint="e",
        inference_id="i-1",
        request=ASKED,
        received=1_700_000_000.25,
        finished=1_700_000_001.5,
        output_location="s3://out/1.out",
        content_type="application/json",
    )
    assert message == {
        "awsRegion": "us-east-1",
        "eventTime": "2023-11-14T22:13:21.500Z",
        "receivedTime": "2023-11-14T22:13:20.250Z",
        "invocationStatus": "Completed",
        "requestParameters": {
            "accept": "application/json",
            "contentType": "text/plain",
            "endpointName": "e",
            "inputLocation": "s3://in/1",
        },
        "responseParameters": {"contentType": "application/json", "outputLocation": "s3://out/1.out"},
        "inferenceId": "i-1",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_a_failure_says_why_and_has_no_response_parameters() -> None:
    """A failed inference carries its reason, and leaves out what it does not know."""
    message = inference_result(
        region="r", endpoint="e", inference_id="i", request={}, received=0, finished=1, failure_reason="ClientError: no"
    )
    assert message["invocationStatus"] == "Failed"
    assert message["failureReason"] == "ClientError: no"
    assert "responseParameters" not in message
    assert message["requestParameters"] == {"endpointName": "e"}


def test_an_answer_is_embedded_up_to_its_limit() -> None:
    """An answer of 128 KB travels in the message; one byte more does not."""
    for size, embedded in ((EMBED_LIMIT_BYTES, True), (EMBED_LIMIT_BYTES + 1, False)):
        message = inference_result(
            region="r", endpoint="e", inference_id="i", request={}, received=0, finished=1, embedded=b"x" * size
        )
        assert ("responseBody" in message) is embedded
        if embedded:
            assert base64.b64decode(message["responseBody"]["content"]) == b"x" * size


def test_a_jobs_detail_has_times_in_milliseconds() -> None:
    """The EventBridge detail keeps the job's members, times as epoch milliseconds, and nothing internal."""
    job = {
        "TransformJobName": "j",
        "TransformJobArn": "arn",
        "TransformJobStatus": "Failed",
        "FailureReason": "ClientError: bad",
        "ModelName": "m",
        "CreationTime": 1_700_000_000.5,
        "TransformEndTime": 1_700_000_002.0,
        "done": ["s3://x"],
        "untold": [],
    }
    assert transform_detail(job, {"team": "a"}) == {
        "TransformJobName": "j",
        "TransformJobArn": "arn",
        "TransformJobStatus": "Failed",
        "FailureReason": "ClientError: bad",
        "ModelName": "m",
        "CreationTime": 1_700_000_000_500,
        "TransformEndTime": 1_700_000_002_000,
        "Tags": {"team": "a"},
    }


def test_an_endpoints_status_is_in_capitals() -> None:
    """The event spells InService as IN_SERVICE, and leaves out what belongs to DescribeEndpoint only."""
    described = {
        "EndpointName": "e",
        "EndpointArn": "arn",
        "EndpointConfigName": "c",
        "EndpointStatus": "InService",
        "CreationTime": 1.5,
        "LastModifiedTime": 2.0,
        "ProductionVariants": [{"VariantName": "v", "DesiredInstanceCount": 1}],
        "AsyncInferenceConfig": {},
    }
    detail = endpoint_detail(described, {})
    assert detail["EndpointStatus"] == "IN_SERVICE"
    assert (detail["CreationTime"], detail["LastModifiedTime"]) == (1500, 2000)
    assert "AsyncInferenceConfig" not in detail
    assert endpoint_detail(described | {"EndpointStatus": "Creating"}, {})["EndpointStatus"] == "CREATING"
