"""AWS event streams: frames of headers and a payload, as SageMaker and Bedrock send their streamed answers.

https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from collections.abc import Generator, Mapping
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError

from tollgate.adapters.aws.errors import AwsConnectionError
from tollgate.adapters.aws.retry import FailureKind


def event_messages(answer: Generator[bytes], operation: str) -> Generator[tuple[Mapping[str, Any], bytes]]:
    """Headers and payload of each message as it is complete; the answer is closed when nobody wants any more.

    Args:
        answer: the bytes, cut anywhere.
        operation: for errors.

    Raises:
        AwsConnectionError: the bytes are no event stream, or are damaged.
    """
    frames = EventStreamBuffer()
    try:
        for data in answer:
            frames.add_data(data)
            for message in frames:
                yield message.to_response_dict()["headers"], message.payload
    except ParserError as error:
        raise AwsConnectionError(
            "BadEventStream", str(error), operation=operation, kind=FailureKind.TRANSIENT
        ) from error
    finally:
        answer.close()
