"""The messages SageMaker sends when work is over: SNS for async inference, EventBridge for transform jobs."""

import base64
from datetime import UTC, datetime

from local.sagemaker.wire import Json

EMBED_LIMIT_BYTES = 128 * 1024  # IncludeInferenceResponseIn: larger answers are left out


def iso_time(epoch: float) -> str:
    """Return the time as SageMaker writes it: UTC, milliseconds, a final Z."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def inference_result(
    *,
    region: str,
    endpoint: str,
    inference_id: str,
    request: Json,
    received: float,
    finished: float,
    output_location: str | None = None,
    content_type: str | None = None,
    failure_reason: str | None = None,
    embedded: bytes | None = None,
) -> Json:
    """Build the SNS message of an async inference; a failure reason makes it a failed one.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html

    Args:
        region: AWS region name.
        endpoint: the endpoint's name.
        inference_id: as accepted.
        request: `accept`, `content_type` and `input_location`, each possibly None; absent ones are left out.
        received: epoch seconds of acceptance.
        finished: epoch seconds of the end.
        output_location: where the answer is, when there is one.
        content_type: of the answer.
        failure_reason: why there is none.
        embedded: the answer to carry along, when the endpoint asks for it and it is small enough.
    """
    asked = {
        "accept": request.get("accept"),
        "contentType": request.get("content_type"),
        "endpointName": endpoint,
        "inputLocation": request.get("input_location"),
    }
    message: Json = {
        "awsRegion": region,
        "eventTime": iso_time(finished),
        "receivedTime": iso_time(received),
        "invocationStatus": "Failed" if failure_reason else "Completed",
        "requestParameters": {key: value for key, value in asked.items() if value is not None},
    }
    if failure_reason:
        message["failureReason"] = failure_reason
    if output_location:
        message["responseParameters"] = {"contentType": content_type, "outputLocation": output_location}
    if embedded is not None and len(embedded) <= EMBED_LIMIT_BYTES:
        message["responseBody"] = {"content": base64.b64encode(embedded).decode(), "encoding": "BASE64"}
    return message | {
        "inferenceId": inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


_EVENT_STATUS = {"InService": "IN_SERVICE"}


def endpoint_detail(described: Json, tags: dict[str, str]) -> Json:
    """Build the `detail` of "SageMaker Endpoint State Change"; its status is in capitals, unlike the API's.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html

    Args:
        described: DescribeEndpoint's answer.
        tags: the endpoint's.
    """
    members = ("EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants", "FailureReason")
    detail = {name: described[name] for name in members if name in described}
    status: str = described["EndpointStatus"]
    return detail | {
        "EndpointStatus": _EVENT_STATUS.get(status, status.upper()),
        "CreationTime": int(described["CreationTime"] * 1000),
        "LastModifiedTime": int(described["LastModifiedTime"] * 1000),
        "Tags": tags,
    }


_DETAIL_MEMBERS = (
    "TransformJobName",
    "TransformJobArn",
    "TransformJobStatus",
    "FailureReason",
    "ModelName",
    "MaxConcurrentTransforms",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
    "DataProcessing",
)
_DETAIL_TIMES = ("CreationTime", "TransformStartTime", "TransformEndTime")


def transform_detail(job: Json, tags: dict[str, str]) -> Json:
    """Build the `detail` of "SageMaker Transform Job State Change"; times are epoch milliseconds.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
    """
    detail = {name: job[name] for name in _DETAIL_MEMBERS if name in job}
    times = {name: int(job[name] * 1000) for name in _DETAIL_TIMES if name in job}
    return detail | times | {"Tags": tags}
