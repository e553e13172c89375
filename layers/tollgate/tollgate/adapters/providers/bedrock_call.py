"""Calls of Amazon Bedrock's Converse API, and its errors in the words of the domain.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.errors import AwsError, ModelError
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.translation import backend_error
from tollgate.adapters.sagemaker.runtime_client import path_segment
from tollgate.domain.catalogue import Road
from tollgate.domain.errors import BackendError, BackendTimeoutError, ModelFailedError
from tollgate.domain.foreign_words import quoted


def converse_call(
    road: Road, body: bytes, *, operation: str, path: str, retry: RetryPolicy, timeout_seconds: float
) -> AwsCall:
    """A call with one request of the converse dialect.

    Args:
        road: its target is a model's id, or the id or ARN of an inference profile.
        body: as the dialect rendered it, with its limit of output tokens.
        operation: its name, for errors.
        path: below the model's.
        retry: what may be repeated.
        timeout_seconds: for the whole answer, further attempts and the waits before them included.
    """
    return AwsCall(
        service=AwsService.BEDROCK_RUNTIME,
        operation=operation,
        path=f"/model/{path_segment(road.target)}/{path}",
        headers=(("content-type", "application/json"),),
        body=body,
        retry=retry,
        time_limit_s=timeout_seconds,
    )


@contextmanager
def bedrock_errors(model: str) -> Iterator[None]:
    """Turn failures of Bedrock into `BackendError`.

    Args:
        model: shown to the caller.
    """
    try:
        yield
    except AwsError as error:
        raise bedrock_error(error, model) from error


def bedrock_error(error: AwsError, model: str) -> BackendError:
    """What a failure means for the caller, and for what is charged; see `tollgate.ports.token_backends`."""
    what = f"Bedrock model '{model}'"
    said = quoted(error.message)
    if isinstance(error, ModelError):
        said = quoted(error.original_message) or said
        return ModelFailedError(
            f"{what} answered with an error: {said}", original_status=error.original_status_code or 500
        )
    found: BackendError
    match error.code:
        case "ValidationException":
            found = ModelFailedError(f"{what} does not take this request: {said}", original_status=400)
        case "ModelTimeoutException":
            found = BackendTimeoutError(f"{what} did not end its answer in time.")
        case "InternalServerException":
            found = ModelFailedError(f"Bedrock failed: {said}", original_status=500)
        case "AccessDeniedException":
            found = BackendError(f"The gateway may not call {what}: its role or the account has no access.")
        case "ResourceNotFoundException":
            found = BackendError(f"{what} is not there in this region.")
        case _ if error.status in {502, 504}:
            found = BackendTimeoutError(f"{what} did not answer; a server in between gave up ({error.status}).")
        case _:
            found = backend_error(error, what)
    return found
