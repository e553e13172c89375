"""AWS errors in the words of the domain: the only place that looks at them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tollgate.adapters.aws.errors import (
    AwsConnectionError,
    AwsError,
    AwsTimeoutError,
    InvalidRequestError,
    ModelError,
    NoCapacityError,
    ResourceNotFoundError,
    ThrottledError,
)
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
    OutcomeUnknownError,
    StorageError,
)


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn failures of a table or queue into `StorageError`.

    Args:
        what: the thing at fault, in words a caller may see.
    """
    try:
        yield
    except AwsError as error:
        if error.outcome_unknown and not isinstance(error, ThrottledError):
            raise OutcomeUnknownError(f"The {what} did not confirm in time. Try again.", retry_after=2) from error
        raise StorageError(f"The {what} is not available ({error.code}). Try again.", retry_after=5) from error


@contextmanager
def backend_errors(target: str) -> Iterator[None]:
    """Turn failures of an endpoint into `BackendError`.

    Args:
        target: endpoint name, shown to the caller.
    """
    try:
        yield
    except AwsError as error:
        raise backend_error(error, f"Endpoint '{target}'") from error


def backend_error(error: AwsError, what: str) -> BackendError:
    """The failure of a backend.

    Args:
        error: of AWS, or of a connection to anybody.
        what: the backend, as a sentence may begin with it.
    """
    found: BackendError
    match error:
        case ModelError():
            from tollgate.domain.foreign_words import quoted  # noqa: PLC0415 -- few calls fail

            said = quoted(error.original_message or error.message)
            found = ModelFailedError(
                f"The model container answered with an error: {said}", original_status=error.original_status_code or 500
            )
        case NoCapacityError():
            found = CapacityError(f"{what} has no capacity now.", retry_after=30)
        case ThrottledError():
            found = BackendThrottledError(f"{what} is throttled.", retry_after=2)
        case AwsTimeoutError():
            found = BackendTimeoutError(f"{what} did not answer in time.")
        case AwsConnectionError() if error.outcome_unknown:
            found = BackendTimeoutError(f"{what} broke the connection before it answered.")
        case AwsConnectionError():
            found = CapacityError(f"{what} could not be reached.", retry_after=5)
        case InvalidRequestError() | ResourceNotFoundError() if "not found" in error.message.lower():
            found = CapacityError(f"{what} does not exist or is being made.", retry_after=60)
        case _ if error.status == 503:
            found = CapacityError(f"{what} is overloaded.", retry_after=5)
        case _:
            found = BackendError(f"{what} refused the call ({error.code}).")
    return found
