"""What SageMaker tells: asynchronous results through SNS, transform jobs through EventBridge.

https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tollgate.ports.backends import TransformStatus
from tollgate.services.async_notice import AsyncNotice


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _ResponseParameters(_Message):
    output_location: str | None = Field(default=None, alias="outputLocation")


class _AsyncResult(_Message):
    """SageMaker's message; a failure may lack `responseParameters` and `failureReason`."""

    inference_id: str = Field(alias="inferenceId")
    invocation_status: Literal["Completed", "Failed"] = Field(alias="invocationStatus")
    event_time: AwareDatetime = Field(alias="eventTime")
    received_time: AwareDatetime | None = Field(default=None, alias="receivedTime")
    failure_reason: str | None = Field(default=None, alias="failureReason")
    response_parameters: _ResponseParameters | None = Field(default=None, alias="responseParameters")


class _Detail(_Message):
    name: str = Field(alias="TransformJobName")
    status: str = Field(alias="TransformJobStatus")
    failure_reason: str | None = Field(default=None, alias="FailureReason")
    started_at: float | None = Field(default=None, alias="TransformStartTime")
    ended_at: float | None = Field(default=None, alias="TransformEndTime")


class _StateChange(_Message):
    detail: _Detail


def async_notices(event: Mapping[str, Any]) -> Iterator[AsyncNotice]:
    """The notices of an SNS event.

    Raises:
        ValidationError: a message is not what SageMaker sends.
    """
    for record in event["Records"]:
        message = _AsyncResult.model_validate_json(record["Sns"]["Message"])
        response = message.response_parameters
        yield AsyncNotice(
            inference_id=message.inference_id,
            completed=message.invocation_status == "Completed",
            received_at=(message.received_time or message.event_time).astimezone(UTC),
            finished_at=message.event_time.astimezone(UTC),
            output_location=response.output_location if response is not None else None,
            failure_reason=message.failure_reason,
        )


def transform_status(event: Mapping[str, Any]) -> TransformStatus:
    """The state of the transform job that an EventBridge event is about. Times in it are epoch milliseconds.

    Raises:
        ValidationError: the event is not what SageMaker sends.
    """
    detail = _StateChange.model_validate(event).detail
    return TransformStatus(
        name=detail.name,
        status=detail.status,
        failure_reason=detail.failure_reason,
        started_at=_moment(detail.started_at),
        ended_at=_moment(detail.ended_at),
    )


def _moment(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
