"""What SageMaker tells: asynchronous results through SNS, transform jobs through EventBridge.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html

The rules are given to pydantic's core directly, as in `tollgate.api.inference_rules`: building models of pydantic takes
longer than all else that a function needs to end a job.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as rules

from tollgate.api.fields import optional
from tollgate.ports.backends import TransformStatus
from tollgate.services.jobs.async_notice import AsyncNotice

_TEXT, _MOMENT = rules.str_schema(), rules.datetime_schema(tz_constraint="aware")
_NAMED = SchemaValidator(rules.typed_dict_schema({"eventName": optional(_TEXT)}))
_TEST = "TestNotification"
"""What an endpoint that is created, updated or scaled sends to see whether it may publish.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint-create-endpoint.html
"""
_ASYNC_RESULT = SchemaValidator(
    # A failure may lack `responseParameters` and `failureReason`.
    rules.typed_dict_schema(
        {
            "inferenceId": rules.typed_dict_field(_TEXT),
            "invocationStatus": rules.typed_dict_field(rules.literal_schema(["Completed", "Failed"])),
            "eventTime": rules.typed_dict_field(_MOMENT),
            "receivedTime": optional(_MOMENT),
            "failureReason": optional(_TEXT),
            "responseParameters": optional(rules.typed_dict_schema({"outputLocation": optional(_TEXT)})),
        }
    )
)
_STATE_CHANGE = SchemaValidator(
    rules.typed_dict_schema(
        {
            "detail": rules.typed_dict_field(
                rules.typed_dict_schema(
                    {
                        "TransformJobName": rules.typed_dict_field(_TEXT),
                        "TransformJobStatus": rules.typed_dict_field(_TEXT),
                        "FailureReason": optional(_TEXT),
                        "TransformStartTime": optional(rules.float_schema()),
                        "TransformEndTime": optional(rules.float_schema()),
                    }
                )
            )
        }
    )
)


def async_notices(event: Mapping[str, Any]) -> Iterator[AsyncNotice]:
    """The notices of an SNS event; SageMaker's test notifications are about no job.

    Raises:
        ValidationError: a message is not what SageMaker sends.
    """
    for record in event["Records"]:
        text = record["Sns"]["Message"]
        if _NAMED.validate_json(text).get("eventName") == _TEST:
            continue
        message = _ASYNC_RESULT.validate_json(text)
        response = message.get("responseParameters") or {}
        finished_at: datetime = message["eventTime"]
        received_at: datetime = message.get("receivedTime") or finished_at
        yield AsyncNotice(
            inference_id=message["inferenceId"],
            completed=message["invocationStatus"] == "Completed",
            received_at=received_at.astimezone(UTC),
            finished_at=finished_at.astimezone(UTC),
            output_location=response.get("outputLocation"),
            failure_reason=message.get("failureReason"),
        )


def transform_status(event: Mapping[str, Any]) -> TransformStatus:
    """The state of the transform job that an EventBridge event is about. Times in it are epoch milliseconds.

    Raises:
        ValidationError: the event is not what SageMaker sends.
    """
    detail = _STATE_CHANGE.validate_python(event)["detail"]
    return TransformStatus(
        name=detail["TransformJobName"],
        status=detail["TransformJobStatus"],
        failure_reason=detail.get("FailureReason"),
        started_at=_moment(detail.get("TransformStartTime")),
        ended_at=_moment(detail.get("TransformEndTime")),
    )


def _moment(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
